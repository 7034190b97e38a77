"""YAML without surprises: plain values only, duplicate keys and bombs are faults."""

from pathlib import Path

import pytest

from bridge.config.source import MAX_NODES, read_yaml


def read(tmp_path: Path, text: str | bytes) -> tuple[object, list[str]]:
    """Read a file with this text; faults as text."""
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    value, faults = read_yaml(path, "a.yaml")
    return value, [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [x, 2.5, true, null, ~]", {"a": 1, "b": ["x", 2.5, True, None, None]}),
        ("day: 2026-01-31\nat: 12:30", {"day": "2026-01-31", "at": 750}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: &x {b: 1}\ne: &y {b: 2, c: 2}\nd: {<<: [*x, *y]}", None),
        ("'on': 1", {"on": 1}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values(tmp_path: Path, text: str, expected: object) -> None:
    """Mappings, lists, text, numbers, booleans and null; dates stay text, merges and aliases work."""
    value, faults = read(tmp_path, text)
    assert faults == []
    if expected is not None:
        assert value == expected
    else:
        assert isinstance(value, dict)
        assert value["d"] == {"b": 1, "c": 2}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3", "a.yaml: a: stands twice (lines 1 and 3; keep one)"),
        ("a:\n  b: {c: 1, c: 2}", "a.yaml: a.b.c: stands twice (lines 2 and 2; keep one)"),
        ("on: 1", 'a.yaml: line 1: the key "on" is not text for YAML (put it in quotes)'),
        ("a: {5: 1}", 'a.yaml: a: the key "5" is not text for YAML (put it in quotes)'),
        ("? [a]\n: 1", "a.yaml: line 1: a key is text"),
        ("{project}: 1", "a.yaml: line 1: a key is text"),
        ("a: !!python/object:os.system x", "a.yaml: a: the tag"),
        ("a: !!binary aGk=", "a.yaml: a: the tag"),
        ("a: !!int x", 'a.yaml: a: "x" does not fit its tag'),
        ("a: &x [*x]", "a.yaml: a[0]: an alias stands inside its own anchor"),
        ("a: *x", "a.yaml: line 1, column 4: found undefined alias"),
        ("a: [1", "a.yaml: line 1, column 6"),
        (
            "a:\n\tb: 1",
            "a.yaml: line 2, column 1: found character '\\t' that cannot start any token"
            " (YAML is indented with spaces)",
        ),
        (
            'a: 1\nb: "c\nd: 2\n',
            "a.yaml: line 4, column 1: found unexpected end of stream"
            " (while scanning a quoted scalar that begins in line 2)",
        ),
        ("a: {<<: 1}", 'a.yaml: a: "<<" merges a mapping'),
        ("", "a.yaml: is empty"),
        ("# all of it is commented out\n---\n", "a.yaml: is empty"),
        ("null", "a.yaml: is empty"),
        ("a: 1\n---\nb: 2", "a.yaml: line 2, column 1: but found another document"),
        (b"a: \xff", "a.yaml: is not UTF-8 (byte 3"),
        ("a: \x07", "a.yaml: holds the control character U+0007"),
        ("a: " + "[" * 5000, "a.yaml: nests too deeply"),
        ("a: [" + "x," * MAX_NODES + "]", f"a.yaml: has more than {MAX_NODES} values"),
    ],
)
def test_faults(tmp_path: Path, text: str | bytes, fault: str) -> None:
    """Whatever is wrong with a file is one fault that says where."""
    _, faults = read(tmp_path, text)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_aliases_cannot_grow_without_end(tmp_path: Path) -> None:
    """The billion laughs end at the bound."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    value, faults = read(tmp_path, "\n".join(lines))
    assert value is None
    assert faults == [f"a.yaml: has more than {MAX_NODES} values, its aliases resolved (split the file)"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is a fault, not an exception."""
    value, faults = read_yaml(tmp_path / "b.yaml", "b.yaml")
    assert value is None
    assert str(faults[0]).startswith("b.yaml: cannot be read: No such file or directory")

"""The schemas folder: one package, faults with file and line, bodies decoded or told what is wrong."""

from pathlib import Path
from textwrap import dedent

import pytest

from bridge.errors import ConfigError
from bridge.rules.schemas import BodyFault, Schema, load_schemas


def write(folder: Path, **modules: str) -> Path:
    """Write a schemas folder."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(dedent(text))
    return folder


def load_one(folder: Path, text: str) -> Schema:
    """The Struct `Body` of a module."""
    found = load_schemas(write(folder, one=text)).find("one", "Body")
    assert found is not None
    return found


def find_faults(folder: Path) -> list[str]:
    """The faults of a folder, one line each."""
    with pytest.raises(ConfigError) as raised:
        load_schemas(folder)
    return [str(fault) for fault in raised.value.faults]


def test_modules_import_each_other_as_one_package(tmp_path: Path) -> None:
    """`from .common import X` works, and only what a module defines is listed for people."""
    write(
        tmp_path,
        common="from msgspec import Struct\nclass Base(Struct):\n    id: str",
        orders="from .common import Base\nclass Order(Base):\n    total: int",
    )

    schemas = load_schemas(tmp_path)

    assert schemas.modules == ("common", "orders")
    assert schemas.names("orders") == ("Order",)
    assert schemas.find("orders", "Base") is not None
    assert schemas.find("orders", "Ordre") is None
    assert schemas.find("nowhere", "Order") is None


def test_a_second_load_sees_what_changed(tmp_path: Path) -> None:
    """Nothing of an earlier load is kept."""
    first = load_one(tmp_path, "from msgspec import Struct\nclass Body(Struct):\n    id: str")
    second = load_one(tmp_path, "from msgspec import Struct\nclass Body(Struct):\n    number_of_it: int")

    assert first.required == {"id"}
    assert second.required == {"number_of_it"}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The fault names the folder and the option that names another."""
    (fault,) = find_faults(tmp_path / "none")

    assert str(tmp_path / "none") in fault
    assert "--schemas" in fault


def test_all_broken_modules_are_told_with_their_lines(tmp_path: Path) -> None:
    """A syntax error, an exception at import, and one below an import each name file and line once."""
    write(
        tmp_path,
        a_syntax="x = 1\nclass Body(",
        b_raises="\n\nraise ValueError('no')",
        c_imports="from .b_raises import x",
        d_fine="x = 1",
    )

    faults = find_faults(tmp_path)

    name = tmp_path.name
    assert faults[0].startswith(f"{name}/a_syntax.py: line 2: SyntaxError")
    assert f"{name}/b_raises.py: line 3: ValueError: no" in faults
    assert len(faults) == 2


def test_a_struct_that_cannot_be_decoded_is_a_fault(tmp_path: Path) -> None:
    """What msgspec refuses is said at load, not at the first event."""
    write(tmp_path, one="from msgspec import Struct\nclass Body(Struct):\n    id: int | float | complex")

    (fault,) = find_faults(tmp_path)

    assert fault.startswith(f"{tmp_path.name}/one.py: line 2: Body: ")


BOUNDED = """
    from typing import Annotated
    from msgspec import Meta, Struct

    Short = Annotated[str, Meta(max_length=3)]
    Word = Annotated[str, Meta(pattern=r"\\A[a-z]+\\Z", description="a small word")]

    class Item(Struct):
        size: int

    class Body(Struct, rename="camel"):
        my_text: Short
        word: Word = "a"
        items: list[Item] = []
"""


def test_fields_go_by_their_names_in_json(tmp_path: Path) -> None:
    """A renamed field is known as browsers and services write it."""
    schema = load_one(tmp_path, BOUNDED)

    assert schema.fields == {"myText", "word", "items"}
    assert schema.required == {"myText"}


@pytest.mark.parametrize(
    ("body", "reason", "message", "path"),
    [
        (b"", "not_json", "not JSON: Input data was truncated", "$"),
        (b"{", "not_json", "not JSON: Input data was truncated", "$"),
        (b'{"myText": "\xff"}', "not_json", "text is no UTF-8", "$"),
        (b'{"myText":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json", "JSON is nested", "$"),
        (b"[]", "schema", "Expected `object`, got `array`", "$"),
        (b"{}", "schema", "Object missing required field `myText`", "$"),
        (b'{"myText": "four"}', "schema", "Expected `str` of length <= 3", "$.myText"),
        (b'{"myText": "a", "word": "A"}', "schema", "Expected a small word", "$.word"),
        (b'{"myText": "a", "items": [{"size": 1}, {"size": "1"}]}', "schema", "Expected", "$.items[1].size"),
    ],
)
def test_a_bad_body_is_told_with_its_place(
    tmp_path: Path, body: bytes, reason: str, message: str, path: str
) -> None:
    """Every way in which a body fails becomes a value with a reason, a readable message and a place."""
    fault = load_one(tmp_path, BOUNDED).decode(body)

    assert isinstance(fault, BodyFault)
    assert (fault.reason, fault.path) == (reason, path)
    assert message in fault.message


def test_a_message_never_quotes_a_long_value(tmp_path: Path) -> None:
    """What was sent is quoted by msgspec in some messages; a megabyte of it would come back."""
    schema = load_one(
        tmp_path,
        "from typing import Literal\nfrom msgspec import Struct\nclass Body(Struct):\n    kind: Literal['a']",
    )

    fault = schema.decode(b'{"kind": "' + b"x" * 100_000 + b'"}')

    assert isinstance(fault, BodyFault)
    assert len(fault.message) < 300


def test_a_recursive_struct_is_walked_once(tmp_path: Path) -> None:
    """A tree of comments has no end of types."""
    schema = load_one(
        tmp_path,
        """
        from __future__ import annotations
        from msgspec import Struct

        class Body(Struct):
            replies: list[Body] = []
        """,
    )

    assert not isinstance(schema.decode(b'{"replies": [{"replies": []}]}'), BodyFault)


OPEN_BODY = """
    from typing import ClassVar
    from msgspec import Struct
    class Body(Struct):
        keep_unknown_fields: ClassVar[bool] = True
        id: str
        items: int = 0
"""


def test_an_open_body_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    """It is checked by its Struct, and decoded to a mapping of all that was sent."""
    schema = load_one(tmp_path, OPEN_BODY)

    assert schema.open
    assert schema.decode(b'{"id": "a", "x": {"y": [1, null]}}') == {"id": "a", "x": {"y": [1, None]}}
    for body in (b'{"x": 1}', b'{"id": 5}', b'{"id": "a", "items": "b"}', b"[]", b'"text"', b"null"):
        fault = schema.decode(body)
        assert isinstance(fault, BodyFault)
        assert fault.reason == "schema"

"""A configuration is loaded from its files, with every fault of all of them, and merged by namespace."""

from pathlib import Path

import pytest

from bridge.config.load import Loaded, load_config
from bridge.errors import ConfigError


class Folder:
    """A folder of configuration files."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, text: str) -> None:
        """Write a file, its folder too."""
        file = self._path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def load(self, **environ: str) -> Loaded:
        """Load `bridge.yaml`."""
        return load_config(self._path / "bridge.yaml", environ)

    def faults(self, **environ: str) -> list[str]:
        """Load, and return the faults."""
        with pytest.raises(ConfigError) as caught:
            self.load(**environ)
        assert str(caught.value) == "\n".join(map(str, caught.value.faults))
        return [str(fault) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)


ROUTES = "exchange: {name}.events\nnamespaces:\n"


def test_files_are_included_in_order(folder: Folder) -> None:
    """Patterns in their order, files of one pattern by name, each file once."""
    folder.write("bridge.yaml", 'http: {port: "${PORT:-8000}"}\ninclude: [routes/z.yaml, "routes/*.yaml"]')
    for name in ("b", "a", "z"):
        folder.write(f"routes/{name}.yaml", ROUTES.format(name=name) + f"  /{name}: {{}}")
    loaded = folder.load(PORT="81")
    assert loaded.config.http.port == 81
    assert (loaded.file, [system.file for system in loaded.systems]) == (
        "bridge.yaml",
        ["routes/z.yaml", "routes/a.yaml", "routes/b.yaml"],
    )
    assert [system.name for system in loaded.systems] == ["z", "a", "b"]
    assert [namespace.pattern for namespace in loaded.namespaces] == ["/z", "/a", "/b"]


def test_the_faults_of_all_files_are_told_at_once(folder: Folder) -> None:
    """A broken file hides no other's faults."""
    folder.write(
        "bridge.yaml",
        'auth: {jwt: {secret: "${JWT_SECRET}"}}\nhtpp: {}\ninclude: ["routes/*.yaml", "no/*.yaml"]',
    )
    folder.write("routes/a.yaml", "exchange: [")
    folder.write("routes/b.yaml", "exchange: b\nnamespaces: {/b: {alow: {}}}")
    folder.write("routes/c.yaml", 'exchange: "${EXCHANGE}"\nnamespaces: {}')
    faults = folder.faults()
    starts = [
        "bridge.yaml: auth.jwt.secret: the variable JWT_SECRET is not set",
        'bridge.yaml: htpp: unknown key "htpp" (did you mean http?)',
        'bridge.yaml: include[1]: "no/*.yaml" matches no file',
        "routes/a.yaml: line 1, column 12",
        'routes/b.yaml: namespaces./b.alow: unknown key "alow" (did you mean allow?)',
        "routes/c.yaml: exchange: the variable EXCHANGE is not set",
    ]
    assert len(faults) == len(starts)
    for fault, start in zip(faults, starts, strict=True):
        assert fault.startswith(start)


def test_a_configuration_that_is_not_there(folder: Folder) -> None:
    """The file that was named is the fault."""
    assert folder.faults()[0].startswith("bridge.yaml: cannot be read: No such file or directory")


def test_two_files_may_add_to_one_namespace(folder: Folder) -> None:
    """Events, commands and rooms add up; the file that says who may owns the rest."""
    folder.write("bridge.yaml", "{}")
    folder.write(
        "routes/a.yaml", ROUTES.format(name="a") + "  /p/{x}: {events: {a.b: {}}, commands: {c: {}}}"
    )
    folder.write(
        "routes/b.yaml",
        ROUTES.format(name="b") + '  /p/{x}: {allow: {p: "{x}"}, events: {a.b: {}}, rooms: {r: {}}}',
    )
    (namespace,) = folder.load().namespaces
    assert [part.system.name for part in namespace.parts] == ["a", "b"]
    assert namespace.owner.system.name == "b"


def test_two_files_may_not_contradict_each_other(folder: Folder) -> None:
    """A clash names both files."""
    folder.write("bridge.yaml", "{}")
    entries = 'events: {"a.{x}": {}}, commands: {c: {}}, rooms: {r: {}}'
    folder.write(
        "routes/a.yaml", "exchange: e\nnamespaces:\n  /p: {allow: {p: 1}, " + entries + "}\n  /q/{x}: {}"
    )
    folder.write("routes/b.yaml", "exchange: e\nnamespaces:\n  /p: {auth: {}, " + entries + "}\n  /q/{y}: {}")
    assert folder.faults() == [
        'routes/b.yaml: namespaces./q/{y}: means the same namespaces as "/q/{x}" in routes/a.yaml'
        " (give the words the same names)",
        "routes/b.yaml: namespaces./p.auth: routes/a.yaml already says who may use this namespace"
        " (write it in one file)",
        "routes/b.yaml: namespaces./p.commands.c: stands in routes/a.yaml too (keep one of them)",
        "routes/b.yaml: namespaces./p.rooms.r: stands in routes/a.yaml too (keep one of them)",
        "routes/b.yaml: namespaces./p.events.a.{x}: stands in routes/a.yaml too (keep one of them)",
    ]


def test_two_systems_of_one_name_are_a_fault(folder: Folder) -> None:
    """Users are counted by system, so its name is one file's."""
    folder.write("bridge.yaml", 'include: ["*/a.yaml"]')
    folder.write("x/a.yaml", "exchange: x\nnamespaces: {}")
    folder.write("y/a.yaml", "exchange: y\nnamespaces: {}")
    assert folder.faults() == [
        "y/a.yaml: has the same name as x/a.yaml: a system's name is its file's (rename one)"
    ]


def test_the_configuration_of_the_repository_loads() -> None:
    """What ships with the bridge has no fault of form."""
    path = Path(__file__).parents[2] / "config" / "bridge.yaml"
    loaded = load_config(path, {"JWT_SECRET": "x" * 32})
    assert "portal" in [system.name for system in loaded.systems]


def test_files_of_tls_are_relative_to_the_configuration(folder: Folder, tmp_path: Path) -> None:
    """As the globs of `include` are; an absolute path stays."""
    folder.write("bridge.yaml", "http: {tls: {certificate: tls/a.pem, key: /etc/tls/a.key}}")
    folder.write("routes/a.yaml", ROUTES.format(name="a") + "  /a: {}")
    tls = folder.load().config.http.tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (str(tmp_path / "tls/a.pem"), "/etc/tls/a.key")

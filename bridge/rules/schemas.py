"""Owns the Structs of the schemas folder: loads its modules and finds a Struct by name."""

from pathlib import Path


class Schemas:
    """The Structs of a schemas folder, by module and name."""

    def find(self, module: str, name: str) -> type | None:
        """The Struct of that name, or None."""
        raise NotImplementedError

    def names(self, module: str) -> tuple[str, ...]:
        """Names of the Structs of a module; empty when there is no such module."""
        raise NotImplementedError


def load_schemas(folder: Path) -> Schemas:
    """Import every module of the folder; raises ConfigError with file and line of what is broken."""
    raise NotImplementedError

"""`bridged docs`: writes docs/configuration.md from the Structs of the configuration and their docstrings."""

import ast
import inspect
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct

from bridge.cli import exits
from bridge.cli.exits import CliError, Exit
from bridge.cli.reference import Key, SectionReference, read_following_strings, read_sections
from bridge.cli.reference_examples import EXAMPLES
from bridge.cli.reference_text import BRIDGE, INTRODUCTION, SYSTEM, VALUES
from bridge.cli.terminal import Terminal
from bridge.config.model import Config
from bridge.config.route_model import RouteFile


def docs(
    *,
    output: Annotated[Path, Parameter(allow_leading_hyphen=True)] = Path("docs/configuration.md"),
    check: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the reference of the configuration, from the docstrings in the code.

    Parameters
    ----------
    output
        The file to write; `-` is standard output.
    check
        Write nothing; exit with 1 when the file is not what would be written.
    """
    text = render_reference()
    terminal = Terminal(sys.stdout)
    if str(output) == "-":
        terminal.print(text.removesuffix("\n"))
        return Exit.OK
    if check:
        if not output.is_file() or output.read_text(encoding="utf-8") != text:
            raise CliError(Exit.FAULTS, f"{output} is out of date", "make docs writes it anew")
        terminal.print(f"{output} is up to date.")
        return Exit.OK
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    terminal.print(f"{output} is written.")
    return Exit.OK


def render_reference() -> str:
    """The whole of docs/configuration.md."""
    parts = [
        INTRODUCTION,
        _heading(2, "`bridge.yaml`", "bridge"),
        BRIDGE,
        *_render_file(Config, "bridge"),
        _heading(2, "Route files", "system"),
        SYSTEM,
        *_render_file(RouteFile, "system"),
        _heading(2, "Values", "values"),
        VALUES,
        _heading(2, "Exit codes", "exit-codes"),
        _render_exit_codes(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _render_file(root: type[Struct], file: str) -> list[str]:
    parts = []
    for section in read_sections(root):
        if section.place:
            parts.append(_heading(3, f"`{section.place}`", _anchor(file, section.place)))
            parts.append(section.meaning)
        parts.append(f"```yaml\n{EXAMPLES[section.struct]}```")
        parts.append(_render_table(section, file))
    return parts


def _render_table(section: SectionReference, file: str) -> str:
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key in section.keys:
        cells = (f"`{key.name}`", _render_type(key, file), _render_default(key), key.meaning)
        lines.append(f"| {' | '.join(_escape_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _render_type(key: Key, file: str) -> str:
    return key.type if key.section is None else f"[{key.type}](#{_anchor(file, key.section)})"


def _render_default(key: Key) -> str:
    if key.required:
        return "*required*"
    if key.default is None:
        return "-"
    return key.default if key.section is not None and key.default == "as below" else f"`{key.default}`"


def _render_exit_codes() -> str:
    tree = ast.parse(inspect.getsource(exits.Exit))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    meanings = dict(read_following_strings(body))
    lines = ["| code | name | meaning |", "| --- | --- | --- |"]
    lines += [f"| {code.value} | `{code.name}` | {_escape_cell(meanings[code.name])} |" for code in Exit]
    return "\n".join(lines)


def _escape_cell(text: str) -> str:
    """Markdown for one cell: a raw bar or line feed would end it, in code spans too."""
    return " ".join(text.split()).replace("|", "\\|")


def _heading(level: int, text: str, anchor: str) -> str:
    return f'<a id="{anchor}"></a>\n\n{"#" * level} {text}'


def _anchor(file: str, place: str) -> str:
    """Of a section; unlike a heading's own anchor it does not depend on the renderer."""
    words = "".join(mark if mark.isalnum() or mark == "_" else "-" for mark in f"{file}-{place}")
    return "-".join(word for word in words.split("-") if word)

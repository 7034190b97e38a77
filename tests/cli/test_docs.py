"""Docs: docs/configuration.md is complete, and its examples are valid."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from bridge.cli.docs import docs, render_reference
from bridge.cli.exits import CliError, Exit
from bridge.cli.reference import SectionReference, read_sections
from bridge.cli.reference_examples import EXAMPLES
from bridge.config import model, route_model

SECTIONS = [section for root in (model.Config, route_model.RouteFile) for section in read_sections(root)]
TEXT = render_reference()
STRUCTS = {
    name: value
    for name, value in (vars(model) | vars(route_model)).items()
    if isinstance(value, type) and issubclass(value, model.Section) and value is not model.Section
}


def _convert(value: object, kind: type) -> object:
    def read_unit(unit: type, text: object) -> object:
        return text if unit is object else unit(text)

    return msgspec.convert(value, kind, dec_hook=read_unit)


def test_every_section_of_the_model_is_described_once() -> None:
    """No Struct of bridge/config is left out."""
    assert sorted(section.struct for section in SECTIONS) == sorted(STRUCTS)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.struct)
def test_every_key_has_a_meaning(section: SectionReference) -> None:
    """A docstring below each field, and one for the section."""
    assert section.meaning
    assert [key.name for key in section.keys if not key.meaning] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.struct)
def test_every_example_is_valid_where_it_stands(section: SectionReference) -> None:
    """It parses, and the value at the section's place has the section's type."""
    value = yaml.safe_load(EXAMPLES[section.struct])
    for name in filter(None, section.place.split(".")):
        value = next(iter(value.values())) if name.startswith("<") else value[name]
    if section.struct == "Config":
        value["http"]["port"] = 8000  # a variable of the environment, put in by the loader
    _convert(value, STRUCTS[section.struct])


def test_defaults_are_shown_as_they_are_written() -> None:
    """`10m`, not 600.0; and what has no default is required."""
    assert "| `max_age` | duration | `10m` |" in TEXT
    assert "| `exchange` | text | *required* |" in TEXT
    assert "| `audience` | text | - |" in TEXT
    assert "| `rate` | list of rates | `[]` |" in TEXT
    assert "| `late` | [section](#system-auth-late) | - |" in TEXT


def test_types_are_written_for_people() -> None:
    """Bounds in words; nothing of Python's own notation."""
    assert "| `prefetch` | number, 1 to 65535 | `1000` |" in TEXT
    assert "| `connections` | number, at least 1 | `10000` |" in TEXT
    types = [key.type for section in SECTIONS for key in section.keys]
    assert [text for text in types if re.search(r"typing|msgspec|class", text)] == []


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Anchors are unique, and each is linked to or a heading of the first level."""
    anchors = re.findall(r'<a id="([^"]+)"></a>', TEXT)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= set(anchors)


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    """Bars inside of cells are escaped."""
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


def test_the_exit_codes_are_documented() -> None:
    """By number and name."""
    for code in Exit:
        assert f"| {code.value} | `{code.name}` |" in TEXT


def test_check_compares_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that is out of date is exit code 1 and says what to do."""
    page = tmp_path / "docs" / "configuration.md"
    with pytest.raises(CliError, match="out of date") as caught:
        docs(output=page, check=True)
    assert (caught.value.code, caught.value.hint) == (Exit.FAULTS, "make docs writes it anew")
    assert not page.exists()
    assert docs(output=page) == Exit.OK
    assert docs(output=page, check=True) == Exit.OK
    assert "up to date" in capsys.readouterr().out


def test_the_page_in_the_repository_is_up_to_date() -> None:
    """`make docs` was run after the last change."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == TEXT

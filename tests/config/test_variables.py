"""Variables are substituted in text that is already parsed: their values cannot become YAML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.variables import Substituted, substitute_variables

ENVIRON = {"PORT": "8000", "EMPTY": "", "URL": "a: {b}\n- ${PORT}"}


@pytest.mark.parametrize(
    ("text", "expected", "whole"),
    [
        ("${PORT}", "8000", True),
        ("x${PORT}", "x8000", False),
        ("${PORT}${PORT}", "80008000", False),
        ("${NO:-d}", "d", True),
        ("${NO:-}", "", True),
        ("${EMPTY:-d}", "d", True),
        ("${EMPTY}", "", True),
        ("${NO:-amqp://guest:guest@localhost:5672/}", "amqp://guest:guest@localhost:5672/", True),
        ("${URL}", "a: {b}\n- ${PORT}", True),
        ("$${PORT}", "${PORT}", False),
        ("$PORT {PORT} $", "$PORT {PORT} $", False),
    ],
)
def test_substitution(text: str, expected: str, whole: bool) -> None:
    """A value is put in as it is; text that is one variable as a whole is marked."""
    value, faults = substitute_variables({"a": [text]}, ENVIRON, "f.yaml")
    assert faults == []
    assert value == {"a": [expected]}
    assert isinstance(value, dict)
    assert isinstance(value["a"][0], Substituted) is whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NO}", "the variable NO is not set (set it, or write ${NO:-default})"),
        ("a ${body.price} b", '"${body.price}" is no variable'),
        ("${}", '"${}" is no variable'),
        ("${PORT", '"${PORT" is no variable'),
        ("${A:-${B}}", "is no variable"),
    ],
)
def test_faults(text: str, message: str) -> None:
    """A variable that is not set is a fault at its place."""
    _, faults = substitute_variables({"a": [1, text]}, ENVIRON, "f.yaml")
    assert (faults[0].file, faults[0].path) == ("f.yaml", "a[1]")
    assert message in faults[0].message


@given(st.text(), st.text("ab} $"))
def test_values_are_never_read_again(value: str, around: str) -> None:
    """Whatever a variable holds is put in unchanged, once."""
    text = around + "|${V}"
    result, faults = substitute_variables(text, {"V": value}, "f.yaml")
    assert faults == []
    assert result == text.removesuffix("${V}") + value


def test_keys_and_other_values_stay() -> None:
    """Only text that stands as a value is looked at."""
    value, faults = substitute_variables({"${PORT}": 1, "b": None, "c": True}, ENVIRON, "f.yaml")
    assert (value, faults) == ({"${PORT}": 1, "b": None, "c": True}, [])

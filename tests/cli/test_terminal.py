"""Terminal: colour where it is wanted, and nothing of strangers that could steer it."""

import io

import pytest

from bridge.cli.terminal import Terminal, escape


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colours"),
    [
        (_Screen(), {}, True),
        (_Screen(), {"NO_COLOR": "1"}, False),
        (_Screen(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO, environ: dict[str, str], colours: bool
) -> None:
    """`NO_COLOR` and dumb terminals are respected; files get plain text of any width."""
    terminal = Terminal(stream, environ)
    assert terminal.colours is colours
    assert terminal.red("x") == ("\x1b[31mx\x1b[0m" if colours else "x")
    assert terminal.bold("") == ""
    assert (terminal.width is None) is not stream.isatty()


def test_characters_that_the_stream_lacks_are_replaced() -> None:
    """An ASCII terminal is no reason to fail."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream, {}).print("é→x")
    assert raw.getvalue() == b"??x\n"


def test_control_characters_are_shown_and_line_feeds_stay() -> None:
    """Also the ones that turn the direction of text."""
    assert escape("a\x1b[31m\u202eb\x00\n\tc") == "a\\u001b[31m\\u202eb\\u0000\n\tc"

"""What may be an id, a word of a routing key, or the name of a word in a pattern."""

import re
from typing import Final

from bridge.rules.scope import ROOTS

MAX_ID: Final = 128

# \s is what str.isspace() calls whitespace; lone surrogates cannot be sent as UTF-8.
_ID: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_KEY_WORD: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff.#*]{1,128}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

match_plain: Final = re.compile(r"[A-Za-z0-9_~@-]{1,128}").fullmatch
"""Matches a key word that needs no quotes in any name, as nearly every id is.

A shortcut on the path of every event: half the cost of the other tests, and no call of ours around it.
"""


def is_id(value: str) -> bool:
    """Tell whether this is an id: 1-128 characters, no whitespace, no control characters."""
    return _ID.fullmatch(value) is not None


def is_key_word(value: str) -> bool:
    """Tell whether this is an id that may be a word of a routing key: no `.`, `#`, `*` either."""
    return match_plain(value) is not None or _KEY_WORD.fullmatch(value) is not None


def parse_word_name(name: str) -> str:
    """Return the name of a word as it stands between braces; ValueError when it cannot be one."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f'"{{{name}}}" names no word (write letters, digits and _, such as {{project}})')
    if name in ROOTS:
        raise ValueError(f'the word "{name}" has a meaning of its own in templates (write {{{name}_id}})')
    return name

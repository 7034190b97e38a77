"""Routing key patterns: AMQP's `*` and `#` plus named words. The index that finds them is in key_index.py."""

import itertools
from typing import Final

from msgspec import Struct

from bridge.rules.words import is_key_word, parse_word_name

MAX_KEY_BYTES: Final = 255
"""Of a routing key: AMQP's short string."""
_MAX_COMBINATIONS: Final = 256


class Any(Struct, frozen=True):
    """`*`: one word, whatever it is (AMQP lets it be empty)."""


class Many(Struct, frozen=True):
    """`#`: any number of words, none too."""


class Capture(Struct, frozen=True):
    """`{name}` or `{name:a|b}`: one key word, named."""

    name: str
    choices: tuple[str, ...] | None
    index: int
    """Place of the word in the key; negative, from its end, after a `#`."""


Part = str | Any | Many | Capture


class KeyPattern(Struct, frozen=True, kw_only=True):
    """A pattern such as `project.{project}.state_change`."""

    text: str
    binding: str
    """The AMQP binding key: each named word is a `*`."""
    words: tuple[str, ...]
    """Names of its words, in order."""
    last: str | None
    """The last word where it is literal: the default name of the client event."""
    parts: tuple[Part, ...]

    @property
    def captures(self) -> tuple[Capture, ...]:
        """Its named words, in order."""
        return tuple(part for part in self.parts if isinstance(part, Capture))

    def match(self, key: str) -> dict[str, str] | None:
        """Return the named words of a routing key that matches as a whole.

        A named word is always a key word: `project..state_change` does not match `project.{project}.#`.
        """
        words = split_key(key)
        if not _matches(self.parts, words):
            return None
        return {capture.name: words[capture.index] for capture in self.captures}

    def choices(self, word: str) -> tuple[str, ...] | None:
        """Return the `a|b` of `{word:a|b}`; None for a word that may be anything."""
        return next(capture.choices for capture in self.captures if capture.name == word)

    def overlaps(self, other: "KeyPattern") -> bool:
        """Tell whether some routing key matches both."""
        return _overlap(self.parts, other.parts)


def split_key(key: str) -> list[str]:
    """Split a routing key as RabbitMQ does: the empty key has no words at all."""
    return key.split(".") if key else []


def parse_key_pattern(text: str) -> KeyPattern:
    """Parse a pattern; ValueError says what is wrong and the remedy."""
    texts = _split_pattern(text)
    hashes = [index for index, word in enumerate(texts) if word == "#"]
    parts: list[Part] = []
    for index, word in enumerate(texts):
        if word == "#":
            parts.append(Many())
        elif word == "*":
            parts.append(Any())
        elif word.startswith("{") and word.endswith("}"):
            if any(place < index for place in hashes) and any(place > index for place in hashes):
                raise ValueError(
                    f'"{word}" between two "#" could be any word (write "*", or leave out a "#")'
                )
            from_end = any(place < index for place in hashes)
            parts.append(_parse_capture(word[1:-1], index - len(texts) if from_end else index))
        else:
            parts.append(_parse_literal(word))
    _check_captures(text, parts)
    return KeyPattern(
        text=text,
        binding=".".join(
            "*" if isinstance(part, Capture) else t for part, t in zip(parts, texts, strict=True)
        ),
        words=tuple(part.name for part in parts if isinstance(part, Capture)),
        last=parts[-1] if isinstance(parts[-1], str) else None,
        parts=tuple(parts),
    )


def _split_pattern(text: str) -> list[str]:
    words = text.split(".")
    if "" in words:
        raise ValueError(f'"{text}" has an empty word (write words with one "." between them)')
    if len(text.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise ValueError(f'"{text[:40]}..." is longer than the {MAX_KEY_BYTES} bytes that AMQP allows')
    if any(pair == ("#", "#") for pair in itertools.pairwise(words)):
        raise ValueError(f'"#.#" in "{text}" says no more than "#" (write "#")')
    return words


def _parse_capture(inside: str, index: int) -> Capture:
    name, colon, choices = inside.partition(":")
    if not colon:
        return Capture(parse_word_name(name), None, index)
    texts = tuple(choices.split("|"))
    for choice in texts:
        if not is_key_word(choice):
            raise ValueError(f'"{{{inside}}}": "{choice}" is no word (write {{{name}:first|second}})')
    if len(set(texts)) < len(texts):
        raise ValueError(f'"{{{inside}}}" lists a word twice')
    return Capture(parse_word_name(name), texts, index)


def _parse_literal(word: str) -> str:
    if "{" in word or "}" in word:
        raise ValueError(f'"{word}": a placeholder is a whole word of the key (write {{name}} between dots)')
    if not is_key_word(word):
        raise ValueError(f'"{word}" is no word of a routing key (no whitespace, "#" or "*" inside a word)')
    return word


def _check_captures(text: str, parts: list[Part]) -> None:
    names: set[str] = set()
    combinations = 1
    for part in parts:
        if isinstance(part, Capture):
            if part.name in names:
                raise ValueError(f'"{text}" names the word "{part.name}" twice')
            names.add(part.name)
            combinations *= len(part.choices or ("",))
    if combinations > _MAX_COMBINATIONS:
        raise ValueError(f'"{text}" lists {combinations} combinations of words (at most {_MAX_COMBINATIONS})')


def _fits(part: Part, word: str) -> bool:
    match part:
        case str():
            return part == word
        case Capture(choices=None):
            return is_key_word(word)
        case Capture():
            return word in (part.choices or ())
        case _:
            return True


def _matches(parts: tuple[Part, ...], words: list[str]) -> bool:
    # The classic glob walk: on a mismatch only the last "#" need take one word more.
    at = word = 0
    back_part, back_word = -1, 0
    while word < len(words):
        if at < len(parts) and isinstance(parts[at], Many):
            at, back_part, back_word = at + 1, at, word
        elif at < len(parts) and _fits(parts[at], words[word]):
            at, word = at + 1, word + 1
        elif back_part >= 0:
            back_word += 1
            at, word = back_part + 1, back_word
        else:
            return False
    return all(isinstance(part, Many) for part in parts[at:])


def _overlap(left: tuple[Part, ...], right: tuple[Part, ...]) -> bool:
    # reach[j]: some key is matched by the parts of `left` so far and by right[:j].
    reach = [all(isinstance(part, Many) for part in right[:j]) for j in range(len(right) + 1)]
    for part in left:
        many = isinstance(part, Many)
        after = [reach[0] and many]
        for j, other in enumerate(right):
            if isinstance(other, Many):
                fits = after[j] or reach[j + 1]
                after.append(fits or reach[j])
            elif many:
                after.append(reach[j + 1] or after[j])
            else:
                after.append(reach[j] and _compatible(part, other))
        reach = after
    return reach[-1]


def _compatible(left: Part, right: Part) -> bool:
    first, second = _words_of(left), _words_of(right)
    return first is None or second is None or not first.isdisjoint(second)


def _words_of(part: Part) -> frozenset[str] | None:
    if isinstance(part, str):
        return frozenset((part,))
    if isinstance(part, Capture) and part.choices is not None:
        return frozenset(part.choices)
    return None

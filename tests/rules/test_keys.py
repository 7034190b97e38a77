"""Key patterns match as AMQP's topic exchange does, and name the words that they capture."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.rules.key_index import KeyIndex
from bridge.rules.keys import KeyPattern, parse_key_pattern
from bridge.rules.words import is_id, is_key_word

_WORDS = st.sampled_from(["a", "b", "c", "d", "", "*", "#", "x y"])
_KEYS = st.lists(_WORDS, max_size=6).map(".".join)


@st.composite
def pattern_texts(draw: st.DrawFn) -> str:
    """Patterns of literals, `*`, `#`, `{name}` and `{name:a|b}`."""
    parts = draw(
        st.lists(st.sampled_from(["a", "b", "c", "*", "#", "{}", "{:a|b}", "{:c|d}"]), min_size=1, max_size=6)
    )
    return ".".join(part.replace("{", "{w" + str(index)) for index, part in enumerate(parts))


def parse_or_skip(text: str) -> KeyPattern:
    """Parse a drawn pattern; those with `#.#` or a word between two `#` are refused on purpose."""
    try:
        return parse_key_pattern(text)
    except ValueError:
        assume(False)
        raise


def naive_match(parts: list[str], words: list[str]) -> dict[str, str] | None:
    """Match word by word, trying every length of a `#`."""
    if not parts:
        return None if words else {}
    head, rest = parts[0], parts[1:]
    if head == "#":
        for taken in range(len(words) + 1):
            found = naive_match(rest, words[taken:])
            if found is not None:
                return found
        return None
    if not words:
        return None
    captured: dict[str, str] = {}
    word = words[0]
    if head.startswith("{"):
        name, _, choices = head[1:-1].partition(":")
        if choices and word not in choices.split("|"):
            return None
        if word in ("", "*", "#", "x y"):
            return None
        captured = {name: word}
    elif head not in ("*", word):
        return None
    found = naive_match(rest, words[1:])
    return None if found is None else captured | found


def naive(text: str, key: str) -> dict[str, str] | None:
    """Match a pattern's text against a key."""
    return naive_match(text.split("."), key.split(".") if key else [])


@given(pattern_texts(), _KEYS)
def test_a_pattern_matches_what_the_naive_matcher_matches(text: str, key: str) -> None:
    """One pattern agrees with the naive matcher on every key and captures the same words."""
    assert parse_or_skip(text).match(key) == naive(text, key)


@given(st.lists(pattern_texts(), max_size=8), _KEYS)
def test_the_index_finds_what_each_pattern_matches(texts: list[str], key: str) -> None:
    """The trie finds exactly the patterns that match, in order, each once."""
    patterns = []
    for text in texts:
        try:
            patterns.append(parse_key_pattern(text))
        except ValueError:
            continue
    index = KeyIndex((pattern, order) for order, pattern in enumerate(patterns))
    expected = [
        (order, words) for order, p in enumerate(patterns) if (words := naive(p.text, key)) is not None
    ]
    assert index.find(key) == expected


@given(pattern_texts(), pattern_texts(), _KEYS)
def test_patterns_that_match_one_key_overlap(left: str, right: str, key: str) -> None:
    """Whatever key matches both, overlaps says so, in either order."""
    first, second = parse_or_skip(left), parse_or_skip(right)
    assert first.overlaps(second) == second.overlaps(first)
    if naive(left, key) is not None and naive(right, key) is not None:
        assert first.overlaps(second)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a.{x}.c", "a.b.*", True),
        ("a.{x:b|d}", "a.{y:d|e}", True),
        ("a.{x:b|d}", "a.{y:e|f}", False),
        ("a.b", "a.b.c", False),
        ("a.#", "#.c", True),
        ("a.#", "b.#", False),
        ("#", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.#.d", False),
    ],
)
def test_overlap_is_exact(left: str, right: str, expected: bool) -> None:
    """Patterns that no key can match both do not overlap."""
    assert parse_key_pattern(left).overlaps(parse_key_pattern(right)) is expected


def test_a_pattern_names_its_binding_words_and_last_word() -> None:
    """A named word is a `*` for the broker."""
    pattern = parse_key_pattern("chat.{project}.{action:add|delete}.#")
    assert pattern.binding == "chat.*.*.#"
    assert pattern.words == ("project", "action")
    assert pattern.last is None
    assert pattern.choices("action") == ("add", "delete")
    assert pattern.choices("project") is None
    assert parse_key_pattern("system.alert").last == "alert"


def test_words_after_a_hash_count_from_the_end() -> None:
    """A word after `#` is found however many words the `#` takes."""
    pattern = parse_key_pattern("{first}.#.{last}")
    assert pattern.match("a.b.c.d") == {"first": "a", "last": "d"}
    assert pattern.match("a.d") == {"first": "a", "last": "d"}
    assert pattern.match("a") is None
    assert KeyIndex([(pattern, 1)]).find("a.b.d") == [(1, {"first": "a", "last": "d"})]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty word"),
        ("a..b", "empty word"),
        ("a.b*", "no word"),
        ("a.b c", "no word"),
        ("a.x{y}", "whole word"),
        ("a.{y", "whole word"),
        ("a.{}", "names no word"),
        ("a.{b-c}", "names no word"),
        ("a.{user}", "meaning of its own"),
        ("{a}.{a}", "twice"),
        ("{a:b|b}", "twice"),
        ("{a:b|}", "is no word"),
        ("{a:}", "is no word"),
        ("#.#", '"#.#"'),
        ("#.{x}.#", "between two"),
        ("a" * 256, "255"),
        (".".join(f"{{w{i}:a|b|c|d}}" for i in range(6)), "combinations"),
    ],
)
def test_a_bad_pattern_says_why(text: str, reason: str) -> None:
    """Every pattern that is refused names its mistake."""
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")):
        parse_key_pattern(text)


@pytest.mark.parametrize("value", ["apollo", "a-b_c~", "project:x", "über", "日本", "x" * 128, "a/b"])
def test_key_words(value: str) -> None:
    """Ids without dots and wildcards are key words."""
    assert is_key_word(value)
    assert is_id(value)


@pytest.mark.parametrize("value", ["a.b", "*", "#", "a*", "v1.0"])
def test_ids_that_are_no_key_words(value: str) -> None:
    """An id may hold what a routing key's word may not."""
    assert is_id(value)
    assert not is_key_word(value)


@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a\n", "\x00", "a\x7f", "\x85", "\u00a0", "\u2028", "\ud800", "x" * 129, "a\tb"]
)
def test_neither_ids_nor_key_words(value: str) -> None:
    """Whitespace, control characters, lone surrogates and over-long values are neither."""
    assert not is_id(value)
    assert not is_key_word(value)


@given(st.text(max_size=140))
def test_a_key_word_is_an_id_without_dot_and_wildcards(value: str) -> None:
    """The two tests agree on all text."""
    assert is_key_word(value) == (is_id(value) and not set(value) & set(".#*"))

"""Finds the patterns that match a routing key, through a trie: the cost does not grow with their number."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from bridge.rules.keys import Any, Capture, KeyPattern, Many, split_key
from bridge.rules.words import is_key_word

T = TypeVar("T")


class _Node(Generic[T]):
    """A place in the trie: all patterns that begin alike."""

    __slots__ = ("any", "entered", "entries", "literals", "loops", "many")

    def __init__(self, *, loops: bool = False) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.any: _Node[T] | None = None
        self.many: _Node[T] | None = None
        self.loops = loops
        """It is a `#`: any word leads back to it."""
        self.entries: list[tuple[int, T, tuple[tuple[str, int, bool], ...]]] = []
        """What ends here: order, value, and its words: name, index, whether it may be any key word."""
        self.entered: tuple[_Node[T], ...] = (self,)
        """The nodes that one is at on arriving here: itself, and a `#` after it, which may be no word."""


class KeyIndex(Generic[T]):
    """Finds all patterns that match a routing key."""

    def __init__(self, pairs: Iterable[tuple[KeyPattern, T]]) -> None:
        self._root: _Node[T] = _Node()
        self._many = False
        for order, (pattern, value) in enumerate(pairs):
            self._insert(order, pattern, value)

    def find(self, key: str) -> list[tuple[T, dict[str, str]]]:
        """Return what belongs to each matching pattern and its named words, in the order of the pairs."""
        words = split_key(key)
        nodes: Iterable[_Node[T]] = self._root.entered
        for word in words:
            reached: list[_Node[T]] = []
            for node in nodes:
                child = node.literals.get(word)
                if child is not None:
                    reached += child.entered
                if node.any is not None:
                    reached += node.any.entered
                if node.loops:
                    reached.append(node)
            if not reached:
                return []
            # Only through a "#" can one node be reached in two ways.
            nodes = dict.fromkeys(reached) if self._many else reached
        found: list[tuple[int, T, dict[str, str]]] = []
        for node in nodes:
            for order, value, captures in node.entries:
                named = {}
                for name, index, checked in captures:
                    named[name] = words[index]
                    if checked and not is_key_word(named[name]):
                        break
                else:
                    found.append((order, value, named))
        if len(found) > 1:
            found.sort(key=_order)
        return [(value, named) for _, value, named in found]

    def _insert(self, order: int, pattern: KeyPattern, value: T) -> None:
        nodes = [self._root]
        for part in pattern.parts:
            match part:
                case str():
                    nodes = [_child(node, part) for node in nodes]
                case Capture(choices=tuple() as choices):
                    nodes = [_child(node, choice) for node in nodes for choice in choices]
                case Many():
                    self._many = True
                    nodes = [_many_child(node) for node in nodes]
                case Any() | Capture():
                    nodes = [_any_child(node) for node in nodes]
        captures = tuple((each.name, each.index, each.choices is None) for each in pattern.captures)
        for node in nodes:
            node.entries.append((order, value, captures))


def _order(found: tuple[int, object, object]) -> int:
    return found[0]


def _child(node: _Node[T], word: str) -> _Node[T]:
    return node.literals.setdefault(word, _Node())


def _any_child(node: _Node[T]) -> _Node[T]:
    if node.any is None:
        node.any = _Node()
    return node.any


def _many_child(node: _Node[T]) -> _Node[T]:
    if node.many is None:
        node.many = _Node(loops=True)
        node.entered = (node, node.many)
    return node.many

"""Trees: tensors in tuples, lists and dicts; None is a tree without leaves.

They are what a scan carries. torch's trees (`torch_private.tree_flatten`) are for the arguments and results of programs and
networks, which may hold whatever torch registers. A carry needs three things that those do not do: None has no leaf;
a dict of any class is a dict; and a shape prints as one reads it, for errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The structure of a tree: the type of a node, its keys, its branches; a node without a type is a leaf, or None.

    Example:
        >>> leaves, shape = flatten({"a": 1.0, "b": (2.0, None)})
        >>> leaves, str(shape), shape.build([3.0, 4.0])
        ([1.0, 2.0], "{'a': *, 'b': (*, None)}", {'a': 3.0, 'b': (4.0, None)})
    """

    kind: Any = None
    keys: tuple[Any, ...] = ()
    branches: tuple[Shape, ...] = ()

    def build(self, leaves: Sequence[Any]) -> Any:
        """The tree of this shape with these leaves, in order."""
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        parts = [branch._build(leaves) for branch in self.branches]
        if self.kind is type(None):
            return None
        if issubclass(self.kind, dict):
            return dict(zip(self.keys, parts, strict=True))
        return self.kind(*parts) if hasattr(self.kind, "_fields") else self.kind(parts)

    def __str__(self) -> str:
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        inner = list(map(str, self.branches))
        if issubclass(self.kind, dict):
            return "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(self.keys, inner, strict=True)) + "}"
        if issubclass(self.kind, list):
            return f"[{', '.join(inner)}]"
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"


_LEAF = Shape()


def flatten(tree: Any) -> tuple[list[Any], Shape]:
    """The leaves of a tree in order, dicts in insertion order, and its shape."""
    if tree is None:
        return [], Shape(type(None))
    if isinstance(tree, dict):
        return _node(dict, tuple(tree), list(tree.values()))
    if isinstance(tree, (tuple, list)):
        return _node(type(tree), (), tree)
    return [tree], _LEAF


def _node(kind: type, keys: tuple[Any, ...], parts: Sequence[Any]) -> tuple[list[Any], Shape]:
    found = [flatten(part) for part in parts]
    return [leaf for leaves, _ in found for leaf in leaves], Shape(kind, keys, tuple(shape for _, shape in found))

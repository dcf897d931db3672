"""How a value is defined while a graph is lowered: as an expression, as stages that fill memory, or as a patched value."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sursum.compiler.graph.graph import Where
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Loop

NOWHERE = Where(None, None)


def kind_of(dtype: torch.dtype) -> str:
    """The kind in which C holds a dtype."""
    return "b" if dtype == torch.bool else "f" if dtype.is_floating_point else "i"


@dataclass(frozen=True, slots=True)
class Map:
    """A value that is one expression of its index."""

    loop: Loop


@dataclass(frozen=True, slots=True)
class Made:
    """A value that needs memory: filled by these stages."""

    stages: tuple[Loop | Call, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """The version `base` of a value, or one number everywhere, with a window of it changed."""

    base: int | Expr
    piece: Loop  # reads only `source`
    source: int


Definition = Map | Made | Patch

"""Operators that take indices, and the valid range of each index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of

#: A function from an operator's arguments to the valid values of one of them.
Rule = Callable[[Mapping[str, Any]], "Places"]


@dataclass(frozen=True, slots=True)
class Places:
    """The integers from `low` to `high` − 1, and `also`."""

    low: int
    high: int
    also: int | None = None

    @property
    def inside(self) -> int:
        """One of them, where there are any."""
        return min(max(self.low, 0), self.high - 1)


def family(node: Node) -> str:
    """The name of a node's operator, in place or not: "index_put" for `aten.index_put_.default`."""
    name = node.op._schema.name.removeprefix("aten::")
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def places_of(node: Node) -> list[tuple[str, int | None, Ref, Places]]:
    """Every index argument of `node`: its name, its position in a list, the tensor, and its valid range."""
    name = family(node)
    if name not in _BY_DIMENSION and name not in _RULES:  # as for most, whose arguments take long to ask for
        return []
    args = arguments_of(node)
    found: list[tuple[str, int | None, Ref, Places]] = []
    if name in _BY_DIMENSION:
        for number, index in enumerate(args["indices"]):
            if isinstance(index, Ref) and index.dtype not in (torch.bool, torch.uint8):
                n = args["self"].size[number]
                found.append(("indices", number, index, Places(-n, n)))
        return found
    for argument, rule in _RULES[name].items():
        index = args.get(argument)
        if isinstance(index, Ref) and not index.dtype.is_floating_point:
            found.append((argument, None, index, rule(args)))
    return found


def _along(table: str, *, wraps: bool = False) -> Rule:
    """The valid indices along `dim`; also negative ones, if the operator supports them."""

    def rule(args: Mapping[str, Any]) -> Places:
        size = args[table].size
        n = size[args["dim"]] if size else 1
        return Places(-n if wraps else 0, n)

    return rule


def _in_all(args: Mapping[str, Any]) -> Places:
    n = math.prod(args["self"].size)
    return Places(-n, n)


def _rows(args: Mapping[str, Any]) -> Places:
    return Places(0, args["weight"].size[0])


def _plane(argument: str, rank: int) -> Rule:
    """The valid indices into the flattened last dimensions of a tensor, or of a size."""

    def rule(args: Mapping[str, Any]) -> Places:
        found = args[argument]
        return Places(0, math.prod((found.size if isinstance(found, Ref) else found)[-rank:]))

    return rule


def _class(args: Mapping[str, Any]) -> Places:
    size = args["self"].size
    return Places(0, size[min(1, len(size) - 1)] if size else 1, args["ignore_index"])


def _label(first: int) -> Rule:
    return lambda args: Places(first, args["self"].size[-1] if args["self"].size else 1)


def _pivots(factors: str) -> Rule:
    return lambda args: Places(1, args[factors].size[-2] + 1)


_BY_DIMENSION = frozenset(("index", "_unsafe_index", "index_put", "_index_put_impl", "_unsafe_index_put"))

_BAGS: Mapping[str, Rule] = {
    "indices": lambda args: Places(0, args["num_weights"]),
    "offset2bag": lambda args: Places(0, args["grad"].size[0]),
    "maximum_indices": lambda args: Places(0, args["num_weights"], -1),
}

_RULES: Mapping[str, Mapping[str, Rule]] = {
    **{name: {"index": _along("self")} for name in (
        "gather", "scatter", "scatter_add", "scatter_reduce", "index_select", "index_add", "index_copy", "index_reduce",
    )},
    "index_fill": {"index": _along("self", wraps=True)},
    "take": {"index": _in_all},
    "put": {"index": _in_all},
    "embedding": {"indices": _rows},
    "embedding_renorm": {"indices": lambda args: Places(0, args["self"].size[0])},
    "embedding_dense_backward": {"indices": lambda args: Places(0, args["num_weights"])},
    **{name: {"indices": _rows, "offsets": lambda args: Places(0, math.prod(args["indices"].size) + 1)}
       for name in ("_embedding_bag", "_embedding_bag_forward_only")},
    "_embedding_bag_backward": _BAGS,
    "_embedding_bag_dense_backward": _BAGS,
    "_embedding_bag_per_sample_weights_backward": {"indices": _rows},
    **{name: {"target": _class} for name in (
        "nll_loss_forward", "nll_loss_backward", "nll_loss2d_forward", "nll_loss2d_backward",
    )},
    "multi_margin_loss": {"target": _label(0)},
    "multi_margin_loss_backward": {"target": _label(0)},
    "multilabel_margin_loss_forward": {"target": _label(-1)},
    "multilabel_margin_loss_backward": {"target": _label(-1)},
    "_ctc_loss": {"targets": lambda args: Places(0, args["log_probs"].size[-1])},
    "_ctc_loss_backward": {"targets": lambda args: Places(0, args["log_probs"].size[-1])},
    "searchsorted": {"sorter": lambda args: Places(0, args["sorted_sequence"].size[-1])},
    "max_pool2d_with_indices_backward": {"indices": _plane("self", 2)},
    "adaptive_max_pool2d_backward": {"indices": _plane("self", 2)},
    "fractional_max_pool2d_backward": {"indices": _plane("self", 2)},
    "max_pool3d_with_indices_backward": {"indices": _plane("self", 3)},
    "adaptive_max_pool3d_backward": {"indices": _plane("self", 3)},
    "fractional_max_pool3d_backward": {"indices": _plane("self", 3)},
    "max_unpool2d": {"indices": _plane("output_size", 2)},
    "max_unpool3d": {"indices": _plane("output_size", 3)},
    "linalg_lu_solve": {"pivots": _pivots("LU")},
    "lu_unpack": {"LU_pivots": _pivots("LU_data")},
}  # fmt: skip

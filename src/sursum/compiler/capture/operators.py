"""Properties of an ATen operator that the recorder needs: what it writes, whether it reads data, whether it is random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tag

from sursum.common.torch_private import OpOverload
from sursum.compiler.graph.graph import Node, Ref, is_inner, operators_of

_BATCH_NORMS = frozenset(
    f"aten::{name}"
    for name in (
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_batch_norm_with_update",
        "cudnn_batch_norm",
        "miopen_batch_norm",
        "_batch_norm_impl_index",
        "batch_norm_update_stats",
    )
)
_REBINDING = frozenset(f"aten::{name}" for name in ("set_", "resize_", "resize_as_", "_resize_output_"))
_LOOKS = frozenset(f"aten::{name}" for name in ("is_nonzero", "_local_scalar_dense", "item", "equal", "allclose"))
_CHECKS = frozenset(f"aten::{name}" for name in ("_linalg_check_errors", "_assert_async"))


@dataclass(frozen=True, slots=True)
class Operator:
    """Facts about one operator overload, read from its schema and tags.

    `parameters` are the names of its arguments in order, `written` those that it writes into. `looks` says that Python
    sees its data, `checks` that it raises where they are wrong, `dynamic` that the data decide its result's shape,
    `random` that it may use a generator, `lifts` that its argument is a tensor just made from Python data, `rebinds`
    that it gives a tensor other memory, `batch_norm` that it may update running statistics behind the schema's back,
    `indexes` that it takes a list of indices, some of which may be masks, `views` that it gives windows on its argument;
    `computes` that none of this is so: all that it does is to make its results.
    """

    name: str
    parameters: tuple[str, ...]
    written: tuple[str, ...]
    looks: bool
    checks: bool
    dynamic: bool
    random: bool
    lifts: bool
    rebinds: bool
    batch_norm: bool
    indexes: bool
    views: bool
    computes: bool

    @classmethod
    def of(cls, op: OpOverload) -> Operator:
        """The facts about `op`.

        >>> import torch
        >>> Operator.of(torch.ops.aten.add_.Tensor).written
        ('self',)
        >>> Operator.of(torch.ops.aten.rand.default).random
        True
        """
        schema = op._schema
        found = cls(
            name=schema.name,
            parameters=tuple(argument.name for argument in schema.arguments),
            written=tuple(
                argument.name
                for argument in schema.arguments
                if argument.alias_info is not None and argument.alias_info.is_write
            ),
            looks=Tag.data_dependent_output in op.tags or schema.name in _LOOKS,
            checks=schema.name in _CHECKS,
            dynamic=Tag.dynamic_output_shape in op.tags,
            random=Tag.nondeterministic_seeded in op.tags,
            lifts=schema.name in ("aten::lift_fresh", "aten::lift"),
            rebinds=schema.name in _REBINDING,
            batch_norm=schema.name in _BATCH_NORMS,
            indexes=any(a.name == "indices" and isinstance(a.type, torch.ListType) for a in schema.arguments[1:2]),
            views=not schema.is_mutable and any(result.alias_info is not None for result in schema.returns),
            computes=False,
        )
        return replace(found, computes=not any(getattr(found, item.name) for item in fields(cls)[2:]))

    def argument(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The argument `name` of a call; None if it was not given."""
        if name in kwargs:
            return kwargs[name]
        position = self.parameters.index(name) if name in self.parameters else len(args)
        return args[position] if position < len(args) else None

    def windows(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Ref]:
        """The tensors that a call, with arguments as in a node, writes to."""
        found = [item for name in self.written for item in results_of(self.argument(name, args, kwargs))]
        return [item for item in found if isinstance(item, Ref)]

    def draws(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether this call uses a random generator: dropout with probability 0, or outside training, does not.

        >>> import torch
        >>> dropout = Operator.of(torch.ops.aten.native_dropout.default)
        >>> dropout.draws((torch.ones(1), 0.5, False), {}), dropout.draws((torch.ones(1), 0.5, True), {})
        (False, True)
        """
        if not self.random:
            return False
        for flag in ("train", "training"):
            if flag in self.parameters:
                dropped = self.argument("p", args, kwargs)
                return bool(self.argument(flag, args, kwargs)) and dropped != 0
        if "dropout_p" in self.parameters:
            return bool(self.argument("dropout_p", args, kwargs))
        return True

    def updates_statistics(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether this call is a batch norm that updates its running statistics."""
        if not self.batch_norm or self.argument("running_mean", args, kwargs) is None:
            return False
        return "training" not in self.parameters or bool(self.argument("training", args, kwargs))


def updates_statistics(node: Node) -> bool:
    """Whether a node is a batch norm that updates its running statistics, in place and without a write in the graph."""
    return node.op._schema.name in _BATCH_NORMS and Operator.of(node.op).updates_statistics(node.args, node.kwargs)


def running_averages(nodes: Iterable[Node]) -> set[int]:
    """The values that batch norms update in place: each is memory of its own in every run, and stands for no other value."""
    found: set[int] = set()
    nodes = tuple(nodes)
    norms = {id(op) for op in operators_of(nodes) if not is_inner(op) and op._schema.name in _BATCH_NORMS}
    for node in nodes if norms else ():
        if id(node.op) in norms and updates_statistics(node):
            facts = Operator.of(node.op)
            averages = (facts.argument(name, node.args, node.kwargs) for name in ("running_mean", "running_var"))
            found.update(ref.value for ref in averages if isinstance(ref, Ref))
    return found


def results_of(out: Any) -> list[Any]:
    """The results of an operator as a flat list, for a single tensor, a tuple or lists of tensors."""
    if isinstance(out, (list, tuple)):
        return [item for part in out for item in results_of(part)]
    return [out]

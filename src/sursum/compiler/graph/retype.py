"""Convert a graph to double precision: every float to float64, including constants and dtype arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from sursum.compiler.graph.graph import Graph, Node, Ref, Value, map_refs, refs_of
from sursum.compiler.graph.windows import contiguous

aten = torch.ops.aten

_LOW = (torch.float32, torch.float16, torch.bfloat16)


def wide(dtype: torch.dtype) -> torch.dtype:
    """float64 for a narrower float; other dtypes unchanged.

    >>> wide(torch.float32), wide(torch.int64)
    (torch.float64, torch.int64)
    """
    return torch.float64 if dtype in _LOW else dtype


def retype(graph: Graph) -> Graph:
    """`graph` with every float in float64. A constant keeps its value exactly: its bits are converted."""
    if not any(value.dtype in _LOW for value in graph.values.values()) and not any(map(_promotes, graph.nodes)):
        return graph
    values = {id: Value(id, value.numel, wide(value.dtype)) for id, value in graph.values.items()}
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _retype_node(node, values)
    return Graph(
        values=values,
        input=graph.input,
        constants={id: constant.to(wide(constant.dtype)) for id, constant in graph.constants.items()},
        nodes=tuple(nodes),
        guards=tuple(replace(guard, ref=_wide_ref(guard.ref)) for guard in graph.guards),
        outputs=tuple(_wide_ref(output) for output in graph.outputs),
    )


def _retype_node(node: Node, values: dict[int, Value]) -> list[Node]:
    """The nodes that replace one node: itself, after casts where torch would promote integers to a narrow float."""
    args, kwargs = _wide_tree(node.args), _wide_tree(dict(node.kwargs))
    outputs = tuple(None if output is None else _wide_ref(output) for output in node.outputs)
    writes = tuple(replace(write, window=_wide_ref(write.window)) for write in node.writes)
    retyped = Node(node.op, args, kwargs, outputs, writes, node.where)
    reads = refs_of(retyped)
    makes_float = any(output is not None and output.dtype.is_floating_point for output in outputs)
    if kwargs.get("dtype") is not None or not makes_float or any(ref.dtype.is_floating_point for ref in reads):
        return [retyped]
    if not reads:  # a factory without a dtype would use the default one
        takes_dtype = any(argument.name == "dtype" for argument in node.op._schema.arguments)
        return [replace(retyped, kwargs={**kwargs, "dtype": torch.float64})] if takes_dtype else [retyped]
    casts: dict[Ref, Node] = {}

    def cast(ref: Ref) -> Ref:
        if ref not in casts:
            numel = torch.Size(ref.size).numel()
            value = Value(max(values) + 1, numel, torch.float64)
            values[value.id] = value
            output = Ref(value.id, ref.size, contiguous(ref.size), 0, torch.float64)
            options = {"dtype": torch.float64, "memory_format": torch.contiguous_format}
            casts[ref] = Node(aten._to_copy.default, (ref,), options, (output,), (), node.where)
        made = casts[ref].outputs[0]
        assert made is not None
        return made

    args, kwargs = map_refs(args, cast), map_refs(kwargs, cast)
    return [*casts.values(), replace(retyped, args=args, kwargs=kwargs)]


def _promotes(node: Node) -> bool:
    """Whether a node may make a float without being given one, or a dtype."""
    if node.kwargs.get("dtype") is not None or any(ref.dtype.is_floating_point for ref in refs_of(node)):
        return False
    return any(output is not None and output.dtype.is_floating_point for output in node.outputs)


def _wide_ref(ref: Ref) -> Ref:
    if ref.dtype not in _LOW:
        return ref
    return Ref(ref.value, ref.size, ref.stride, ref.offset, torch.float64)


def _wide_tree(tree: Any) -> Any:
    if isinstance(tree, Ref):
        return _wide_ref(tree)
    if tree is None or isinstance(tree, (int, float)):
        return tree
    if isinstance(tree, torch.dtype):
        return wide(tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)([_wide_tree(item) for item in tree])
    if isinstance(tree, dict):
        return {key: _wide_tree(item) for key, item in tree.items()}
    return tree

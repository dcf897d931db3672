"""Copy elimination: values of a graph are immutable, so a copy is replaced by its original."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch

from sursum.compiler.graph.graph import Graph, Node, Ref, map_refs, operators_of, read_by, refs_of
from sursum.compiler.graph.windows import covers, same_geometry

aten = torch.ops.aten

#: Operators that behave differently for different strides, or reject some: their gradients were determined during capture.
_STRICT = frozenset(
    getattr(aten, name)
    for name in ("_linalg_det", "_linalg_slogdet", "_weight_norm_interface", "_weight_norm_interface_backward")
)
_COPIES = (aten._to_copy.default, aten.clone.default, aten.alias_copy.default)


def eliminate_copies(graph: Graph) -> Graph:
    """`graph` without nodes that copy a value unchanged, wherever the readers' windows fit the original.

    A node that writes makes a new version, so an original is never modified; but a copy that is
    itself written stays, since its next version needs a storage of its size.
    """
    if any(constant.device.type != "cpu" for constant in graph.constants.values()):
        return graph  # a copy may be one from device to device
    windows: dict[int, set[Ref]] = defaultdict(set)
    written: set[int] = set()
    strict: set[int] = set()
    heeding = {id(op) for op in operators_of(graph.nodes) if getattr(op, "overloadpacket", None) in _STRICT}
    for node in graph.nodes:
        for ref in refs_of(node):
            windows[ref.value].add(ref)
        if id(node.op) in heeding:
            strict.update(read_by(node))
        if node.writes:
            written.update([write.window.value for write in node.writes])
    for ref in (*graph.outputs, *(guard.ref for guard in graph.guards)):
        windows[ref.value].add(ref)

    original: dict[int, tuple[Ref, Ref]] = {}  # copied value → the window copied, and that of the copy

    def resolve(ref: Ref) -> Ref:
        if ref.value not in original:
            return ref
        source, copy = original[ref.value]
        if ref == copy:
            return source
        return replace(ref, value=source.value, offset=ref.offset + source.offset)

    nodes: list[Node] = []
    for node in graph.nodes:
        copied = _find_copy(node)
        if copied is not None and copied[1].value not in written:
            source, copy = resolve(copied[0]), copied[1]
            fits = covers(copy, graph.values[copy.value].numel) and same_geometry(source, copy)
            if fits or (windows[copy.value] <= {copy} and copy.value not in strict):
                original[copy.value] = source, copy
                continue
        if original.keys().isdisjoint(read_by(node)):
            nodes.append(node)
            continue
        writes = tuple(replace(write, window=resolve(write.window)) for write in node.writes)
        nodes.append(replace(node, args=map_refs(node.args, resolve), kwargs=map_refs(node.kwargs, resolve), writes=writes))
    return replace(
        graph,
        nodes=tuple(nodes),
        guards=tuple(replace(guard, ref=resolve(guard.ref)) for guard in graph.guards),
        outputs=tuple(resolve(output) for output in graph.outputs),
    )


def _find_copy(node: Node) -> tuple[Ref, Ref] | None:
    """The source and destination of `node`, if it only copies: torch's first power is a copy, too."""
    if node.op is aten.pow.Tensor_Scalar:
        if node.args[1] != 1:
            return None
    elif node.op not in _COPIES or len(node.args) != 1:
        return None
    source, copy = node.args[0], node.outputs[0]
    device = node.kwargs.get("device")
    if (
        copy is None
        or not isinstance(source, Ref)
        or source.dtype is not copy.dtype
        or (device is not None and device.type != "cpu")
    ):
        return None
    return source, copy

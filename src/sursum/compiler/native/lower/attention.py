"""Attention as one operator, and a softmax that knows rows of which nothing is allowed.

Reference: Dao, Fu, Ermon, Rudra, Ré, "FlashAttention" (2022), appendix B, for the gradient.
"""

from __future__ import annotations

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.reduction import axis
from sursum.compiler.native.lower.softmax import softmax_parts
from sursum.compiler.native.lower.table import Table


def safe_softmax(low: Lowering, node: Node) -> None:
    """Softmax; zeros where a row is −∞ throughout"""
    e, (x, dim) = low.e, node.args[:2]
    highest, total, _ = softmax_parts(low, x, dim)
    top = low.load(highest, x.size)
    value = e.div(e.call("exp", e.sub(low.load(x), top)), low.load(total, x.size))
    low.finish(node, e.where(e.eq(top, e.const(float("-inf"))), e.const(0.0), value))


class _Heads:
    """Queries (b, h, l, e), keys (b, h, s, e), values (b, h, s, e); loops over (b, h, l, s, e)."""

    def __init__(self, low: Lowering, node: Node) -> None:
        self.low, self.args = low, arguments_of(node)
        if self.args["dropout_p"]:
            low.fail("dropout")
        self.query, self.key, self.value = (self.args[name] for name in ("query", "key", "value"))
        b, h, rows, width = self.query.size
        self.columns = self.key.size[-2]
        self.scale = self.args["scale"] if self.args["scale"] is not None else width**-0.5
        self.scores_size = (b, h, rows, self.columns)
        self.size = (*self.scores_size, width)

    def read(self, ref: Ref, *dims: int) -> Expr:
        """A tensor of which each dimension runs with one of the loop variables."""
        coefs = [0] * 5
        for d, s, n in zip(dims, ref.stride, ref.size, strict=True):
            coefs[d] = s if n != 1 else 0
        return self.low.read(ref.value, Affine(ref.offset, tuple(coefs)), self.size, "f")

    def product(self, a: Expr, b: Expr, over: int) -> Ref:
        """Σ a·b over one loop variable."""
        out = self.low.new([n for d, n in enumerate(self.size) if d != over])
        self.low.reduce(out, "sum", self.size, (over,), self.low.e.mul(a, b))
        return out

    def scores(self) -> Ref:
        """q·kᵀ·scale + mask, −∞ above the diagonal if causal."""
        low, e = self.low, self.low.e
        raw = self.product(self.read(self.query, 0, 1, 2, 4), self.read(self.key, 0, 1, 3, 4), 4)
        value = e.mul(low.load(raw), e.const(self.scale))
        if self.args["attn_mask"] is not None:
            value = e.add(value, low.load(self.args["attn_mask"], self.scores_size))
        if self.args["is_causal"]:
            later = e.gt(e.index(axis(4, 3)), e.index(axis(4, 2)))
            value = e.where(later, e.const(float("-inf")), value)
        return low.temporary(self.scores_size, value)


def attention(low: Lowering, node: Node) -> None:
    """softmax(q·kᵀ·scale + mask)·v, and the logarithms of the softmax's sums"""
    e, heads = low.e, _Heads(low, node)
    scores = heads.scores()
    highest, total, _ = softmax_parts(low, scores, 3)
    top = low.load(highest, scores.size)
    share = low.temporary(scores.size, e.div(e.call("exp", e.sub(low.load(scores), top)), low.load(total, scores.size)))
    mixed = heads.product(heads.read(share, 0, 1, 2, 3), heads.read(heads.value, 0, 1, 3, 4), 3)
    low.define(low.output(node, 0), low.load(mixed))
    sums = low.output(node, 1)
    flat = [Ref(ref.value, sums.size, ref.stride[:-1], ref.offset, ref.dtype) for ref in (highest, total)]
    low.define(sums, e.add(low.load(flat[0]), e.call("log", low.load(flat[1]))))


def attention_backward(low: Lowering, node: Node) -> None:
    """With P the shares, ∂ the gradient and D = Σ ∂·out: dS = P·(∂vᵀ − D); dS·k, dSᵀ·q, Pᵀ·∂"""
    e, heads = low.e, _Heads(low, node)
    grad, out, sums = (heads.args[name] for name in ("grad_out", "out", "logsumexp"))
    scores = heads.scores()
    lift = Ref(sums.value, (*sums.size, 1), (*sums.stride, 0), sums.offset, sums.dtype)
    share = low.temporary(scores.size, e.call("exp", e.sub(low.load(scores), low.load(lift, scores.size))))
    reach = heads.product(heads.read(grad, 0, 1, 2, 4), heads.read(heads.value, 0, 1, 3, 4), 4)
    kept = low.new((*grad.size[:-1], 1))
    low.reduce(kept, "sum", grad.size, (3,), e.mul(low.load(grad), low.load(out)))
    slope = e.mul(low.load(share), e.sub(low.load(reach), low.load(kept, scores.size)))
    steep = low.temporary(scores.size, e.mul(slope, e.const(heads.scale)))
    found = (
        heads.product(heads.read(steep, 0, 1, 2, 3), heads.read(heads.key, 0, 1, 3, 4), 3),
        heads.product(heads.read(steep, 0, 1, 2, 3), heads.read(heads.query, 0, 1, 2, 4), 2),
        heads.product(heads.read(share, 0, 1, 2, 3), heads.read(grad, 0, 1, 2, 4), 2),
    )
    for k, ref in enumerate(found):
        if node.outputs[k] is not None:
            low.define(low.output(node, k), low.load(ref))


TABLE: Table = {
    "aten._safe_softmax": safe_softmax,
    "aten._scaled_dot_product_flash_attention_for_cpu": attention,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": attention_backward,
}

"""The rows of the operator contract: for every entry of the lowering table, small programs that use it.

A program gets x and y, each 3 × 4 float64. A row in `TAME` is only run at ordinary points, the others also where x and
y hold infinities, NaN, zeros of both signs, subnormal and huge numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from tests.compiler.native.network_operators import LOSSES, NETWORKS, PIECEWISE, SYSTEMS
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from sursum.common.special.incomplete_beta import INCOMPLETE_BETA
from sursum.common.special.incomplete_gamma import INCOMPLETE
from sursum.common.special.log_beta import LOG_BETA
from sursum.common.special.log_incomplete_gamma import LOG_INCOMPLETE
from sursum.common.special.normal_cdf import INVERSE_MILLS
from sursum.common.special.student_cdf import STUDENT

Case = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...] | list[Tensor]]
aten = torch.ops.aten

ROWS = torch.tensor([0, 2, 2, 1, -1])
COLUMNS = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 1, 1]])
GROUPS = torch.arange(96) * 7 % 3
MASK = torch.tensor([[True, False, True, False], [False, False, True, True], [True, True, False, False]])
WEIGHTS = torch.linspace(0.5, 2.0, 12, dtype=torch.float64).reshape(3, 4)
INF, NAN = float("inf"), float("nan")


def written(x: Tensor, change: Callable[[Tensor], object]) -> Tensor:
    """x after `change` has written into a copy of it."""
    copy = x.clone()
    change(copy)
    return copy


def of_first(function: Callable[[Tensor], Tensor]) -> Case:
    """A program that applies `function` to x."""
    return lambda x, y: function(x)


def one_sided(x: Tensor) -> Tensor:
    """x with no huge negative number: beside a huge positive one, the order in which a sum is taken decides what is left."""
    return torch.where(x < -1e299, x.abs(), x)


def spd(x: Tensor) -> Tensor:
    """A positive definite 3 × 3 matrix."""
    return x @ x.T + 3.0 * torch.eye(3, dtype=x.dtype)


def lower(x: Tensor) -> Tensor:
    """A lower triangle with a diagonal away from 0."""
    return x[:, :3].tril(-1) + torch.diag_embed(x[:, 0].abs() + 1.0)


POINTWISE: dict[str, list[Case]] = {
    "aten.add": [torch.add, lambda x, y: torch.add(x, y[0], alpha=0.5), lambda x, y: x + 1.5,
                 lambda x, y: written(x, lambda c: c.add_(y)), lambda x, y: (x > 0) + (y > 0)],
    "aten.sub": [torch.sub, lambda x, y: x - 2, lambda x, y: torch.sub(x, y[:, :1], alpha=3)],
    "aten.rsub": [lambda x, y: torch.rsub(x, 1.0), lambda x, y: torch.rsub(x, y, alpha=2)],
    "aten.mul": [torch.mul, lambda x, y: x * 1.0, lambda x, y: x * -1.0, lambda x, y: x * (y > 0), lambda x, y: x.T * 2],
    "aten.div": [torch.div, lambda x, y: x / 4.0, lambda x, y: x / 3.0, lambda x, y: x / y[0, 0], lambda x, y: x / WEIGHTS,
                 lambda x, y: torch.div(x, y, rounding_mode="trunc"),
                 lambda x, y: torch.div(x.clamp(-9, 9), 2.5, rounding_mode="floor")],
    "aten.neg": [lambda x, y: -x, lambda x, y: (-x).neg()],
    "aten.abs": [lambda x, y: x.abs()],
    "aten.sign": [lambda x, y: x.sign()],
    "aten.sgn": [lambda x, y: x.sgn()],
    "aten.reciprocal": [lambda x, y: x.reciprocal(), lambda x, y: 1 / x[0, 0] + y],
    "aten.addcmul": [lambda x, y: torch.addcmul(x, y, WEIGHTS, value=0.5)],
    "aten.addcdiv": [lambda x, y: torch.addcdiv(x, y, WEIGHTS, value=0.5)],
    "aten.lerp": [lambda x, y: torch.lerp(WEIGHTS, y, 0.25), lambda x, y: torch.lerp(WEIGHTS, y, 0.75)],
    "aten.pow.Tensor_Scalar": [lambda x, y, p=p: x**p for p in (0, 1, 2, 3, 4, 0.5, -0.5, -1, -2, 1.5, -3, 2.5)],
    "aten.pow.Tensor_Tensor": [lambda x, y: x**y, lambda x, y: x ** WEIGHTS],
    "aten.pow.Scalar": [lambda x, y: 2.0**x, lambda x, y: 1.0**x, lambda x, y: 0.0**x],
    "aten.maximum": [torch.maximum],
    "aten.minimum": [torch.minimum],
    "aten.clamp": [lambda x, y: x.clamp(-1, 1), lambda x, y: x.clamp(min=0), lambda x, y: torch.clamp(x, y, y + 1)],
    "aten.clamp_min": [lambda x, y: aten.clamp_min(x, 0.5), lambda x, y: aten.clamp_min(x, y)],
    "aten.clamp_max": [lambda x, y: aten.clamp_max(x, 0.5), lambda x, y: aten.clamp_max(x, y)],
    "aten.where.self": [lambda x, y: torch.where(x > y, x, y), lambda x, y: torch.where(MASK, x.exp(), y)],
    "aten.masked_fill": [lambda x, y: x.masked_fill(y > 0, 7.0), lambda x, y: x.masked_fill(MASK, y[0, 0]),
                         lambda x, y: written(x, lambda c: c.masked_fill_(y < 0, -1.0))],
    "aten.floor_divide": [lambda x, y: (x.clamp(-9, 9) // 2.5)],
    "aten.remainder": [lambda x, y: x.clamp(-9, 9) % 2.5],
    "aten.fmod": [lambda x, y: torch.fmod(x, 2.5)],
    "aten.lt": [torch.lt, lambda x, y: x < 0],
    "aten.le": [torch.le, lambda x, y: x <= 0],
    "aten.gt": [torch.gt, lambda x, y: x > 0],
    "aten.ge": [torch.ge, lambda x, y: x >= 0],
    "aten.eq": [torch.eq, lambda x, y: x == 0],
    "aten.ne": [torch.ne, lambda x, y: x != 0],
    "aten.logical_and": [torch.logical_and],
    "aten.logical_or": [torch.logical_or],
    "aten.logical_xor": [torch.logical_xor],
    "aten.logical_not": [lambda x, y: x.logical_not()],
    "aten.bitwise_and": [lambda x, y: (x > 0) & (y > 0), lambda x, y: COLUMNS & (x > 0)],
    "aten.bitwise_or": [lambda x, y: (x > 0) | (y > 0), lambda x, y: COLUMNS | (x > 0)],
    "aten.bitwise_xor": [lambda x, y: (x > 0) ^ (y > 0)],
    "aten.bitwise_not": [lambda x, y: ~(x > 0)],
    "aten.isnan": [lambda x, y: x.isnan(), lambda x, y: aten.isnan(x)],
    "aten.isinf": [lambda x, y: aten.isinf(x)],
    "aten.nan_to_num": [lambda x, y: x.nan_to_num(), lambda x, y: x.nan_to_num(1.0, 2.0, -3.0)],
    **{f"aten.{name}": [of_first(getattr(torch, name))] for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "floor", "ceil", "trunc", "round", "lgamma",
        "digamma", "erfinv", "rsqrt", "frac",
    )},
    "aten.atan2": [torch.atan2],
    "aten.hypot": [torch.hypot],
    "aten.xlogy": [torch.xlogy, lambda x, y: torch.xlogy(2.0, y), lambda x, y: torch.xlogy(x, 3.0)],
    "aten.special_xlog1py": [torch.special.xlog1py],
    "aten.logaddexp": [torch.logaddexp],
    "aten.relu": [lambda x, y: F.relu(x), lambda x, y: torch.atan2(F.relu(x), y), lambda x, y: written(x, torch.relu_)],
    "aten.threshold": [lambda x, y: F.threshold(x, 0.5, -2.0)],
    "aten.threshold_backward": [lambda x, y: aten.threshold_backward(x, y, 0.0)],
    "aten.sigmoid": [lambda x, y: x.sigmoid()],
    "aten.sigmoid_backward": [lambda x, y: aten.sigmoid_backward(x, y)],
    "aten.tanh_backward": [lambda x, y: aten.tanh_backward(x, y)],
    "aten.softplus": [lambda x, y: F.softplus(x), lambda x, y: F.softplus(x, 2.0, 5.0)],
    "aten.softplus_backward": [lambda x, y: aten.softplus_backward(y, x, 1.0, 20.0)],
    "aten.elu": [lambda x, y: F.elu(x), lambda x, y: F.selu(x)],
    "aten.elu_backward": [lambda x, y: aten.elu_backward(y, 1.5, 1.2, 1.0, False, x),
                          lambda x, y: aten.elu_backward(y, 1.5, 1.2, 1.0, True, x)],
    "aten.silu": [lambda x, y: F.silu(x)],
    "aten.silu_backward": [lambda x, y: aten.silu_backward(y, x)],
    "aten.gelu": [lambda x, y: F.gelu(x), lambda x, y: F.gelu(x, approximate="tanh")],
    "aten.gelu_backward": [lambda x, y: aten.gelu_backward(y, x),
                           lambda x, y: aten.gelu_backward(y, x, approximate="tanh")],
    "aten.logit": [lambda x, y: torch.logit(x), lambda x, y: torch.logit(x, eps=0.1)],
    "aten.log_sigmoid_forward": [lambda x, y: F.logsigmoid(x)],
    "aten.log_sigmoid_backward": [lambda x, y: aten.log_sigmoid_backward(y, x, aten.log_sigmoid_forward(x)[1])],
    "aten.binary_cross_entropy_with_logits": [
        lambda x, y: F.binary_cross_entropy_with_logits(x, MASK.double(), reduction="none"),
        lambda x, y: F.binary_cross_entropy_with_logits(x, MASK.double(), weight=WEIGHTS),
        lambda x, y: F.binary_cross_entropy_with_logits(x, MASK.double(), pos_weight=WEIGHTS, reduction="sum"),
    ],
}  # fmt: skip

SPECIAL: dict[str, list[Case]] = {
    "aten.polygamma": [lambda x, y: torch.polygamma(0, x), lambda x, y: torch.polygamma(1, x.abs().clamp(0.01, 50)),
                       lambda x, y: torch.polygamma(2, x.abs().clamp(0.01, 50)), lambda x, y: torch.polygamma(3, x.abs().clamp(0.01, 50))],
    "sursum.incomplete_gamma": [lambda x, y, k=k: INCOMPLETE.operator(x, y, k) for k in range(4)]
        + [lambda x, y, k=k: INCOMPLETE.operator(x.abs() * 30, (x.abs() + y) * 30, k) for k in range(4)],
    "sursum.log_incomplete_gamma": [lambda x, y, k=k: LOG_INCOMPLETE.operator(x, y, k) for k in range(6)]
        + [lambda x, y, k=k: LOG_INCOMPLETE.operator(x.abs() * 30, (x.abs() + y) * 30, k) for k in range(6)],
    "sursum.incomplete_beta": [lambda x, y, k=k: INCOMPLETE_BETA.operator(x, y, WEIGHTS / 3, 1 - WEIGHTS / 3, k) for k in range(8)]
        + [lambda x, y, k=k: INCOMPLETE_BETA.operator(x.abs() * 9, y.abs() * 9, y.sigmoid(), (-y).sigmoid(), k) for k in range(8)],
    "sursum.log_beta": [lambda x, y, k=k: LOG_BETA.operator(x, y, k) for k in range(3)],
    "sursum.student_cdf": [lambda x, y, k=k: STUDENT.operator(x, y, k) for k in range(6)]
        + [lambda x, y, k=k: STUDENT.operator(WEIGHTS * 3, y * 5, k) for k in range(6)],
    "sursum.inverse_mills": [lambda x, y, k=k: INVERSE_MILLS.operator(x * 4, k) for k in range(3)],
    "aten.mvlgamma": [lambda x, y: torch.mvlgamma(x.abs() + 3, 3), lambda x, y: torch.mvlgamma(x.abs() + 3, 1)],
    "aten.special_zeta": [lambda x, y: torch.special.zeta(x.clamp(max=500), y.abs().clamp(0.5, 50) + 0.25), lambda x, y: torch.special.zeta(2.5, y),
                          lambda x, y: torch.special.zeta(x, 1.0)],
    "aten.i0": [lambda x, y: torch.i0(x), lambda x, y: torch.i0(x * 20)],
    **{f"aten.special_{name}": [lambda x, y, name=name, k=k: getattr(torch.special, name)(x * k) for k in (1, 20)]
       for name in ("i0e", "i1", "i1e", "erfcx", "log_ndtr", "entr")},
    "aten.special_ndtri": [lambda x, y: torch.special.ndtri(x), lambda x, y: torch.special.ndtri(x.sigmoid())],
    "aten.sinc": [lambda x, y: torch.sinc(x.clamp(-99, 99))],
    "aten.logaddexp2": [torch.logaddexp2],
    "aten.heaviside": [torch.heaviside],
    "aten.fmax": [torch.fmax],
    "aten.fmin": [torch.fmin],
    "aten.copysign": [torch.copysign, lambda x, y: torch.copysign(x, -2.0)],
    "aten.signbit": [lambda x, y: torch.signbit(x)],
    "aten.deg2rad": [lambda x, y: torch.deg2rad(x)],
    "aten.rad2deg": [lambda x, y: torch.rad2deg(x)],
}  # fmt: skip

MEMORY: dict[str, list[Case]] = {
    "aten.full": [lambda x, y: torch.full((3, 4), 0.25, dtype=x.dtype) * x],
    "aten.full_like": [lambda x, y: torch.full_like(x, 0.25) + y],
    "aten.fill": [lambda x, y: written(x, lambda c: c[1].fill_(2.5)), lambda x, y: aten.fill(x, 1.0) + y],
    "aten.new_full": [lambda x, y: x.new_full((2, 2), 3.0) * x[:2, :2]],
    "aten.zero": [lambda x, y: written(x, lambda c: c[:, 1:3].zero_())],
    "aten.zeros_like": [lambda x, y: torch.zeros_like(x) + y],
    "aten.new_zeros": [lambda x, y: x.new_zeros(4) + y],
    "aten.ones_like": [lambda x, y: torch.ones_like(x) * y],
    "aten.new_ones": [lambda x, y: x.new_ones(4) - y],
    "aten.zeros": [lambda x, y: torch.zeros(4, dtype=x.dtype) + x],
    "aten.ones": [lambda x, y: torch.ones(4, dtype=x.dtype) - x],
    "aten.empty": [lambda x, y: torch.empty(4, dtype=x.dtype).copy_(x[0])],
    "aten.empty_like": [lambda x, y: torch.empty_like(x).copy_(y)],
    "aten.empty_strided": [lambda x, y: torch.empty_strided((3, 4), (1, 3), dtype=x.dtype).copy_(y) * 2],
    "aten.new_empty": [lambda x, y: x.new_empty(4).copy_(x[0])],
    "aten.new_empty_strided": [lambda x, y: x.new_empty_strided((3, 4), (1, 3)).copy_(y)],
    "aten.scalar_tensor": [lambda x, y: aten.scalar_tensor(2.0, dtype=x.dtype) * x],
    "aten.eye": [lambda x, y: torch.eye(3, 4, dtype=x.dtype) + x],
    "aten.arange": [lambda x, y: torch.arange(1, 9, 2) * x, lambda x, y: torch.arange(4) + x],
    "aten.clone": [lambda x, y: x.T.clone() * 2, lambda x, y: x.T.contiguous()],
    "aten._to_copy": [lambda x, y: (x > 0).to(torch.float64), lambda x, y: x.clamp(-9, 9).nan_to_num().to(torch.int64),
                      lambda x, y: (x > 0).to(torch.int64) * 3],
    "aten.copy": [lambda x, y: written(x, lambda c: c[:, 1].copy_(y[:, 0])),
                  lambda x, y: written(x, lambda c: c[1:].copy_(y[:2])),
                  lambda x, y: written(x, lambda c: (c.T[1:3].copy_(y[:, :2].T), c[0, 1:3].mul_(2)))],
}  # fmt: skip

REDUCTIONS: dict[str, list[Case]] = {
    "aten.sum": [lambda x, y: one_sided(x).sum(), lambda x, y: x.sum(0), lambda x, y: (x * y).sum(1, keepdim=True),
                 lambda x, y: x.T.sum(0), lambda x, y: (x > 0).sum(), lambda x, y: x[:, :0].sum(1),
                 lambda x, y: x[0].expand(5, 4).sum(0), lambda x, y: x.reshape(3, 2, 2).sum((0, 2)),
                 lambda x, y: (x.unsqueeze(2) * y.T).sum((0, 2))],
    "aten.prod": [lambda x, y: x.prod(), lambda x, y: x.prod(1)],
    "aten.amax": [lambda x, y: x[:0].amax(1), lambda x, y: x.amax(0), lambda x, y: x.clamp(-INF, -INF).amax(1), lambda x, y: x.amax((0, 1))],
    "aten.amin": [lambda x, y: x.amin(1, keepdim=True), lambda x, y: x.clamp(INF, INF).amin()],
    "aten.max.default": [lambda x, y: x.max(), lambda x, y: (x > 0).to(torch.int64).max()],
    "aten.min.default": [lambda x, y: x.min()],
    "aten.max.dim": [lambda x, y: x[:, :0].max(0), lambda x, y: x.max(1), lambda x, y: x.max(0, keepdim=True)],
    "aten.min.dim": [lambda x, y: x.min(0)],
    "aten.argmax": [lambda x, y: x.argmax(), lambda x, y: x.argmax(1)],
    "aten.argmin": [lambda x, y: x.argmin(0, keepdim=True)],
    "aten.all": [lambda x, y: (x == x).all(), lambda x, y: (x > 0).all(1), lambda x, y: (x > 0).all(0)],
    "aten.any": [lambda x, y: (x > 0).any(), lambda x, y: (x > 1).any(0)],
    "aten._is_all_true": [lambda x, y: aten._is_all_true(x == x)],
    "aten._is_any_true": [lambda x, y: aten._is_any_true(x > 1)],
    "aten.mean": [lambda x, y: one_sided(x).mean(), lambda x, y: x.mean(0), lambda x, y: x.mean(1, keepdim=True)],
    "aten.linalg_vector_norm": [lambda x, y, p=p: torch.linalg.vector_norm(x, p, dim=1)
                                for p in (2, 1, 3, float("inf"), float("-inf"), 0)] + [lambda x, y: torch.linalg.vector_norm(x), lambda x, y: torch.linalg.vector_norm(x[:, :1] * 1e-300, dim=1) * 1e300],
    "aten.var.correction": [lambda x, y: x.var(), lambda x, y: x.var(0, correction=0)],
    "aten.std.correction": [lambda x, y: x.std(1, keepdim=True)],
    "aten.var_mean.correction": [lambda x, y: torch.var_mean(x, 1)],
    "aten.std_mean.correction": [lambda x, y: torch.std_mean(x, 1), lambda x, y: torch.std_mean(x)],
    "aten.nansum": [lambda x, y: x.clamp(-9, 9).nansum(), lambda x, y: x.nansum(0, keepdim=True)],
    "aten.count_nonzero": [lambda x, y: x.count_nonzero(), lambda x, y: x.count_nonzero(1)],
    "aten.trace": [lambda x, y: x.trace(), lambda x, y: x.T[1:].trace()],
    "aten.logsumexp": [lambda x, y: x.logsumexp(1), lambda x, y: x.logsumexp((0, 1)),
                       lambda x, y: x.logsumexp(0, keepdim=True)],
    "aten._softmax": [lambda x, y: x.softmax(1), lambda x, y: x.softmax(0)],
    "aten._log_softmax": [lambda x, y: x.log_softmax(1), lambda x, y: x.log_softmax(0)],
    "aten._softmax_backward_data": [lambda x, y: aten._softmax_backward_data(x, y, 1, torch.float64)],
    "aten._log_softmax_backward_data": [lambda x, y: aten._log_softmax_backward_data(x, y.round(), 0, torch.float64)],
    "aten.cumsum": [lambda x, y: x.cumsum(1), lambda x, y: x.T.cumsum(1), lambda x, y: (x > 0).cumsum(0),
                    lambda x, y: written(x, lambda c: c.cumsum_(0))],
    "aten.cumprod": [lambda x, y: x.cumprod(0), lambda x, y: x.cumprod(-1)],
    "aten.logcumsumexp": [lambda x, y: x.logcumsumexp(1)],
}  # fmt: skip

ORDER: dict[str, list[Case]] = {
    "aten.sort": [lambda x, y: x.sort(1), lambda x, y: x.sort(0, descending=True), lambda x, y: x.sort(dim=1, stable=True),
                  lambda x, y: (x.T * y.T).sort(0), lambda x, y: x.reshape(-1).sort(), lambda x, y: COLUMNS.where(x > y, 1).sort(1)],
    "aten.topk": [lambda x, y: x.topk(2, 1)[0], lambda x, y: x.topk(2, 0, largest=False)[0], lambda x, y: WEIGHTS.where(x > y, WEIGHTS + 9).topk(3, 1)],
    "aten.kthvalue": [lambda x, y: x.kthvalue(2, 1)[0], lambda x, y: WEIGHTS.where(x > y, WEIGHTS + 9).kthvalue(2, 0, keepdim=True)],
    "aten.median": [lambda x, y: x.median(), lambda x, y: x.median(1)[0], lambda x, y: WEIGHTS.where(x > y, WEIGHTS + 9).median(0, keepdim=True)],
    "aten.cummax": [lambda x, y: x.cummax(1), lambda x, y: x.cummax(0)],
    "aten.cummin": [lambda x, y: x.cummin(1), lambda x, y: x.T.cummin(0)],
    "aten.searchsorted": [lambda x, y: torch.searchsorted(WEIGHTS[0], x), lambda x, y: torch.searchsorted(WEIGHTS, x, right=True),
                          lambda x, y: torch.searchsorted(WEIGHTS[0], x.reshape(2, 6), side="right"),
                          lambda x, y: torch.searchsorted((x > 0).long().sum(1).cumsum(0), torch.arange(5))],
    "aten.bucketize": [lambda x, y: torch.bucketize(x, WEIGHTS[0]), lambda x, y: torch.bucketize(x, WEIGHTS[0], right=True)],
    "aten.aminmax": [lambda x, y: x.aminmax(), lambda x, y: x.aminmax(dim=1, keepdim=True)],
}  # fmt: skip

STRUCTURE: dict[str, list[Case]] = {
    "aten.transpose_": [lambda x, y: written(x * y, lambda c: c.transpose_(0, 1)) + 1, lambda x, y: aten.transpose_(x.clone(), 0, 1).exp()],
    "aten.t_": [lambda x, y: (x * y).t_() * 2],
    "aten.squeeze_": [lambda x, y: (x * y)[None].squeeze_(0) * 2],
    "aten.unsqueeze_": [lambda x, y: (x * y).unsqueeze_(1) * y],
    "aten.as_strided_": [lambda x, y: (x * y).as_strided_((2, 3), (4, 2), 1) * 2],
    "aten.roll": [lambda x, y: x.roll(1, 1), lambda x, y: (x * y).roll((-1, 6), (0, 1)), lambda x, y: x.T.roll(5), lambda x, y: x.roll(0, 0)],
    "aten.rot90": [lambda x, y, k=k: (x + y).rot90(k) for k in (-1, 0, 1, 2, 3)] + [lambda x, y: x[None].rot90(1, (2, 1))],
    "aten.block_diag": [lambda x, y: torch.block_diag(x, y[0], y[:2], x[0, 0])],
    "aten.diag_embed": [lambda x, y: aten.diag_embed(x), lambda x, y: torch.diag_embed(x * y, 1), lambda x, y: torch.diag_embed(x, -2, 0, 2)],
    "aten.select_backward": [lambda x, y: aten.select_backward(x[0], [5, 4], 0, 2),
                             lambda x, y: aten.select_backward(x[0], [5, 4], 0, 2) + aten.select_backward(y[0], [5, 4], 0, -1),
                             lambda x, y: aten.select_backward(x[0], [3, 4], 0, 2) + y],
    "aten.slice_backward": [lambda x, y: aten.slice_backward(x, [3, 9], 1, 1, 9, 2),
                            lambda x, y: aten.slice_backward(x, [7, 4], 0, 2, 5, 1) + aten.slice_backward(y, [7, 4], 0, 3, 6, 1),
                            lambda x, y: aten.slice_backward(x, [6, 4], 0, 0, 3, 1) + aten.slice_backward(y, [6, 4], 0, 3, 99, 1)],
    "aten.diagonal_backward": [lambda x, y: aten.diagonal_backward(x[0], [4, 5], 1, 0, 1)],
    "aten.select_scatter": [lambda x, y: torch.select_scatter(x, y[0], 0, 1)],
    "aten.slice_scatter": [lambda x, y: torch.slice_scatter(x, y[:, :2], 1, 1, 3)],
    "aten.diagonal_scatter": [lambda x, y: torch.diagonal_scatter(x, y[0, :3])],
    "aten.cat": [lambda x, y: torch.cat([x, y[:1]]), lambda x, y: torch.cat([x, y.exp()], 1), lambda x, y: torch.cat([x])],
    "aten.stack": [lambda x, y: torch.stack([x, y], 1), lambda x, y: torch.stack([x[0], y[1]])],
    "aten.constant_pad_nd": [lambda x, y: F.pad(x, [1, 2], value=1.5), lambda x, y: F.pad(x, [-1, 2, 1, -1])],
    "aten.flip": [lambda x, y: x.flip(0), lambda x, y: x.flip((0, 1)), lambda x, y: (x * y).flip(1) + 1],
    "aten.repeat": [lambda x, y: x[:1].repeat(3, 1)],
    "aten.tril": [lambda x, y: x.tril(), lambda x, y: x.tril(-1), lambda x, y: (x * y).tril(1)],
    "aten.triu": [lambda x, y: x.triu(1)],
}  # fmt: skip

INDEXING: dict[str, list[Case]] = {
    "aten.index.Tensor": [lambda x, y: x[ROWS], lambda x, y: x[:, ROWS], lambda x, y: x[MASK], lambda x, y: x.exp()[ROWS] * 2,
                          lambda x, y: x[ROWS[:, None], COLUMNS[0]], lambda x, y: x[COLUMNS[:, :3] % 3, 1],
                          lambda x, y: x.T[:, ROWS].T],
    "aten.index_put": [lambda x, y: written(x, lambda c: c.index_put_((ROWS,), y[0], accumulate=True)),
                       lambda x, y: written(x, lambda c: c.index_put_((ROWS[:2],), y[:2])),
                       lambda x, y: torch.index_put(x, (ROWS[1:],), y[ROWS[1:]], accumulate=True),
                       lambda x, y: torch.zeros(3, dtype=x.dtype).index_put((GROUPS,), y.reshape(-1)[torch.arange(96) % 12], accumulate=True),
                       lambda x, y: written(x, lambda c: c.__setitem__(y > 0, 3.0)),
                       lambda x, y: written(x, lambda c: c.__setitem__(MASK, 3.0))],
    "aten._index_put_impl": [lambda x, y: aten._index_put_impl_(x.clone(), [ROWS], y[0], True)],
    "aten._unsafe_index.Tensor": [lambda x, y: aten._unsafe_index(x, [ROWS])],
    "aten._unsafe_index_put": [lambda x, y: aten._unsafe_index_put(x, [ROWS], y[0], True)],
    "aten.gather": [lambda x, y: x.gather(1, COLUMNS), lambda x, y: x.gather(0, COLUMNS % 3),
                    lambda x, y: x.gather(1, x.argmax(1, keepdim=True))],
    "aten.scatter": [lambda x, y: x.scatter(1, COLUMNS[:, :2], y), lambda x, y: x.scatter(1, COLUMNS[:, :1], 5.0),
                     lambda x, y: written(x, lambda c: c.scatter_(0, COLUMNS[:1] % 3, 1.0))],
    "aten.scatter_add": [lambda x, y: x.scatter_add(1, COLUMNS, y), lambda x, y: torch.zeros_like(x).scatter_add(0, COLUMNS % 3, y)],
    "aten.scatter_reduce": [lambda x, y, m=m, k=k: x.scatter_reduce(1, COLUMNS[:, :3] // 2 * 2, y, m, include_self=k)
                            for m in ("sum", "prod", "mean", "amax", "amin") for k in (True, False)]
        + [lambda x, y: written(x * 2, lambda c: c.scatter_reduce_(0, x.argmax(0, keepdim=True), y, "prod"))],
    "aten.index_select": [lambda x, y: x.index_select(1, ROWS % 3)],
    "aten.index_add": [lambda x, y: x.index_add(0, ROWS % 3, y[ROWS], alpha=2), lambda x, y: written(x, lambda c: c.index_add_(1, COLUMNS[0], y))],
    "aten.embedding": [lambda x, y: F.embedding(COLUMNS % 3, x)],
    "aten.embedding_dense_backward": [lambda x, y: aten.embedding_dense_backward(x, ROWS[:3], 4, -1, False),
                                      lambda x, y: aten.embedding_dense_backward(x, ROWS[:3], 4, 2, False)],
}  # fmt: skip

ALGEBRA: dict[str, list[Case]] = {
    "aten.mm": [lambda x, y: x @ y.T, lambda x, y: x.T @ y, lambda x, y: x.repeat(12, 12) @ y.repeat(12, 12).T,
                lambda x, y: (x[:, :1].expand(3, 60) @ y[:1].expand(60, 4))],
    "aten.bmm": [lambda x, y: torch.bmm(x.reshape(3, 2, 2), y.reshape(3, 2, 2)), lambda x, y: x.reshape(3, 2, 2).mT @ y.reshape(3, 2, 2)],
    "aten.mv": [lambda x, y: x @ y[0], lambda x, y: x.T @ y[:, 0], lambda x, y: torch.mv(WEIGHTS, x[0])],
    "aten.dot": [lambda x, y: x[0] @ y[1]],
    "aten.vdot": [lambda x, y: torch.vdot(x[0], y[1])],
    "aten.addmm": [lambda x, y: torch.addmm(x[:, :3], x, y.T), lambda x, y: torch.addmm(x[0, :3], x, y.T, beta=0.5, alpha=2)],
    "aten.addmv": [lambda x, y: torch.addmv(x[:, 0], x, y[0])],
    "aten.baddbmm": [lambda x, y: torch.baddbmm(x[:, :2, None].expand(3, 2, 2), x.reshape(3, 2, 2), y.reshape(3, 2, 2))],
    "aten.addr": [lambda x, y: torch.addr(x, x[:, 0], y[0]), lambda x, y: torch.addr(x, x[:, 0], y[0], beta=0.5, alpha=2)],
    "aten.linalg_cholesky_ex": [lambda x, y: torch.linalg.cholesky_ex(spd(x)), lambda x, y: torch.linalg.cholesky_ex(spd(y), upper=True),
                                lambda x, y: torch.linalg.cholesky_ex(torch.stack([spd(x), spd(y)]))[0]],
    "aten.linalg_solve_triangular": [
        lambda x, y: torch.linalg.solve_triangular(lower(x), y, upper=False),
        lambda x, y: torch.linalg.solve_triangular(lower(x).mT, y, upper=True),
        lambda x, y: torch.linalg.solve_triangular(lower(x), y.mT, upper=False, left=False),
        lambda x, y: torch.linalg.solve_triangular(lower(x), y, upper=False, unitriangular=True),
        lambda x, y: torch.linalg.solve_triangular(torch.stack([lower(x), lower(y)]), y, upper=False),
    ],
    "aten.triangular_solve": [
        lambda x, y: aten.triangular_solve(y, lower(x), False)[0], lambda x, y: aten.triangular_solve(y, lower(x), False, True)[0]],
    "aten.cholesky_solve": [lambda x, y: torch.cholesky_solve(y, lower(x)), lambda x, y: torch.cholesky_solve(y, lower(x).mT, upper=True)],
    "aten.cholesky_inverse": [lambda x, y: torch.cholesky_inverse(lower(x))],
}  # fmt: skip

FAMILIES = {"pointwise": POINTWISE, "special": SPECIAL, "piecewise": PIECEWISE, "losses": LOSSES, "networks": NETWORKS,
            "systems": SYSTEMS, "order": ORDER, "memory": MEMORY, "reductions": REDUCTIONS, "structure": STRUCTURE,
            "indexing": INDEXING, "algebra": ALGEBRA}  # fmt: skip
TAME = (
    frozenset(ALGEBRA)
    | frozenset(NETWORKS)
    | frozenset(SYSTEMS)
    | {
        "sursum.incomplete_beta",
        "sursum.log_incomplete_gamma",
        "sursum.student_cdf",
    }  # their limits: tests/common/special/test_functions.py
    | {"aten.std_mean.correction", "aten.var.correction", "aten.std.correction", "aten.var_mean.correction"}
)

#: Rows of the same names, of operators that torch's vectors and its scalars compute alike: what C promises where those of the
#: operator itself do not, at NaN and at zeros. See "At NaN and infinity" in docs/native.md.
PROMISED: dict[str, list[Case]] = {
    "aten.elu_backward": [lambda x, y: torch.where(x > 0, y * 1.2, y * 1.8 * x.exp()),
                          lambda x, y: torch.where(x > 0, y * 1.2, y * (x + 1.8))],
    "aten.hardtanh_backward": [lambda x, y: torch.where((x <= -1) | (x >= 1), 0.0, y)],
    "aten.softshrink_backward": [lambda x, y: torch.where(x.abs() <= 0.5, 0.0, y)],
    "aten.hardshrink_backward": [lambda x, y: torch.where(x.abs() <= 0.5, 0.0, y)],
    "aten.hardswish_backward": [lambda x, y: torch.where(x <= -3, 0.0, torch.where(x >= 3, y, y * (x / 3 + 0.5)))],
    "aten.logit_backward": [
        lambda x, y: torch.where((x < 0) | (x > 1), NAN, torch.where((x == 0) | (x == 1), y * INF, y / (x * (1 - x)))),
        lambda x, y: torch.where((x < 0.1) | (x > 0.9), 0.0, y / (x * (1 - x)))],
}  # fmt: skip

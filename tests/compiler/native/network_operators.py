"""Further rows of the operator contract: what networks, losses and linear systems are made of. See `operators.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Case = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...] | list[Tensor]]
aten = torch.ops.aten

CLASSES = torch.tensor([0, 3, 1])
PIXELS = torch.arange(24).reshape(2, 3, 4) % 2
SOME = torch.tensor([0, -100, 1])
WEIGHTS = torch.linspace(0.5, 2.0, 12, dtype=torch.float64).reshape(3, 4)
MASK = torch.tensor([[True, False, True, False], [False, False, True, True], [True, True, False, False]])
TARGET = MASK.double()
ALL = [True, True, True]


def image(x: Tensor) -> Tensor:
    """Two pictures with two channels of 3 × 4."""
    return torch.stack([x, x.flip(0), x.flip(1) * 0.5, x + 1]).reshape(2, 2, 3, 4)


def kernel(y: Tensor) -> Tensor:
    """Three filters of 2 × 2 for two channels."""
    return torch.stack([y, y + 0.5]).reshape(3, 2, 2, 2)


def conv(x: Tensor, w: Tensor, b: Tensor | None, *rest: object) -> Tensor:
    """`aten.convolution`: stride, padding, dilation, transposed, output padding, groups."""
    return aten.convolution(x, w, b, *rest)


def conv_backward(grad: Tensor, x: Tensor, w: Tensor, *rest: object) -> tuple[Tensor, ...]:
    """`aten.convolution_backward`, all of its results."""
    return aten.convolution_backward(grad, x, w, [1], *rest, ALL)


def grads(make: Callable[[Tensor, Tensor], Tensor], rest: tuple[object, ...]) -> Case:
    """The backward operator of a convolution, the gradient being its square."""

    def case(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        source, weight = image(x), kernel(y)
        if rest[3]:
            weight = weight[:2]
        if rest[-1] == 2:
            weight = kernel(y)[:2, :1]
        return conv_backward(make(x, y) * 0.1, source, weight, *rest)

    return case


SHAPES: dict[str, tuple[object, ...]] = {
    "plain": ([1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "step and pad": ([2, 1], [1, 1], [1, 2], False, [0, 0], 1),
    "groups": ([1, 2], [0, 1], [1, 1], False, [0, 0], 2),
    "transposed": ([2, 1], [0, 0], [1, 1], True, [0, 0], 1),
    "transposed, padded": ([2, 2], [1, 0], [1, 2], True, [1, 1], 1),
    "transposed, groups": ([1, 2], [0, 0], [1, 1], True, [0, 0], 2),
}


def filters(y: Tensor, rest: tuple[object, ...]) -> Tensor:
    """The weight that goes with a row of `SHAPES` (two channels in)."""
    if rest[-1] == 2:
        return kernel(y)[:2, :1]
    return kernel(y)[:2] if rest[3] else kernel(y)


def lu_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """LU factors of a 3 × 3 matrix."""
    packed, rows, _ = aten.linalg_lu_factor_ex(square(x))
    return packed, rows


def square(x: Tensor) -> Tensor:
    """A 3 × 3 matrix of which the factors need exchanges, far from singular."""
    return x[:, :3] + 4.0 * torch.eye(3, dtype=x.dtype)[[1, 2, 0]]


def pair(x: Tensor, y: Tensor) -> Tensor:
    """Two of them."""
    return torch.stack([square(x), square(y)])


def unsigned(*results: Tensor) -> list[Tensor]:
    """Values and vectors, of which LAPACK chooses the signs."""
    return [result.abs() for result in results]


NETWORKS: dict[str, list[Case]] = {
    "aten.native_layer_norm": [lambda x, y: aten.native_layer_norm(x, [4], y[0], y[1], 1e-5), lambda x, y: aten.native_layer_norm(x, [3, 4], None, None, 1e-5)],
    "aten.native_layer_norm_backward": [
        lambda x, y: aten.native_layer_norm_backward(y, x, [4], *aten.native_layer_norm(x, [4], None, None, 1e-5)[1:], y[0], y[1], ALL)],
    "aten.native_group_norm": [lambda x, y: aten.native_group_norm(image(x), y[0, :2], y[1, :2], 2, 2, 12, 1, 1e-5),
                               lambda x, y: aten.native_group_norm(x, None, None, 3, 4, 1, 2, 1e-5)],
    "aten.native_group_norm_backward": [
        lambda x, y: aten.native_group_norm_backward(image(y), image(x), *aten.native_group_norm(image(x), None, None, 2, 2, 12, 2, 1e-5)[1:], y[0, :2], 2, 2, 12, 2, ALL)],
    "aten.native_batch_norm": [lambda x, y: aten.native_batch_norm(x, y[0], y[1], WEIGHTS[0], WEIGHTS[1], False, 0.1, 1e-5)[0],
                               lambda x, y: aten.native_batch_norm(image(x), y[0, :2], y[1, :2], None, None, True, 0.1, 1e-5)],
    "aten.native_batch_norm_backward": [
        lambda x, y: aten.native_batch_norm_backward(y, x, y[0], WEIGHTS[0], WEIGHTS[1], None, None, False, 1e-5, ALL),
        lambda x, y: aten.native_batch_norm_backward(image(y), image(x), y[0, :2], None, None, *aten.native_batch_norm(image(x), None, None, None, None, True, 0.1, 1e-5)[1:], True, 1e-5, ALL)],
    "aten._weight_norm_interface": [lambda x, y: aten._weight_norm_interface(x, y[:, :1].contiguous(), 0), lambda x, y: aten._weight_norm_interface(x, y[:1], 1)],
    "aten._weight_norm_interface_backward": [
        lambda x, y: aten._weight_norm_interface_backward(y, x, y[:1], aten._weight_norm_interface(x, y[:1], 1)[1], 1)],
    "aten.convolution": [
        *[lambda x, y, rest=rest: conv(image(x), filters(y, rest), y[0, : (2 if rest[3] or rest[-1] == 2 else 3)] if rest[-1] == 1 else None, *rest)
          for rest in SHAPES.values()],
        lambda x, y: conv(x.reshape(2, 2, 3), y[:2].reshape(2, 2, 2), y[2, :2], [1], [1], [1], False, [0], 1),
        lambda x, y: conv(x.reshape(1, 1, 2, 2, 3), y[0].reshape(1, 1, 1, 2, 2), None, [1, 1, 1], [0, 1, 0], [1, 1, 1], False, [0, 0, 0], 1)],
    "aten.convolution_backward": [
        grads(lambda x, y, rest=rest: conv(image(x), filters(y, rest), None, *rest), rest) for rest in SHAPES.values()],
    "aten.max_pool2d_with_indices": [lambda x, y: aten.max_pool2d_with_indices(image(x), [2, 2]), lambda x, y: aten.max_pool2d_with_indices(image(x), [2], [1], [1], [1], False),
                                     lambda x, y: aten.max_pool2d_with_indices(x[None], [2, 2], [2, 2], [0, 1], [1, 2], True)],
    "aten.max_pool2d_with_indices_backward": [
        lambda x, y: aten.max_pool2d_with_indices_backward(
            image(y)[:, :, :2, :3], image(x), [2, 2], [1, 1], [0, 0], [1, 1], False, aten.max_pool2d_with_indices(image(x), [2, 2], [1, 1])[1])],
    "aten.avg_pool2d": [lambda x, y: aten.avg_pool2d(image(x), [2, 2]), lambda x, y: aten.avg_pool2d(image(x), [2, 3], [1, 2], [1, 1], True, False),
                        lambda x, y: aten.avg_pool2d(x[None], [2, 2], [1, 1], [1, 1], False, True, 3)],
    "aten.avg_pool2d_backward": [
        lambda x, y: aten.avg_pool2d_backward(image(y)[:, :, :1, :2], image(x), [2, 2], [2, 2], [0, 0], False, True, None),
        lambda x, y: aten.avg_pool2d_backward(aten.avg_pool2d(image(y), [2, 3], [1, 2], [1, 1], True, False), image(x), [2, 3], [1, 2], [1, 1], True, False, None)],
    "aten._adaptive_avg_pool2d": [lambda x, y: aten._adaptive_avg_pool2d(image(x), [2, 3]), lambda x, y: aten._adaptive_avg_pool2d(x[None], [3, 2])],
    "aten._adaptive_avg_pool2d_backward": [lambda x, y: aten._adaptive_avg_pool2d_backward(image(y)[:, :, :2, :3], image(x))],
    "aten._safe_softmax": [lambda x, y: aten._safe_softmax(x.masked_fill(MASK, float("-inf")), 1), lambda x, y: aten._safe_softmax(torch.full_like(x, float("-inf")) + x * 0, -1)],
    "aten._scaled_dot_product_flash_attention_for_cpu": [
        lambda x, y: aten._scaled_dot_product_flash_attention_for_cpu(x[None, None], y[None, None], x[None, None] * 2),
        lambda x, y: aten._scaled_dot_product_flash_attention_for_cpu(image(x), image(y), image(x + y), is_causal=True, scale=0.3),
        lambda x, y: aten._scaled_dot_product_flash_attention_for_cpu(x[None, None], y[None, None], x[None, None], attn_mask=WEIGHTS[:, :3])],
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": [
        lambda x, y: aten._scaled_dot_product_flash_attention_for_cpu_backward(
            image(x * y), image(x), image(y), image(x + y), *aten._scaled_dot_product_flash_attention_for_cpu(image(x), image(y), image(x + y), is_causal=True), 0.0, True),
        lambda x, y: aten._scaled_dot_product_flash_attention_for_cpu_backward(
            y[None, None], x[None, None], y[None, None], x[None, None],
            *aten._scaled_dot_product_flash_attention_for_cpu(x[None, None], y[None, None], x[None, None], attn_mask=WEIGHTS[:, :3], scale=0.2), 0.0, False,
            attn_mask=WEIGHTS[:, :3], scale=0.2)],
    "aten.glu": [lambda x, y: aten.glu(x, 1)],
    "aten.glu_backward": [lambda x, y: aten.glu_backward(y[:, :2], x, 1)],
    "aten.mish": [lambda x, y: aten.mish(x)],
    "aten.mish_backward": [lambda x, y: aten.mish_backward(y, x)],
    "aten.celu": [lambda x, y: aten.celu(x, 1.5)],
}  # fmt: skip

PIECEWISE: dict[str, list[Case]] = {
    "aten.leaky_relu": [lambda x, y: aten.leaky_relu(x, 0.1)],
    "aten.leaky_relu_backward": [lambda x, y: aten.leaky_relu_backward(y, x, 0.1, False)],
    "aten.hardtanh": [lambda x, y: aten.hardtanh(x), lambda x, y: aten.hardtanh(x, 0.0, 6.0)],
    "aten.hardtanh_backward": [lambda x, y: aten.hardtanh_backward(y, x, -1.0, 1.0)],
    "aten.hardsigmoid": [lambda x, y: aten.hardsigmoid(x)],
    "aten.hardsigmoid_backward": [lambda x, y: aten.hardsigmoid_backward(y, x)],
    "aten.hardswish": [lambda x, y: aten.hardswish(x)],
    "aten.hardswish_backward": [lambda x, y: aten.hardswish_backward(y, x)],
    "aten.softshrink": [lambda x, y: aten.softshrink(x, 0.5)],
    "aten.softshrink_backward": [lambda x, y: aten.softshrink_backward(y, x, 0.5)],
    "aten.hardshrink": [lambda x, y: aten.hardshrink(x, 0.5)],
    "aten.hardshrink_backward": [lambda x, y: aten.hardshrink_backward(y, x, 0.5)],
    "aten._prelu_kernel": [lambda x, y: aten._prelu_kernel(x, y)],
    "aten._prelu_kernel_backward": [lambda x, y: aten._prelu_kernel_backward(x + y, x, y)],
    "aten.logit_backward": [lambda x, y: aten.logit_backward(y, x), lambda x, y: aten.logit_backward(y, x, 0.1)],
}  # fmt: skip

LOSSES: dict[str, list[Case]] = {
    **{f"aten.{name}": [lambda x, y, name=name, r=r: getattr(aten, name)(x, y, r) for r in (0, 1, 2)] for name in ("mse_loss", "smooth_l1_loss", "huber_loss")},
    "aten.soft_margin_loss": [lambda x, y: aten.soft_margin_loss(x, TARGET * 2 - 1)],
    "aten.mse_loss_backward": [lambda x, y: aten.mse_loss_backward(x[0, 0], x, y, 1), lambda x, y: aten.mse_loss_backward(x, x, y, 0)],
    "aten.smooth_l1_loss_backward": [lambda x, y: aten.smooth_l1_loss_backward(x[0, 0], x, y, 1, 0.7), lambda x, y: aten.smooth_l1_loss_backward(y, x, y, 0, 1.0)],
    "aten.huber_loss_backward": [lambda x, y: aten.huber_loss_backward(x[0, 0], x, y, 2, 0.7), lambda x, y: aten.huber_loss_backward(y, x, y, 0, 1.0)],
    "aten.soft_margin_loss_backward": [lambda x, y: aten.soft_margin_loss_backward(x[0, 0], x, TARGET * 2 - 1, 1)],
    "aten.binary_cross_entropy": [lambda x, y, r=r: aten.binary_cross_entropy(x.nan_to_num(0.5, 1.0, 0.0).clamp(0, 1), TARGET, WEIGHTS, r) for r in (0, 1, 2)],
    "aten.binary_cross_entropy_backward": [lambda x, y: aten.binary_cross_entropy_backward(y[0, 0], x.nan_to_num(0.5, 1.0, 0.0).clamp(0, 1), TARGET, WEIGHTS, 1)],
    "aten.nll_loss_forward": [lambda x, y, r=r: aten.nll_loss_forward(x, CLASSES, None, r, -100) for r in (0, 1, 2)]
        + [lambda x, y, r=r: aten.nll_loss_forward(x, SOME, WEIGHTS[0], r, -100) for r in (0, 1, 2)] + [lambda x, y: aten.nll_loss_forward(x[0], CLASSES[1], WEIGHTS[0], 1, -100)],
    "aten.nll_loss_backward": [lambda x, y: aten.nll_loss_backward(y[:, 0], x, CLASSES, None, 0, -100, y[0, 0]),
                               lambda x, y: aten.nll_loss_backward(y[0, 0], x, SOME, WEIGHTS[0], 1, -100, y[0, 1].detach()),
                               lambda x, y: aten.nll_loss_backward(y[0, 0], x[0], CLASSES[1], None, 1, -100, y[0, 1])],
    "aten.nll_loss2d_forward": [lambda x, y: aten.nll_loss2d_forward(image(x), PIXELS, WEIGHTS[0, :2], 1, -100)],
    "aten.nll_loss2d_backward": [lambda x, y: aten.nll_loss2d_backward(y[0, 0], image(x), PIXELS, WEIGHTS[0, :2], 1, -100, y[0, 1]),
                                 lambda x, y: aten.nll_loss2d_backward(image(y)[:, 0], image(x), PIXELS, None, 0, -100, y[0, 1])],
}  # fmt: skip

SYSTEMS: dict[str, list[Case]] = {
    "aten._linalg_det": [lambda x, y: aten._linalg_det(square(x)), lambda x, y: aten._linalg_det(pair(x, y)), lambda x, y: aten._linalg_det(square(x).mT)],
    "aten._linalg_slogdet": [lambda x, y: aten._linalg_slogdet(square(x)), lambda x, y: aten._linalg_slogdet(-pair(x, y))],
    "aten._linalg_solve_ex": [lambda x, y: aten._linalg_solve_ex(square(x), y), lambda x, y: aten._linalg_solve_ex(square(x), y[:, 0]),
                              lambda x, y: aten._linalg_solve_ex(pair(x, y), y), lambda x, y: aten._linalg_solve_ex(square(x).mT, y.mT, left=False),
                              lambda x, y: aten._linalg_solve_ex(pair(x, y), torch.stack([x[:, 0], y[:, 0]]))],
    "aten._linalg_eigh": [lambda x, y, u=u: unsigned(*torch.linalg.eigh(x @ x.T + y[:, :3], u)) for u in ("L", "U")]
        + [lambda x, y: unsigned(*torch.linalg.eigh(torch.stack([x @ x.T, y @ y.T])[:, None])), lambda x, y: torch.linalg.eigvalsh(x @ y.T)],
    "aten._linalg_svd": [lambda x, y, full=full, t=t: unsigned(*torch.linalg.svd(x.T if t else x, full_matrices=full)) for full in (False, True) for t in (False, True)]
        + [lambda x, y: unsigned(*torch.linalg.svd(torch.stack([x, y])[None], full_matrices=False)), lambda x, y: torch.linalg.svdvals(x + y)],
    "aten.linalg_inv_ex": [lambda x, y: aten.linalg_inv_ex(square(x)), lambda x, y: aten.linalg_inv_ex(pair(x, y))],
    "aten.linalg_lu_factor_ex": [lambda x, y: aten.linalg_lu_factor_ex(square(x))],
    "aten.linalg_lu_solve": [lambda x, y, left=left, adjoint=adjoint: aten.linalg_lu_solve(*lu_of(x), y if left else y.mT, left=left, adjoint=adjoint)
                             for left in (True, False) for adjoint in (True, False)]
        + [lambda x, y: aten.linalg_lu_solve(*lu_of(x), pair(y, x)), lambda x, y: aten.linalg_lu_solve(*aten.linalg_lu_factor_ex(pair(x, y))[:2], pair(y, x), adjoint=True)],
}  # fmt: skip

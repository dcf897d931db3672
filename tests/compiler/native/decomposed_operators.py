"""Programs for operators that have no lowering and are recorded as others: see `test_decompositions.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: A program of x and y, each 3 × 4 float64.
Case = Callable[[Tensor, Tensor], Tensor]

MASK = torch.tensor([[True, False, True, False], [False, False, True, True], [True, True, False, False]])
BAGS, STARTS = torch.tensor([0, 2, 2, 1, 0]), torch.tensor([0, 3, 3])
POINTS = torch.tensor([[0.3, -0.2], [-0.7, 0.9], [0.1, 0.4]], dtype=torch.float64).reshape(1, 3, 1, 2)


def picture(x: Tensor) -> Tensor:
    """One picture of 3 × 4."""
    return x.reshape(1, 1, 3, 4)


def bag(x: Tensor, y: Tensor, **options: object) -> Tensor:
    """Bags of rows of x, the second one empty."""
    return F.embedding_bag(BAGS, x, STARTS, **options)


def padded(x: Tensor, y: Tensor, mode: str) -> Tensor:
    """x with a border."""
    return F.pad(picture(x), (2, 1, 1, 2), mode=mode)


#: By the operators, which torch runs forwards or backwards.
ROWS: dict[str, list[Case]] = {
    "aten.unfold_backward": [lambda x, y: x.reshape(-1).unfold(0, 5, 2) * y[0, 0], lambda x, y: x.unfold(1, 2, 1) * x.unfold(1, 2, 1)],
    "aten.masked_scatter": [lambda x, y: x.masked_scatter(MASK, y * y), lambda x, y: x.masked_scatter(x > 0, y), lambda x, y: x.masked_scatter(MASK[0], y)],
    "aten.masked_scatter_": [lambda x, y: (x * 2).masked_scatter_(y < 0.1, y.T)],
    "aten.masked_scatter_backward": [lambda x, y: x.masked_scatter(y > 0, x * y)],
    "aten.index_copy": [lambda x, y: x.index_copy(1, torch.tensor([3, 0]), y[:, :2])],
    "aten.index_copy_": [lambda x, y: (x * 2).index_copy_(0, torch.tensor([2, 0]), y[:2])],
    "aten.index_fill": [lambda x, y: x.index_fill(1, torch.tensor([-1, 0]), 2.5), lambda x, y: x.index_fill(0, torch.tensor([1]), y[0, 0])],
    "aten.index_reduce": [lambda x, y: x * x.detach().index_reduce(0, torch.tensor([2, 0, 2]), y.detach(), "mean", include_self=False)],
    "aten.put": [lambda x, y: x.put(torch.tensor([1, -1]), y[0, :2]), lambda x, y: x.put(torch.tensor([[1, 1]]), y[:1, :2], accumulate=True)],
    "aten.take": [lambda x, y: x.T.take(torch.tensor([[1, -1], [0, 1]])) * y[:2, :2]],
    "aten._embedding_bag": [*(partial(bag, mode=mode) for mode in ("sum", "mean", "max")),
                            *(partial(bag, mode=mode, padding_idx=2) for mode in ("sum", "mean", "max")),
                            lambda x, y: F.embedding_bag(BAGS[:3], x, STARTS, mode="mean", include_last_offset=True)],
    "aten._embedding_bag_backward": [lambda x, y: F.embedding_bag(BAGS[:4], x, STARTS, mode="sum", per_sample_weights=y[0])],
    "aten._embedding_bag_per_sample_weights_backward": [
        lambda x, y: F.embedding_bag(BAGS[:4], x, STARTS, mode="sum", per_sample_weights=y[0], padding_idx=0)],
    "aten._cdist_forward": [*(lambda x, y, p=p: torch.cdist(x, y[:2], p) for p in (0.5, 1.0, 1.5, 2.0, 3.0, float("inf"))),
                            lambda x, y: torch.cdist(x[None], torch.stack([y, x]), 2.0)],
    "aten._cdist_backward": [lambda x, y: torch.cdist(x, x, 2.0, compute_mode="donot_use_mm_for_euclid_dist")],
    "aten._pdist_forward": [lambda x, y: F.pdist(x), lambda x, y: F.pdist(x * y, 1.0)],
    "aten._pdist_backward": [lambda x, y: F.pdist(x, 3.0)],
    "aten._trilinear": [lambda x, y: F.bilinear(x, y, torch.linspace(-1, 1, 32, dtype=x.dtype).reshape(2, 4, 4) * x[0, 0])],
    "aten.reflection_pad2d_backward": [partial(padded, mode="reflect")],
    "aten.reflection_pad1d_backward": [lambda x, y: F.pad(x[None], (3, 2), mode="reflect") * y[0, 0]],
    "aten.replication_pad2d_backward": [partial(padded, mode="replicate")],
    "aten.replication_pad3d_backward": [lambda x, y: F.pad(x.reshape(1, 1, 3, 2, 2), (1, 2, 0, 1, 2, 0), mode="replicate")],
    "aten.max_pool3d_with_indices_backward": [lambda x, y: F.max_pool3d(x.reshape(1, 1, 3, 2, 2), (2, 2, 1), stride=1)],
    "aten.adaptive_max_pool2d_backward": [lambda x, y: F.adaptive_max_pool1d(x[None], 2)],
    "aten.upsample_bilinear2d": [lambda x, y: F.interpolate(picture(x), scale_factor=2, mode="bilinear")],
    "aten.upsample_linear1d": [lambda x, y: F.interpolate(x[None], scale_factor=2, mode="linear")],
    "aten.grid_sampler_2d": [lambda x, y: F.grid_sample(picture(x), POINTS, align_corners=False).detach() * x[0, 0]],
    "aten.im2col": [lambda x, y: F.unfold(picture(x), 2) * y[0, 0]],
    "aten.col2im": [lambda x, y: F.fold(x.reshape(1, 4, 3)[:, :, :2], (2, 3), 2)],
    "aten.max_unpool2d": [lambda x, y: F.max_unpool2d(picture(x)[:, :, :1, :2], torch.tensor([[[[0, 3]]]]), 2)],
    "aten.renorm": [lambda x, y: x.renorm(2, 0, 0.5)],
    "aten.linalg_cross": [lambda x, y: torch.linalg.cross(x[:, :3], y[:, :3])],
}  # fmt: skip

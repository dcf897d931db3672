"""`Interpolated`: a density by its values at given points, such as one from an earlier study."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.family import Family, uniform
from sursum.distributions.tails import Tails


class Interpolated(Family):
    r"""The density that is linear between given points, made to integrate to one:

    .. math:: p(x) \propto h_k + (h_{k + 1} - h_k) \frac{x - x_k}{x_{k + 1} - x_k}, \quad x_k \le x \le x_{k + 1}

    Args:
        x_points: the points, rising, shape (…, n) with n ≥ 2.
        pdf_points: the heights h ≥ 0 there, shape (…, n); those inside must be positive, so that the support has no gap.

    Raises:
        ValueError: points that do not rise, or heights inside, or all, that are 0.

    Example:
        >>> Interpolated(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 3.0, 0.0])).log_prob(torch.tensor(0.5)).exp()
        tensor(0.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "x_points": constraints.real_vector,
        "pdf_points": constraints.independent(constraints.nonnegative, 1),
    }
    has_rsample = True
    x_points: Tensor
    pdf_points: Tensor

    def __init__(self, x_points: Tensor, pdf_points: Tensor, validate_args: bool | None = None) -> None:
        x_points, pdf_points = torch.as_tensor(x_points), torch.as_tensor(pdf_points)
        if not x_points.dim() or x_points.shape[-1:] != pdf_points.shape[-1:] or x_points.shape[-1] < 2:
            raise ValueError(
                "Interpolated takes as many heights as points, at least two, but got shapes "
                f"{tuple(x_points.shape)} and {tuple(pdf_points.shape)}"
            )
        self._keep((), validate_args, x_points=x_points, pdf_points=pdf_points)
        if self._validate_args and not is_all_true(self.x_points[..., 1:] > self.x_points[..., :-1]):
            raise ValueError("Interpolated is defined for points that rise only")
        if self._validate_args and not is_all_true(self.pdf_points[..., 1:-1] > 0):
            raise ValueError("Interpolated is defined for positive heights only, but for the first and the last")
        if self._validate_args and not is_all_true((self.pdf_points > 0).any(-1)):
            raise ValueError("Interpolated is defined for heights of which one is positive")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.x_points[..., 0], self.x_points[..., -1])

    @property
    def _masses(self) -> Tensor:
        """Of the intervals between the points, before they are made to add up to one."""
        return torch.diff(self.x_points) * (self.pdf_points[..., 1:] + self.pdf_points[..., :-1]) / 2

    @property
    def _total(self) -> Tensor:
        return self._masses.sum(-1)

    @property
    def mean(self) -> Tensor:
        x, h = self.x_points, self.pdf_points
        low, high, left, right = x[..., :-1], x[..., 1:], h[..., :-1], h[..., 1:]
        moment = (high - low) * (left * (2 * low + high) + right * (low + 2 * high)) / 6
        return moment.sum(-1) / self._total

    @property
    def variance(self) -> Tensor:
        x, h = self.x_points - self.mean.unsqueeze(-1), self.pdf_points
        low, high, left, right = x[..., :-1], x[..., 1:], h[..., :-1], h[..., 1:]
        common = low.square() + high.square() + 2 * low * high
        moment = (high - low) * (left * (common + 2 * low.square()) + right * (common + 2 * high.square()))
        return moment.sum(-1) / (12 * self._total)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.x_points, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        ends = self._masses.cumsum(-1)
        wanted = value * self._total
        k = (wanted.unsqueeze(-1) > ends[..., :-1]).sum(-1)
        before = torch.where(k == 0, 0.0, _take(ends, torch.clamp(k - 1, min=0)))
        low, width, left, rise = self._interval(k)
        rest, slope = wanted - before, rise / width
        # The root of left·d + slope·d²/2 = rest, without a difference.
        root = torch.sqrt(torch.clamp(left.square() + 2 * slope * rest, min=0.0))
        away = 2 * rest / torch.clamp(left + root, min=torch.finfo(value.dtype).tiny)
        return low + torch.minimum(away, width)

    def _interval(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the interval k: its start and width, the height there, and by how much that rises."""
        x, h = self.x_points, self.pdf_points
        return _take(x, k), _take(torch.diff(x), k), _take(h, k), _take(torch.diff(h), k)

    def _place(self, value: Tensor) -> Tensor:
        """In which interval a value lies."""
        return (value.unsqueeze(-1) >= self.x_points[..., 1:-1]).sum(-1)

    def _log_density(self, value: Tensor) -> Tensor:
        k = self._place(value)
        low, width, left, _ = self._interval(k)
        right = _take(self.pdf_points, k + 1)
        share = (value - low) / width
        height = (1 - share) * left + share * right  # left plus a rise has no digits of a height that is next to 0
        within = (value >= self.x_points[..., 0]) & (value <= self.x_points[..., -1])
        return torch.where(within, torch.log(torch.clamp(height, min=0.0)) - torch.log(self._total), -torch.inf)

    def _log_tails(self, value: Tensor) -> Tails:
        k = self._place(value)
        masses = self._masses
        ends, total = masses.cumsum(-1), self._total
        low, width, left, rise = self._interval(k)
        away = value - low
        part = left * away + rise / width * away.square() / 2
        before = torch.where(k == 0, 0.0, _take(ends, torch.clamp(k - 1, min=0)))
        after = _take(masses.flip(-1).cumsum(-1).flip(-1), k)
        return torch.log((before + part) / total), torch.log((after - part) / total)


def _take(numbers: Tensor, k: Tensor) -> Tensor:
    """The k-th of `numbers`, whose batch dimensions and k's broadcast."""
    shape = torch.broadcast_shapes(numbers.shape[:-1], k.shape)
    whole = numbers.expand(*shape, numbers.shape[-1])
    return torch.gather(whole, -1, k.expand(shape).unsqueeze(-1)).squeeze(-1)

"""Random matrices: torch's densities, with correct samplers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from sursum.distributions.fluent import Fluent
from sursum.distributions.log_gamma import log_rising
from sursum.distributions.rebuild import without_checks
from sursum.distributions.standard import Dirichlet


class LKJCholesky(Fluent, td.LKJCholesky):
    r"""Cholesky factors L of correlation matrices of dimension d, :math:`p(L L^T) \propto \det(L L^T)^{\eta - 1}`.

    Arguments, density and errors are those of `torch.distributions.LKJCholesky`, and draws follow that density; torch's
    draws do not from dimension 3 on. Row i (from 0) is a point in a ball, a direction in i dimensions and a radius,

    .. math:: r_i^2 \sim \mathrm{Beta}\left(\tfrac{i}{2},\; \eta + \tfrac{d - 1 - i}{2}\right), \qquad L_{ii}^2 = 1 - r_i^2,

    so that every correlation is :math:`2\,\mathrm{Beta}(a, a) - 1` with :math:`a = \eta + d/2 - 1`.

    References:
        Lewandowski, Kurowicka, Joe (2009), Generating random correlation matrices based on vines and extended onion method,
        section 3.2.

    Example:
        >>> import torch, sursum.distributions as dist
        >>> L = dist.LKJCholesky(3, 2.0).sample()
        >>> bool(torch.allclose((L @ L.T).diagonal(), torch.ones(3)))
        True
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        eta, d = self.concentration, self.dim
        row = torch.arange(2, d + 1, dtype=value.dtype, device=value.device)
        powers = 2 * (eta - 1).unsqueeze(-1) + d - row
        return (powers * value.diagonal(dim1=-2, dim2=-1)[..., 1:].log()).sum(-1) - log_volume(eta, d)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(torch.Size(sample_shape))
        concentration: Tensor = self.concentration
        row = torch.arange(self.dim, dtype=concentration.dtype, device=concentration.device)
        radius = row.clamp(min=1.0) / 2  # the first row has none
        rest = concentration.unsqueeze(-1) + (self.dim - 1 - row) / 2
        # Draw both shares of the row's length 1: 1 minus the other one would round a diagonal element to 0.
        share = Dirichlet(torch.stack([radius.expand_as(rest), rest], -1), validate_args=False).sample(torch.Size(sample_shape))
        off, diagonal = share.where(row.unsqueeze(-1) > 0, share.new_tensor([0.0, 1.0])).sqrt().unbind(-1)
        normal = torch.randn(shape, dtype=concentration.dtype, device=concentration.device).tril(-1)
        direction = normal / normal.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(normal.dtype).tiny)
        factors: Tensor = direction * off.unsqueeze(-1) + torch.diag_embed(diagonal)
        return factors


def log_volume(concentration: Tensor, dim: int) -> Tensor:
    r""":math:`\log \int \det(R)^{\eta - 1} dR` over the correlation matrices R of a dimension."""
    norm = torch.zeros_like(concentration)
    for k in range(1, dim):  # each further row: its direction in a ball of dimension k
        rest = concentration + (dim - 1 - k) / 2
        norm = norm + k / 2 * math.log(math.pi) - log_rising(rest, torch.full_like(rest, k / 2))
    return norm


class Wishart(Fluent, td.Wishart):
    """`torch.distributions.Wishart`, drawn once; torch mistakes good draws for singular ones, warns, and redraws them."""

    def rsample(self, sample_shape: Any = torch.Size(), max_try_correction: int | None = None) -> Tensor:  # noqa: B008
        drawn: Tensor = self._bartlett_sampling(torch.Size(sample_shape))
        return drawn


_OURS: Mapping[type, type] = MappingProxyType({td.LKJCholesky: LKJCholesky, td.Wishart: Wishart})


def drawable(fn: td.Distribution) -> td.Distribution:
    """`fn` with a correct sampler: torch's own distributions of matrices, also inside others, are replaced by ours."""
    if not _has(fn):
        return fn
    new = without_checks(fn)
    _mend(new)
    return new


def _has(part: td.Distribution) -> bool:
    return type(part) in _OURS or any(_has(value) for value in vars(part).values() if isinstance(value, td.Distribution))


def _mend(part: Any) -> None:
    if type(part) in _OURS:
        part.__class__ = _OURS[type(part)]
    elif isinstance(part, td.Distribution):
        for value in vars(part).values():
            _mend(value)

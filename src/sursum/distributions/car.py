"""`CAR`, `ICAR`: normal effects of areas, each around the mean of its neighbours."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.constraints import zero_sum
from sursum.distributions.family import Family, normal


class CAR(Family):
    r"""The conditional autoregressive model of n areas, with neighbours W and :math:`D = \operatorname{diag}(W 1)`:

    .. math:: x \sim N\left(\mu, (\tau (D - \alpha W))^{-1}\right), \qquad
        x_i \mid x_{-i} \sim N\left(\mu_i + \alpha \sum_j \tfrac{w_{ij}}{d_i} (x_j - \mu_j), \tfrac{1}{\tau d_i}\right)

    Args:
        loc: μ, a number or of shape (…, n).
        correlation: α, from 0 (independent) to 1, where it becomes `ICAR`.
        conditional_precision: τ > 0.
        adj_matrix: W, symmetric, of non-negative numbers, shape (n, n); each area has a neighbour.

    References:
        Cressie (1993), Statistics for Spatial Data, section 6.6. Jin, Carlin, Banerjee (2005), Generalized hierarchical
        multivariate CAR models for areal data, for the determinant.

    Example:
        >>> W = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> CAR(0.0, 0.5, 1.0, W).log_prob(torch.ones(2))
        tensor(-2.4817)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real_vector,
        "correlation": constraints.unit_interval,
        "conditional_precision": constraints.positive,
        "adj_matrix": constraints.independent(constraints.nonnegative, 2),
    }
    support = constraints.real_vector
    has_rsample = True
    loc: Tensor
    correlation: Tensor
    conditional_precision: Tensor
    adj_matrix: Tensor

    def __init__(
        self,
        loc: Tensor | float,
        correlation: Tensor | float,
        conditional_precision: Tensor | float,
        adj_matrix: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        adj_matrix = torch.as_tensor(adj_matrix)
        n = adj_matrix.shape[-1]
        if self._validate(validate_args) and not is_all_true(adj_matrix == adj_matrix.mT):
            raise ValueError("the adj_matrix of a CAR must be symmetric")
        loc = torch.as_tensor(loc)
        self._keep(
            (n,),
            validate_args,
            loc=loc if loc.dim() and loc.shape[-1] == n else loc.unsqueeze(-1).expand((*loc.shape, n)),
            correlation=correlation,
            conditional_precision=conditional_precision,
            adj_matrix=adj_matrix,
        )

    @staticmethod
    def _validate(validate_args: bool | None) -> bool:
        return bool(Distribution._validate_args if validate_args is None else validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def precision_matrix(self) -> Tensor:
        """τ(D − αW)"""
        inner = torch.diag_embed(self.adj_matrix.sum(-1)) - self.correlation[..., None, None] * self.adj_matrix
        return self.conditional_precision[..., None, None] * inner

    @property
    def variance(self) -> Tensor:
        return torch.cholesky_inverse(torch.linalg.cholesky(self.precision_matrix)).diagonal(dim1=-2, dim2=-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = normal(self.loc, self._extended_shape(torch.Size(sample_shape)))
        factor = torch.linalg.cholesky(self.precision_matrix)
        away: Tensor = torch.linalg.solve_triangular(factor.mT, drawn.unsqueeze(-1), upper=True).squeeze(-1)
        return self.loc + away

    def _log_density(self, value: Tensor) -> Tensor:
        away = value - self.loc
        counts = self.adj_matrix.sum(-1)
        near = (self.adj_matrix @ away.unsqueeze(-1)).squeeze(-1)
        size = (counts * away.square()).sum(-1) - self.correlation * (away * near).sum(-1)
        root = counts.rsqrt()
        # |D − αW| = |D| Π (1 − α λ), for the eigenvalues of W scaled by D, which do not depend on α.
        values = torch.linalg.eigvalsh(self.adj_matrix * root.unsqueeze(-1) * root.unsqueeze(-2))
        log_det = torch.log1p(-self.correlation.unsqueeze(-1) * values).sum(-1) + counts.log().sum(-1)
        n = self.event_shape[0]
        tau = self.conditional_precision
        return (n * (torch.log(tau) - math.log(2 * math.pi)) + log_det - tau * size) / 2


class ICAR(Family):
    r"""The intrinsic autoregressive model of n areas whose effects add up to zero:

    .. math:: p(x) \propto \exp\left(-\frac{1}{2 \sigma^2} \sum_{i < j} w_{ij} (x_i - x_j)^2\right), \qquad \sum_i x_i = 0

    It is proper on these vectors if all areas are connected. An intercept belongs outside of it.

    Args:
        adj_matrix: W, symmetric, of non-negative numbers, shape (n, n), of one connected map.
        scale: σ > 0.

    References:
        Besag, Kooperberg (1995), On conditional and intrinsic autoregressions. Morris et al. (2019), Bayesian hierarchical
        spatial models: implementing the Besag York Mollié model in Stan.

    Example:
        >>> W = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> ICAR(W).log_prob(torch.tensor([0.5, -0.5]))
        tensor(-1.0724)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "adj_matrix": constraints.independent(constraints.nonnegative, 2),
        "scale": constraints.positive,
    }
    has_rsample = True
    adj_matrix: Tensor
    scale: Tensor

    def __init__(self, adj_matrix: Tensor, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        adj_matrix = torch.as_tensor(adj_matrix)
        self._keep((adj_matrix.shape[-1],), validate_args, adj_matrix=adj_matrix, scale=scale)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return zero_sum

    @property
    def _laplacian(self) -> Tensor:
        return torch.diag_embed(self.adj_matrix.sum(-1)) - self.adj_matrix

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.adj_matrix[..., 0])

    @property
    def variance(self) -> Tensor:
        inverse: Tensor = torch.linalg.pinv(self._laplacian, hermitian=True)
        return self.scale.square().unsqueeze(-1) * inverse.diagonal(dim1=-2, dim2=-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = normal(self.scale, self._extended_shape(torch.Size(sample_shape)))
        values, vectors = torch.linalg.eigh(self._laplacian)
        root = torch.cat([torch.zeros_like(values[..., :1]), values[..., 1:].rsqrt()], -1)
        along: Tensor = (vectors @ (root * drawn).unsqueeze(-1)).squeeze(-1)
        return self.scale.unsqueeze(-1) * (along - along.mean(-1, keepdim=True))

    def _log_density(self, value: Tensor) -> Tensor:
        n = self.event_shape[0]
        apart = (value.unsqueeze(-1) - value.unsqueeze(-2)).square()
        size = (self.adj_matrix * apart).sum((-2, -1)) / 2
        # The determinant on the vectors of zero sum: with 1/n in every element the eigenvalue 0 becomes 1.
        log_det = torch.logdet(self._laplacian + 1.0 / n)
        return log_det / 2 - size / (2 * self.scale.square()) - (n - 1) * (torch.log(self.scale) + 0.5 * math.log(2 * math.pi))

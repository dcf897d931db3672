"""`MultivariateStudentT`: a multivariate normal with heavy tails."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import standard_gamma
from sursum.distributions.family import Family, normal
from sursum.distributions.log_gamma import log_rising


class MultivariateStudentT(Family):
    r"""A Student t of vectors of dimension n, with :math:`\Sigma = L L^T`:

    .. math:: p(x) \propto |\Sigma|^{-1/2} \left(1 + \tfrac{1}{\nu} (x - \mu)^T \Sigma^{-1} (x - \mu)\right)^{-(\nu + n)/2}

    Args:
        df: the degrees of freedom ν > 0.
        loc: μ, shape (…, n) or a number.
        scale_tril: L, lower triangular, shape (…, n, n).

    Example:
        >>> MultivariateStudentT(3.0, torch.zeros(2), torch.eye(2)).log_prob(torch.ones(2))
        tensor(-3.1149)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive,
        "loc": constraints.real_vector,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    df: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(
        self,
        df: Tensor | float,
        loc: Tensor | float = 0.0,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if scale_tril is None:
            raise ValueError("MultivariateStudentT needs scale_tril, a lower triangular matrix")
        n = scale_tril.shape[-1]
        loc = torch.as_tensor(loc)
        self._keep((n,), validate_args, df=df, loc=loc.expand((*loc.shape[:-1], n)), scale_tril=scale_tril)

    @property
    def mean(self) -> Tensor:
        return torch.where(self.df.unsqueeze(-1) > 1, self.loc, torch.nan)

    @property
    def variance(self) -> Tensor:
        df = self.df.unsqueeze(-1)
        scale = torch.where(df > 2, df / torch.where(df > 2, df - 2, 1.0), torch.inf)
        return scale * self.scale_tril.square().sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        half = self.df / 2
        gamma = standard_gamma(half.expand(shape[:-1]).contiguous()) / half
        along = (self.scale_tril @ normal(self.loc, shape).unsqueeze(-1)).squeeze(-1)
        return self.loc + along / gamma.sqrt().unsqueeze(-1)

    def _log_density(self, value: Tensor) -> Tensor:
        n, df = self.event_shape[0], self.df
        away = torch.linalg.solve_triangular(self.scale_tril, (value - self.loc).unsqueeze(-1), upper=False).squeeze(-1)
        norm = log_rising(df / 2, torch.full_like(df, n / 2)) - n / 2 * (torch.log(df) + math.log(math.pi))
        log_det = self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return norm - log_det - (df + n) / 2 * torch.log1p(away.square().sum(-1) / df)

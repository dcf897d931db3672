"""`MatrixNormal` and `InverseWishart`: normal matrices, and covariance matrices."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.complement import factor_of
from sursum.distributions.family import Family, normal
from sursum.distributions.matrices import Wishart
from sursum.errors import OptionError


class MatrixNormal(Family):
    r"""Normal matrices of n rows and p columns, with covariances :math:`U = A A^T` of rows and :math:`V = B B^T` of columns:

    .. math:: X = M + A Z B^T, \qquad p(x) \propto
        \exp\left(-\tfrac{1}{2} \operatorname{tr}\left(V^{-1} (x - M)^T U^{-1} (x - M)\right)\right)

    Args:
        loc: M, shape (…, n, p).
        scale_tril_row: A, lower triangular, shape (…, n, n).
        scale_tril_column: B, lower triangular, shape (…, p, p).

    Example:
        >>> MatrixNormal(torch.zeros(2, 3), torch.eye(2), torch.eye(3)).log_prob(torch.zeros(2, 3))
        tensor(-5.5136)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.independent(constraints.real, 2),
        "scale_tril_row": constraints.lower_cholesky,
        "scale_tril_column": constraints.lower_cholesky,
    }
    support = constraints.independent(constraints.real, 2)
    has_rsample = True
    loc: Tensor
    scale_tril_row: Tensor
    scale_tril_column: Tensor

    def __init__(
        self, loc: Tensor, scale_tril_row: Tensor, scale_tril_column: Tensor, validate_args: bool | None = None
    ) -> None:
        shape = scale_tril_row.shape[-1], scale_tril_column.shape[-1]
        loc = torch.as_tensor(loc)
        self._keep(
            shape,
            validate_args,
            loc=loc.expand((*loc.shape[:-2], *shape)),
            scale_tril_row=scale_tril_row,
            scale_tril_column=scale_tril_column,
        )

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        rows, columns = (part.square().sum(-1) for part in (self.scale_tril_row, self.scale_tril_column))
        return rows.unsqueeze(-1) * columns.unsqueeze(-2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = normal(self.loc, self._extended_shape(torch.Size(sample_shape)))
        return self.loc + self.scale_tril_row @ drawn @ self.scale_tril_column.mT

    def _log_density(self, value: Tensor) -> Tensor:
        rows, columns = self.scale_tril_row, self.scale_tril_column
        n, p = self.event_shape
        half = torch.linalg.solve_triangular(rows, value - self.loc, upper=False)
        away: Tensor = torch.linalg.solve_triangular(columns, half.mT, upper=False)
        dets = (part.diagonal(dim1=-2, dim2=-1).log().sum(-1) for part in (rows, columns))
        log_row, log_column = dets
        return -n * p / 2 * math.log(2 * math.pi) - p * log_row - n * log_column - away.square().sum((-2, -1)) / 2


class InverseWishart(Family):
    r"""Covariance matrices of dimension d, whose inverses are Wishart:

    .. math:: p(X) \propto |X|^{-(\nu + d + 1) / 2} \exp\left(-\tfrac{1}{2} \operatorname{tr}(\Psi X^{-1})\right)

    Args:
        df: the degrees of freedom ν > d − 1.
        scale_matrix: Ψ, or
        scale_tril: its Cholesky factor.

    Raises:
        OptionError: both or neither of the last two.

    Example:
        >>> InverseWishart(3.0, scale_matrix=torch.eye(2)).log_prob(torch.eye(2))
        tensor(-3.5310)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"df": constraints.greater_than(0), "scale_tril": constraints.lower_cholesky}
    support = constraints.positive_definite
    df: Tensor
    scale_tril: Tensor

    def __init__(
        self,
        df: Tensor | float,
        scale_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if scale_matrix is not None and scale_tril is None:
            scale_tril = torch.linalg.cholesky(scale_matrix)
        elif scale_tril is None or scale_matrix is not None:
            raise OptionError("`InverseWishart` takes either `scale_matrix` or `scale_tril`, its Cholesky factor.")
        d = scale_tril.shape[-1]
        self._keep((d, d), validate_args, df=df, scale_tril=scale_tril)
        if self._validate_args and not is_all_true(self.df > d - 1):
            raise ValueError(f"the degrees of freedom of an InverseWishart of dimension {d} must be greater than {d - 1}")

    @property
    def _scale(self) -> Tensor:
        return self.scale_tril @ self.scale_tril.mT

    @property
    def mean(self) -> Tensor:
        rest = (self.df - self.event_shape[0] - 1)[..., None, None]
        return torch.where(rest > 0, self._scale / torch.where(rest > 0, rest, 1.0), torch.inf)

    @property
    def variance(self) -> Tensor:
        rest = (self.df - self.event_shape[0])[..., None, None]
        scale = self._scale
        diagonal = scale.diagonal(dim1=-2, dim2=-1)
        upper = (rest + 1) * scale.square() + (rest - 1) * diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        usable = torch.where(rest > 3, rest, 4.0)
        return torch.where(rest > 3, upper / (usable * (usable - 1).square() * (usable - 3)), torch.inf)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        eye = torch.eye(self.event_shape[0], dtype=self.df.dtype, device=self.df.device).expand(self.scale_tril.shape)
        drawn = Wishart(self.df, scale_tril=eye, validate_args=False).sample(torch.Size(sample_shape))
        half: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(drawn), self.scale_tril.mT, upper=False)
        return half.mT @ half

    def _log_density(self, value: Tensor) -> Tensor:
        d, df = self.event_shape[0], self.df
        factor = factor_of(value)
        log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        scale = 2 * self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        half: Tensor = torch.linalg.solve_triangular(factor, self.scale_tril, upper=False)
        norm = df / 2 * (scale - d * math.log(2.0)) - torch.mvlgamma(df / 2, d)
        return norm - (df + d + 1) / 2 * log_det - half.square().sum((-2, -1)) / 2

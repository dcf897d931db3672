"""Regressions as distributions: `NormalGLM`, `BernoulliLogitGLM`, `PoissonLogGLM`, `OrderedLogisticGLM`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.family import Family, promote
from sursum.distributions.ordinal import OrderedLogistic
from sursum.distributions.standard import Bernoulli, Normal, Poisson


class _Regression(Family):
    """A distribution of the linear predictor."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    base_dist: Any

    def _take(self, base: Distribution, validate_args: bool | None) -> None:
        self._keep((), validate_args, base_dist=base)
        self.has_rsample = base.has_rsample
        self.has_enumerate_support = base.has_enumerate_support

    @constraints.dependent_property
    def support(self) -> Any:
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        mean: Tensor = self.base_dist.mean
        return mean

    @property
    def variance(self) -> Tensor:
        variance: Tensor = self.base_dist.variance
        return variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = self.base_dist.sample(torch.Size(sample_shape))
        return drawn

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = self.base_dist.rsample(torch.Size(sample_shape))
        return drawn

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values: Tensor = self.base_dist.enumerate_support(expand)
        return values

    def _log_density(self, value: Tensor) -> Tensor:
        log_prob: Tensor = self.base_dist.log_prob(value)
        return log_prob


def predictor(design: Tensor, intercept: Any, coefficients: Tensor) -> Tensor:
    """Xβ + α, for each row of X; without α where it is None."""
    given = promote({"X": design, "b": coefficients} | ({} if intercept is None else {"a": intercept}))
    slopes: Tensor = given["X"] @ given["b"]
    return slopes + given["a"] if "a" in given else slopes


class NormalGLM(_Regression):
    r"""A linear regression: :math:`y_i \sim N(x_i^T \beta + \alpha, \sigma^2)`.

    Written out, ``Normal(X @ beta + alpha, sigma)`` compiles to the same code.

    Args:
        design: X, shape (n, p).
        intercept: α, a number or one for each row.
        coefficients: β, shape (p,).
        scale: σ > 0.

    Example:
        >>> NormalGLM(torch.eye(2), 0.0, torch.tensor([1.0, 2.0]), 1.0).mean
        tensor([1., 2.])
    """

    def __init__(
        self,
        design: Tensor,
        intercept: Tensor | float,
        coefficients: Tensor,
        scale: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        given = promote({"loc": predictor(design, intercept, coefficients), "scale": scale})
        self._take(Normal(given["loc"], given["scale"], validate_args=validate_args), validate_args)


class BernoulliLogitGLM(_Regression):
    r"""A logistic regression: :math:`P(y_i = 1) = \sigma(x_i^T \beta + \alpha)`; arguments as those of `NormalGLM`.

    Example:
        >>> BernoulliLogitGLM(torch.eye(2), 0.0, torch.tensor([0.0, 2.0])).mean
        tensor([0.5000, 0.8808])
    """

    def __init__(
        self, design: Tensor, intercept: Tensor | float, coefficients: Tensor, validate_args: bool | None = None
    ) -> None:
        self._take(Bernoulli(logits=predictor(design, intercept, coefficients), validate_args=validate_args), validate_args)


class PoissonLogGLM(_Regression):
    r"""A Poisson regression: :math:`\log E y_i = x_i^T \beta + \alpha`; arguments as those of `NormalGLM`.

    Example:
        >>> PoissonLogGLM(torch.eye(2), 0.0, torch.tensor([0.0, 1.0])).mean
        tensor([1.0000, 2.7183])
    """

    def __init__(
        self, design: Tensor, intercept: Tensor | float, coefficients: Tensor, validate_args: bool | None = None
    ) -> None:
        rate = predictor(design, intercept, coefficients).exp()
        self._take(Poisson(rate, validate_args=validate_args), validate_args)


class OrderedLogisticGLM(_Regression):
    r"""An ordered logistic regression: an `OrderedLogistic` of :math:`x_i^T \beta` with the cutpoints c.

    Args:
        design: X, shape (n, p).
        coefficients: β, shape (p,).
        cutpoints: c, increasing, shape (K − 1,).

    Example:
        >>> OrderedLogisticGLM(torch.eye(2), torch.tensor([0.0, 1.0]), torch.tensor([0.0])).mean
        tensor([0.5000, 0.7311])
    """

    def __init__(self, design: Tensor, coefficients: Tensor, cutpoints: Tensor, validate_args: bool | None = None) -> None:
        self._take(OrderedLogistic(predictor(design, None, coefficients), cutpoints, validate_args), validate_args)

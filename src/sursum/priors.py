"""Rule-based priors: callables for `lift`, each of which a user could have written.

As described in `lift`, they are passed the parameter's current value and, by keyword, its name and constraint.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Dirichlet,
    Distribution,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    Normal,
    constraints,
)

from sursum.core.primitives import sample
from sursum.distributions.improper import ImproperUniform
from sursum.errors import PriorShapeError, PriorTypeError


def flat(init: Tensor | None = None, *, constraint: constraints.Constraint = constraints.real) -> ImproperUniform:
    r"""The improper prior that is constant on the parameter's constraint: the posterior is the normalised likelihood.

    Example:
        >>> import sursum as su, torch
        >>> model = lambda: su.param("s", torch.tensor(1.0), constraint=su.distributions.constraints.positive)
        >>> su.poutine.substitute(su.lift(model, su.priors.flat), data={"s": torch.tensor(2.0)})()
        tensor(2.)
    """
    shape = () if init is None else tuple(init.shape)
    return ImproperUniform(constraint, event_shape=shape[len(shape) - constraint.event_dim :])


def registered(init: Tensor | None = None, *, name: str = "", registered: Any = MISSING) -> Distribution | None:
    r"""The prior that a GPyTorch module has registered for a value of its own; a parameter without one stays a parameter.

    It is a prior of the constrained value: ``su.lift(model, su.priors.registered, on="constrained")``.

    Raises:
        PriorTypeError: without ``on="constrained"``.

    Example:
        >>> import sursum as su, torch
        >>> su.priors.registered(torch.ones(2), name="lengthscale", registered=su.distributions.Gamma(3.0, 6.0)).mean
        tensor(0.5000)
    """
    if registered is MISSING:
        raise PriorTypeError(
            f"su.priors.registered: the parameter {name!r} is not a constrained value of a GPyTorch module. Write "
            "lift(…, su.priors.registered, on='constrained'), and name other parameters' priors."
        )
    found: Distribution | None = registered
    return found


@dataclass(frozen=True)
class _Scaled:
    """A rule with a scale."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)) or not 0.0 < self.scale < math.inf:
            raise PriorTypeError(
                f"su.priors.{type(self).__name__}: the scale must be a positive number, but is {self.scale!r}."
            )

    def _positive(self, **settings: float) -> None:
        for setting, value in settings.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < math.inf:
                raise PriorTypeError(
                    f"su.priors.{type(self).__name__}: `{setting}` must be a positive number, but is {value!r}."
                )

    def _value(self, init: Tensor | None, name: str) -> Tensor:
        """The parameter's value, which some rules require."""
        if init is None:
            raise PriorShapeError(
                f"su.priors.{type(self).__name__} needs the value of parameter {name!r}, for its shape, but the program "
                "gives none. Write param(name, init), or give this parameter a Distribution."
            )
        return init


@dataclass(frozen=True)
class fan_in(_Scaled):
    r"""Normal weights that keep the variance of a layer's output independent of the number of its inputs.

    .. math:: w_{ij} \sim N\!\left(0, \frac{scale^2}{n_{in}}\right), \qquad n_{in} = \text{elements of } w / \text{rows of } w

    A weight's first dimension counts its outputs, as in `Linear` and `Conv2d` (where n_in is channels · kernel) and in
    recurrent layers. Parameters with fewer than two dimensions (biases, norms' gains) are N(0, scale²). In an `Embedding`
    rows are looked up, not summed over: give it a Distribution.

    Args:
        scale: the standard deviation of an output whose inputs have variance 1.

    References:
        Neal (1996), Bayesian Learning for Neural Networks, section 2.1. LeCun et al. (1998), Efficient BackProp, 4.6.

    Example:
        >>> import sursum as su, torch
        >>> su.priors.fan_in()(torch.zeros(3, 16))
        Normal(loc: 0.0, scale: 0.25)
    """

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        value = self._value(init, name)
        count = value[0].numel() if value.dim() > 1 else 1
        return Normal(0.0, self.scale / math.sqrt(max(count, 1)))


@dataclass(frozen=True)
class laplace(_Scaled):
    r"""Double exponential weights, :math:`p(w) \propto e^{-|w| / scale}`: the MAP estimate is the lasso's.

    Args:
        scale: the mean of the absolute weight.

    References:
        Tibshirani (1996), Regression shrinkage and selection via the lasso, section 5. Williams (1995), Bayesian
        regularization and pruning using a Laplace prior.

    Example:
        >>> import sursum as su, torch
        >>> su.priors.laplace(0.5)(torch.zeros(3))
        Laplace(loc: 0.0, scale: 0.5)
    """

    def __call__(self, init: Tensor | None = None) -> Distribution:
        return Laplace(0.0, float(self.scale))


@dataclass(frozen=True)
class around(_Scaled):
    r"""Normal around the parameter's current value, :math:`w \sim N(w_0, scale^2)`: for pretrained weights.

    Args:
        scale: how far the posterior may move from there.

    Example:
        >>> import sursum as su, torch
        >>> su.priors.around(0.1)(torch.tensor([1.0, 2.0])).mean
        tensor([1., 2.])
    """

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        return Normal(self._value(init, name).detach().clone(), float(self.scale))


@dataclass(frozen=True)
class hierarchical(_Scaled):
    r"""Normal weights whose scale is learnt, one for all parameters of a layer.

    .. math:: w \mid \sigma_{layer} \sim N(0, \sigma_{layer}^2), \qquad \sigma_{layer} \sim N^+(0, scale^2)

    The scale of the parameters ``net.0.weight`` and ``net.0.bias`` is the site ``net.0.prior_scale``. Where the data carry
    little information about a layer, its weights and its scale are strongly dependent, and the non-centred form samples
    better: ``su.reparam(lifted, {"net.**": LocScaleReparam(0.0)})``.

    Args:
        scale: the scale of the half-normal.

    References:
        Neal (1996), Bayesian Learning for Neural Networks, section 1.2.2. Gelman (2006), Prior distributions for variance
        parameters in hierarchical models.

    Example:
        >>> import sursum as su, torch
        >>> list(su.trace(su.lift(torch.nn.Linear(2, 1), su.priors.hierarchical())).get_trace(torch.ones(2)))
        ['prior_scale', 'weight', 'bias']
    """

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        layer = name.rpartition(".")[0]
        site = f"{layer}.prior_scale" if layer else "prior_scale"
        learnt = sample(site, HalfNormal(torch.tensor(float(self.scale), dtype=_dtype(init))))
        return Normal(torch.zeros_like(learnt), learnt)


@dataclass(frozen=True)
class horseshoe(_Scaled):
    r"""Weights most of which are close to zero, and a few of which are arbitrarily large.

    .. math:: w_i \sim N(0, \tau^2 \lambda_i^2), \qquad \lambda_i \sim C^+(0, 1), \qquad \tau \sim C^+(0, scale^2)

    For the parameter ``beta``, τ is the site ``beta.global_scale`` and λ the site ``beta.local_scale``. Its posterior has
    funnels; non-centre it, ``su.reparam(lifted, {"beta": LocScaleReparam(0.0)})``, and sample with
    ``target_accept=0.99``.

    Args:
        scale: the scale of τ; with p₀ of p weights expected to be large, n observations and noise σ, about
            p₀ / (p − p₀) · σ / √n.

    References:
        Carvalho, Polson, Scott (2010), The horseshoe estimator for sparse signals, section 1. Piironen, Vehtari (2017),
        Sparsity information and regularization in the horseshoe and other shrinkage priors, section 3.

    Example:
        >>> import sursum as su, torch
        >>> model = lambda: su.param("beta", torch.zeros(3))
        >>> list(su.trace(su.lift(model, su.priors.horseshoe(0.1))).get_trace())
        ['beta.global_scale', 'beta.local_scale', 'beta']
    """

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        value = self._value(init, name)
        dtype = _dtype(init)
        tau = sample(f"{name}.global_scale", HalfCauchy(torch.tensor(float(self.scale), dtype=dtype)))
        each: Distribution = HalfCauchy(torch.ones(value.shape, dtype=dtype))
        lam = sample(f"{name}.local_scale", torch.distributions.Independent(each, value.dim()))
        return Normal(torch.zeros_like(lam), tau * lam)


@dataclass(frozen=True)
class regularised_horseshoe(_Scaled):
    r"""A horseshoe whose large weights are normal too, with a scale of about `slab`.

    .. math:: w_i \sim N\left(0, \frac{c^2 \tau^2 \lambda_i^2}{c^2 + \tau^2 \lambda_i^2}\right), \qquad
        c^2 \sim \text{InverseGamma}\left(\frac{\nu}{2}, \frac{\nu\, slab^2}{2}\right)

    with τ and λ as in `horseshoe`. For the parameter ``beta``, c² is the site ``beta.slab``. Non-centre it, as the horseshoe.

    Args:
        scale: the scale of τ.
        slab: the size of large weights.
        slab_df: ν, the degrees of freedom of the Student distribution that large weights have.

    References:
        Piironen, Vehtari (2017), Sparsity information and regularization in the horseshoe and other shrinkage priors.

    Example:
        >>> import sursum as su, torch
        >>> model = lambda: su.param("beta", torch.zeros(3))
        >>> list(su.trace(su.lift(model, su.priors.regularised_horseshoe(0.1))).get_trace())
        ['beta.slab', 'beta.global_scale', 'beta.local_scale', 'beta']
    """

    slab: float = 2.0
    slab_df: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive(slab=self.slab, slab_df=self.slab_df)

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        self._value(init, name)
        half = torch.tensor(self.slab_df / 2, dtype=_dtype(init))
        square = sample(f"{name}.slab", InverseGamma(half, half * self.slab**2))
        free = horseshoe(self.scale)(init, name=name).variance
        return Normal(torch.zeros_like(free), torch.sqrt(square * free / (square + free)))


@dataclass(frozen=True)
class r2d2(_Scaled):
    r"""Weights of a regression by the share of the variance that they explain together, R².

    .. math:: w_i \sim N\left(0, scale^2 \frac{R^2}{1 - R^2} \varphi_i\right), \qquad
        R^2 \sim \text{Beta}(\mu \kappa, (1 - \mu) \kappa), \qquad \varphi \sim \text{Dirichlet}(\xi)

    for predictors of variance 1. For the parameter ``beta``, R² is the site ``beta.r2`` and φ the site ``beta.shares``.

    Args:
        scale: the standard deviation of the noise.
        mean: μ, the mean of R².
        precision: κ; small numbers say little.
        spread: ξ; below 1 a few weights take most of the variance.

    References:
        Zhang, Naughton, Bondell, Reich (2022), Bayesian regression using a prior on the model fit: the R2-D2 shrinkage prior.

    Example:
        >>> import sursum as su, torch
        >>> model = lambda: su.param("beta", torch.zeros(3))
        >>> list(su.trace(su.lift(model, su.priors.r2d2())).get_trace())
        ['beta.r2', 'beta.shares', 'beta']
    """

    mean: float = 0.5
    precision: float = 2.0
    spread: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive(mean=self.mean, precision=self.precision, spread=self.spread)
        if not self.mean < 1.0:
            raise PriorTypeError(f"su.priors.r2d2: `mean` must be between 0 and 1, but is {self.mean!r}.")

    def __call__(self, init: Tensor | None = None, *, name: str = "") -> Distribution:
        value, dtype = self._value(init, name), _dtype(init)
        one = torch.ones((), dtype=dtype)
        share = sample(f"{name}.r2", Beta(one * self.mean * self.precision, one * (1 - self.mean) * self.precision))
        parts = sample(f"{name}.shares", Dirichlet(one * self.spread * torch.ones(max(value.numel(), 1), dtype=dtype)))
        scale = self.scale * torch.sqrt(share / (1 - share) * parts).reshape(value.shape)
        return Normal(torch.zeros_like(scale), scale)


def _dtype(init: Tensor | None) -> torch.dtype:
    return init.dtype if init is not None and init.is_floating_point() else torch.get_default_dtype()

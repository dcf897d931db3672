"""`ZeroInflatedDistribution` and `HurdleDistribution`: more zeros than a distribution has, or all of them from elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Gamma, LogNormal, NegativeBinomial, Poisson, constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.constraints import WithZero
from sursum.distributions.family import Family, promote
from sursum.distributions.gamma_poisson import NegativeBinomial2
from sursum.distributions.missing import mask_term, stand_in
from sursum.distributions.tails import log_one_minus_exp
from sursum.errors import DensityError, OptionError

Number = Tensor | float
Gate = Tensor | float | None


class _Gated(Family):
    """A distribution behind a gate: zero with the gate's probability."""

    arg_constraints: ClassVar[dict[str, Any]] = {"gate": constraints.unit_interval, "gate_logits": constraints.real}
    base_dist: Any
    gate: Tensor
    gate_logits: Tensor

    def __init__(
        self, base_dist: Distribution, gate: Gate = None, gate_logits: Gate = None, validate_args: bool | None = None
    ) -> None:
        if (gate is None) == (gate_logits is None):
            raise OptionError(
                f"`{type(self).__name__}` takes either `gate` or `gate_logits`: the probability of a zero, or its logit."
            )
        if base_dist.event_shape:
            raise DensityError(
                f"`{type(self).__name__}` takes a distribution of numbers, and {type(base_dist).__name__} has vectors."
            )
        self.gate_is_logits = gate is None
        name = "gate_logits" if gate is None else "gate"
        self.arg_constraints = {name: type(self).arg_constraints[name]}  # type: ignore[misc]
        self._keep((), validate_args, base_dist=base_dist, **{name: gate_logits if gate is None else gate})

    def __getattr__(self, name: str) -> Any:  # the form that was not given
        if name == "gate" and "gate_logits" in vars(self):
            return torch.sigmoid(self.gate_logits)
        if name == "gate_logits" and "gate" in vars(self):
            return torch.logit(self.gate)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _shut_and_open(self, zero: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of the probabilities that the gate is shut, where a value is 0, and that it is open, elsewhere."""
        if "gate_logits" in vars(self):
            return logsigmoid(self.gate_logits), logsigmoid(-self.gate_logits)
        return torch.log(torch.where(zero, self.gate, 0.5)), torch.log1p(-torch.where(zero, 0.5, self.gate))

    @property
    def support(self) -> Any:
        return WithZero(self.base_dist.support)

    def _zero(self) -> Tensor:
        """The logarithm of the base's probability of 0."""
        gate = vars(self).get("gate", vars(self).get("gate_logits"))
        if not self.base_dist.support.is_discrete:
            return torch.full_like(torch.as_tensor(gate), -torch.inf)
        return torch.as_tensor(self.base_dist.log_prob(torch.zeros_like(torch.as_tensor(gate))))

    def _away(self, value: Tensor) -> Tensor:
        """The base's log density, and 0 where the value is 0."""
        away = value != 0
        return mask_term(torch.as_tensor(self.base_dist.log_prob(stand_in(value, away, 0))), away)

    @torch.no_grad()
    def _shut(self, shape: torch.Size) -> Tensor:
        shut: Tensor = Bernoulli(self.gate.expand(shape), validate_args=False).sample()
        return shut.bool()


class ZeroInflatedDistribution(_Gated):
    r"""A distribution with more zeros: with the gate's probability g a zero, otherwise a draw.

    .. math:: p(0) = g + (1 - g)\, p_{base}(0), \qquad p(x) = (1 - g)\, p_{base}(x)

    A continuous base has no zeros of its own; then this is `HurdleDistribution`.

    Args:
        base_dist: the distribution, usually of counts.
        gate: g, or
        gate_logits: its logit.

    Raises:
        OptionError: both or neither.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.ZeroInflatedDistribution(dist.Poisson(2.0), gate=0.3).log_prob(torch.tensor(0.0)).exp()
        tensor(0.3947)
    """

    @property
    def mean(self) -> Tensor:
        return (1 - self.gate) * torch.as_tensor(self.base_dist.mean)

    @property
    def variance(self) -> Tensor:
        mean: Tensor = self.base_dist.mean
        variance: Tensor = self.base_dist.variance
        return (1 - self.gate) * (variance + self.gate * mean.square())

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape)))
        return torch.where(self._shut(drawn.shape), 0.0, drawn)

    def _log_density(self, value: Tensor) -> Tensor:
        zero = value == 0
        shut, open_ = self._shut_and_open(zero)
        return torch.where(zero, self._nothing(shut, zero), open_ + self._away(value))

    def _nothing(self, shut: Tensor, zero: Tensor) -> Tensor:
        """The logarithm of the probability of 0, where the value is."""
        if "gate_logits" in vars(self):
            return torch.logaddexp(shut, logsigmoid(-self.gate_logits) + self._zero())
        likely = self.gate >= 0.5  # there 1 − (1 − g) (1 − p(0)) keeps the digits, and has a slope at 1
        rare = torch.where(zero & ~likely, self.gate, 0.25)
        summed = torch.logaddexp(torch.log(rare), torch.log1p(-rare) + self._zero())
        return torch.where(likely, torch.log1p((1 - torch.where(likely, self.gate, 1.0)) * torch.expm1(self._zero())), summed)


class HurdleDistribution(_Gated):
    r"""Zeros and the others apart: with the gate's probability g a zero, otherwise a draw that is not 0.

    .. math:: p(0) = g, \qquad p(x) = (1 - g) \frac{p_{base}(x)}{1 - p_{base}(0)}

    Args:
        base_dist: the distribution, of counts or continuous. A continuous one has no zeros: p(x) is then a density at
            x ≠ 0 and a probability at 0, and the site can be observed only.
        gate: g, or
        gate_logits: its logit.

    Raises:
        OptionError: both or neither.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.HurdleDistribution(dist.Poisson(2.0), gate=0.3).log_prob(torch.tensor([0.0, 1.0])).exp()
        tensor([0.3000, 0.2191])
    """

    @property
    def mean(self) -> Tensor:
        return (1 - self.gate) * torch.as_tensor(self.base_dist.mean) / -torch.expm1(self._zero())

    @property
    def variance(self) -> Tensor:
        mean: Tensor = self.base_dist.mean
        variance: Tensor = self.base_dist.variance
        square = (1 - self.gate) * (variance + mean.square()) / -torch.expm1(self._zero())
        return square - self.mean.square()

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        drawn = torch.as_tensor(self.base_dist.sample(shape))
        shut = self._shut(drawn.shape)
        for _ in range(10_000):
            again = (drawn == 0) & ~shut
            if not bool(again.any()):
                return torch.where(shut, 0.0, drawn)
            drawn = torch.where(again, self.base_dist.sample(shape), drawn)
        raise DensityError(f"{type(self.base_dist).__name__} gave nothing but zeros in 10,000 draws.")

    def _log_density(self, value: Tensor) -> Tensor:
        zero = value == 0
        shut, open_ = self._shut_and_open(zero)
        if self.base_dist.support.is_discrete:
            open_ = open_ - log_one_minus_exp(torch.where(zero, -1.0, self._zero()))
        return torch.where(zero, shut, open_ + self._away(value))


def _make(kind: Any, arguments: dict[str, Any]) -> Any:
    """A distribution of promoted arguments."""
    return kind(**promote({name: value for name, value in arguments.items() if value is not None}))


class ZeroInflatedPoisson(ZeroInflatedDistribution):
    """A Poisson with more zeros: see `ZeroInflatedDistribution`.

    Example:
        >>> ZeroInflatedPoisson(2.0, gate=0.3).log_prob(torch.tensor(0.0)).exp()
        tensor(0.3947)
    """

    def __init__(self, rate: Number, gate: Gate = None, gate_logits: Gate = None, validate_args: bool | None = None) -> None:
        super().__init__(_make(Poisson, {"rate": rate}), gate, gate_logits, validate_args)


class ZeroInflatedNegativeBinomial(ZeroInflatedDistribution):
    """torch's `NegativeBinomial` with more zeros: see `ZeroInflatedDistribution`.

    Example:
        >>> ZeroInflatedNegativeBinomial(2.0, probs=0.5, gate=0.3).log_prob(torch.tensor(0.0)).exp()
        tensor(0.4750)
    """

    def __init__(
        self,
        total_count: Number,
        probs: Gate = None,
        logits: Gate = None,
        gate: Gate = None,
        gate_logits: Gate = None,
        validate_args: bool | None = None,
    ) -> None:
        base = _make(NegativeBinomial, {"total_count": total_count, "probs": probs, "logits": logits})
        super().__init__(base, gate, gate_logits, validate_args)


class ZeroInflatedNegativeBinomial2(ZeroInflatedDistribution):
    """`NegativeBinomial2` with more zeros: see `ZeroInflatedDistribution`.

    Example:
        >>> ZeroInflatedNegativeBinomial2(2.0, 2.0, gate=0.3).log_prob(torch.tensor(0.0)).exp()
        tensor(0.4750)
    """

    def __init__(
        self,
        mean: Number,
        concentration: Number,
        gate: Gate = None,
        gate_logits: Gate = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(NegativeBinomial2(mean, concentration), gate, gate_logits, validate_args)


class HurdlePoisson(HurdleDistribution):
    """A Poisson with zeros of their own: see `HurdleDistribution`.

    Example:
        >>> HurdlePoisson(0.3, 2.0).log_prob(torch.tensor(1.0)).exp()
        tensor(0.2191)
    """

    def __init__(self, gate: Number, rate: Number = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(_make(Poisson, {"rate": rate}), gate, None, validate_args)


class HurdleNegativeBinomial2(HurdleDistribution):
    """`NegativeBinomial2` with zeros of its own: see `HurdleDistribution`.

    Example:
        >>> HurdleNegativeBinomial2(0.3, 2.0, 2.0).log_prob(torch.tensor(0.0)).exp()
        tensor(0.3000)
    """

    def __init__(self, gate: Number, mean: Number, concentration: Number, validate_args: bool | None = None) -> None:
        super().__init__(NegativeBinomial2(mean, concentration), gate, None, validate_args)


class HurdleGamma(HurdleDistribution):
    """Zeros and, otherwise, a Gamma: see `HurdleDistribution`.

    Example:
        >>> HurdleGamma(0.3, 2.0, 1.0).log_prob(torch.tensor([0.0, 1.0])).exp()
        tensor([0.3000, 0.2575])
    """

    def __init__(self, gate: Number, concentration: Number, rate: Number = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(_make(Gamma, {"concentration": concentration, "rate": rate}), gate, None, validate_args)


class HurdleLogNormal(HurdleDistribution):
    """Zeros and, otherwise, a log-normal: see `HurdleDistribution`.

    Example:
        >>> HurdleLogNormal(0.3).log_prob(torch.tensor([0.0, 1.0])).exp()
        tensor([0.3000, 0.2793])
    """

    def __init__(self, gate: Number, loc: Number = 0.0, scale: Number = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(_make(LogNormal, {"loc": loc, "scale": scale}), gate, None, validate_args)

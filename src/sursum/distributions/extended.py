"""`ExtendedBinomial`, `ExtendedBetaBinomial`: binomials that score every integer, −∞ outside of their own support."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.beta_binomial import BetaBinomial, BetaTrials
from sursum.distributions.constraints import integer
from sursum.distributions.family import Family
from sursum.distributions.log_gamma import log_choose
from sursum.errors import OptionError


class ExtendedBinomial(Family):
    r"""A binomial distribution whose support is all integers, and whose log density is −∞ below 0 and above n.

    For counts out of a number that is itself computed, and may be too small in some executions, or negative.

    Args:
        total_count: n, any integer.
        probs: p in [0, 1].
        logits: instead of `probs`.

    Raises:
        OptionError: both of `probs` and `logits`, or none.

    Example:
        >>> ExtendedBinomial(2, 0.5).log_prob(torch.tensor([-1.0, 1.0, 3.0]))
        tensor([   -inf, -0.6931,    -inf])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "total_count": integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    support = integer
    total_count: Tensor
    probs: Tensor
    logits: Tensor

    def __init__(
        self,
        total_count: Tensor | int = 1,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (probs is None) == (logits is None):
            raise OptionError("`ExtendedBinomial` takes either `probs` or `logits`.")
        self.arg_constraints = {  # type: ignore[misc]
            name: constraint
            for name, constraint in type(self).arg_constraints.items()
            if name != ("logits" if logits is None else "probs")
        }
        self._keep((), validate_args, total_count=total_count, probs=probs, logits=logits)

    def _logs(self) -> tuple[Tensor, Tensor]:
        """The logarithms of p and of 1 − p."""
        if "logits" in self.arg_constraints:
            return logsigmoid(self.logits), logsigmoid(-self.logits)
        return torch.log(self.probs), torch.log1p(-self.probs)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self._logs()[0].exp()

    @property
    def variance(self) -> Tensor:
        success, failure = self._logs()
        return self.total_count * (success + failure).exp()

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        share = self._logs()[0].exp()
        return torch.binomial(self.total_count.clamp(min=0).expand(shape).contiguous(), share.expand(shape).contiguous())

    def _log_density(self, value: Tensor) -> Tensor:
        n = self.total_count
        within = (value >= 0) & (value <= n)
        k, m = torch.where(within, value, 0.0), torch.where(within, n, 0.0)
        success, failure = self._logs()
        # 0 · log 0 is 0: a probability of 0 or 1 is certain of its count.
        hits = torch.where(k == 0, 0.0, k * torch.where(k == 0, 0.0, success))
        misses = torch.where(k == m, 0.0, (m - k) * torch.where(k == m, 0.0, failure))
        return torch.where(within, log_choose(m, k) + hits + misses, -torch.inf)


class ExtendedBetaBinomial(BetaTrials):
    r"""A beta-binomial distribution whose support is all integers, and whose log density is −∞ below 0 and above n.

    Args:
        concentration1: a > 0.
        concentration0: b > 0.
        total_count: n, any integer.

    Example:
        >>> ExtendedBetaBinomial(1.0, 1.0, 3).log_prob(torch.tensor([-1.0, 2.0])).exp()
        tensor([0.0000, 0.2500])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "total_count": integer,
    }
    support = integer

    def _within(self, total: Tensor) -> BetaBinomial:
        return BetaBinomial(self.concentration1, self.concentration0, total, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._within(self.total_count).mean

    @property
    def variance(self) -> Tensor:
        return self._within(self.total_count).variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._within(self.total_count.clamp(min=0)).sample(torch.Size(sample_shape))

    def _log_density(self, value: Tensor) -> Tensor:
        within = (value >= 0) & (value <= self.total_count)
        k, n = torch.where(within, value, 0.0), torch.where(within, self.total_count, 0.0)
        return torch.where(within, self._within(n).log_prob(k), -torch.inf)

"""`Importance` and `EmpiricalMarginal`: weighted executions of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.compat.pyro import poutine
from sursum.compat.pyro.distributions import Empirical
from sursum.errors import VariationalError


class TracePosterior:
    """Weighted executions of a program: the base of `Importance`.

    A subclass yields traces with their log weights from `_traces`.
    """

    def __init__(self, num_chains: int = 1) -> None:
        self.num_chains = num_chains
        self.exec_traces: list[Any] = []
        self.log_weights: list[Tensor] = []

    def _traces(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Execute, with these arguments; returns itself."""
        self.exec_traces, self.log_weights = [], []
        with torch.no_grad():
            for trace, weight in self._traces(*args, **kwargs):
                self.exec_traces.append(trace)
                self.log_weights.append(torch.as_tensor(weight))
        return self

    def marginal(self, sites: Any = None) -> Marginals:
        """The distribution of sites: ``.empirical["z"]``."""
        return Marginals(self, sites)

    def _weights(self) -> Tensor:
        if not self.log_weights:
            raise VariationalError(f"{type(self).__name__} has not run yet: call `run` first.")
        return torch.stack(self.log_weights)


class Importance(TracePosterior):
    """Importance sampling: executions from a guide, or from the prior, weighted.

    Args:
        model: the program.
        guide: a program with its latent sites; None is the prior.
        num_samples: how many executions.
    """

    def __init__(
        self, model: Callable[..., Any], guide: Callable[..., Any] | None = None, num_samples: int | None = None
    ) -> None:
        super().__init__()
        self.model, self.num_samples = model, 10 if num_samples is None else num_samples
        self.guide = poutine.block(model, hide_types=["observe"]) if guide is None else guide

    def _traces(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self.num_samples):
            drawn = poutine.trace(self.guide).get_trace(*args, **kwargs)
            scored = poutine.trace(poutine.replay(self.model, trace=drawn)).get_trace(*args, **kwargs)
            yield scored, scored.log_prob_sum() - drawn.log_prob_sum()

    def get_log_normalizer(self) -> Tensor:
        """The logarithm of the estimate of the evidence."""
        weights = self._weights()
        return weights.logsumexp(0) - torch.log(torch.tensor(float(len(weights))))

    def get_normalized_weights(self, log_scale: bool = False) -> Tensor:
        """The weights, which sum to one."""
        weights = self._weights()
        logs = weights - weights.logsumexp(0)
        return logs if log_scale else logs.exp()

    def get_ESS(self) -> Tensor:  # noqa: N802
        """How many independent draws the weighted ones are worth."""
        return torch.exp(-(2 * self.get_normalized_weights(log_scale=True)).logsumexp(0))


class EmpiricalMarginal(Empirical):
    """The distribution of a site, or of several of one shape, among weighted executions.

    Args:
        trace_posterior: what ran.
        sites: the name of a site, or a list of names; None is what the program returned.
    """

    def __init__(self, trace_posterior: TracePosterior, sites: Any = None, validate_args: bool | None = None) -> None:
        names = ["_RETURN"] if sites is None else [sites] if isinstance(sites, str) else list(sites)
        weights = trace_posterior._weights()
        rows = [
            torch.stack([torch.as_tensor(trace.nodes[name]["value"]) for name in names])
            if sites is not None and not isinstance(sites, str)
            else torch.as_tensor(trace.nodes[names[0]]["value"])
            for trace in trace_posterior.exec_traces
        ]
        super().__init__(torch.stack(rows).detach(), weights.detach())


class Marginals:
    """The distributions of sites among weighted executions."""

    def __init__(self, trace_posterior: TracePosterior, sites: Any = None) -> None:
        names = ["_RETURN"] if sites is None else [sites] if isinstance(sites, str) else list(sites)
        self.empirical = {name: EmpiricalMarginal(trace_posterior, None if name == "_RETURN" else name) for name in names}

    def support(self, flatten: bool = False) -> dict[str, Tensor]:
        """The draws of every site."""
        return {name: one.enumerate_support() for name, one in self.empirical.items()}

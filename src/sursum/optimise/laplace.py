"""`Laplace`: the Gaussian with the posterior's mode and curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.density.unobserved import announce_empty, announce_unobserved
from sursum.distributed.ranks import led
from sursum.distributions.randomness import global_seed
from sursum.draws.psis import pareto_k
from sursum.errors import OptimisationError
from sursum.optimise.approximation import as_posterior, log_densities
from sursum.optimise.checks import check_settings
from sursum.optimise.curvature import Curvature, curvature
from sursum.optimise.evaluator import evaluator
from sursum.optimise.fit import NUM_STEPS, describe, start_point
from sursum.optimise.maximise import Maximum, maximise
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior


@answers(
    draws="num_samples",
    num_draws="num_samples",
    n_samples="num_samples",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
    inits="init",
    initvals="init",
    init_params="init",
    start="init",
    optim="the mode is found by L-BFGS and Newton's method",
)
@dataclass(frozen=True, repr=False)
class Laplace:
    r"""Laplace's approximation of the posterior, in unconstrained coordinates q.

    .. math:: q \sim N(\hat q, A^{-1}), \qquad \hat q = \arg\max_q \log p(q), \qquad A = -\nabla^2 \log p(\hat q)

    where :math:`\log p(q)` includes the log-Jacobians of the supports, as samplers see it. A is computed from fourth-order
    differences of the compiled gradient (6 n gradients), exact to about 1e-12.

    Args:
        model: the program. Parameters that are not lifted are held at their value.
        num_samples: independent draws, as one chain.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        init: where the search for the mode starts, as for `Fit`.
        num_steps: the maximum number of steps of that search.
        engine: "native" or "torch"; None is the fastest available.

    Raises:
        OptimisationError: an invalid setting.

    References:
        Tierney, Kadane (1986), Accurate approximations for posterior moments and marginal densities, JASA 81.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> posterior = su.infer.Laplace(model, seed=0).run(torch.tensor([1.0, 2.0, 3.0]))
        >>> round(float(posterior["mu"].mean()), 1), round(float(posterior["mu"].std()), 1)
        (1.5, 0.5)
    """

    model: Callable[..., Any]
    num_samples: int = field(default=1000, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    init: Init = field(default=None, kw_only=True)
    num_steps: int = field(default=NUM_STEPS, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_settings(self, num_samples=1000, num_steps=NUM_STEPS)

    @led
    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Approximate the posterior of the program with these arguments. May be called again, with different data.

        Returns:
            The draws. `posterior.pareto_k` judges them by their importance weights p/N, whose logarithms are
            ``posterior.stats["log_weight"]``.

        Raises:
            OptimisationError: there is no mode, or no strict one.

        Warns:
            DiagnosticWarning: Pareto k-hat is above 0.7.
        """
        compiled = compile_density(LogDensity(rolled(self.model), args, kwargs), self.engine)
        announce_unobserved(compiled.density.unobserved)
        announce_empty(compiled.density.observed)
        mode, bend = find_mode(compiled, self.init, self.num_steps)
        rng = np.random.default_rng(global_seed() if self.seed is None else self.seed)
        noise = rng.standard_normal((self.num_samples, compiled.dim))
        draws = mode.point.q + noise @ bend.factor.T
        log_q = -0.5 * (noise**2).sum(1) + 0.5 * bend.log_det - 0.5 * compiled.dim * np.log(2.0 * np.pi)
        log_p = log_densities(compiled, draws)
        stats = {"lp": log_p, "log_weight": log_p - log_q}
        return as_posterior(compiled, draws, stats, pareto_k=pareto_k(log_p - log_q))


def find_mode(compiled: CompiledDensity, init: Any, num_steps: int) -> tuple[Maximum, Curvature]:
    """The mode of a log density, and its curvature there.

    Raises:
        OptimisationError: there is none, or no strict one.
    """
    value_and_grad = evaluator(compiled)
    mode = maximise(value_and_grad, start_point(compiled, init), num_steps)
    if not mode.converged:
        raise OptimisationError(f"Laplace's approximation needs the mode. {describe(mode, compiled.density, num_steps)}")
    bend = curvature(value_and_grad, mode.point.q)
    if not bend.definite:
        names = ", ".join(repr(name) for name in dict.fromkeys(compiled.density.site_at(i) for i in bend.flat()))
        raise OptimisationError(
            f"Laplace's approximation needs a strict mode, but where the search ended the log density does not fall "
            f"along {names}. Give the site a prior that determines it, or start elsewhere by `init`."
        )
    return mode, bend

"""`Pathfinder`: draws from the best Gaussian along the path of an optimiser."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.cores import available_cores
from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.common.settings import settle, whole_number
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.density.unobserved import announce_empty, announce_unobserved
from sursum.distributed.ranks import led
from sursum.distributions.randomness import global_seed
from sursum.draws.psis import resample_indices, smooth
from sursum.errors import OptimisationError
from sursum.optimise.approximation import as_posterior, log_densities
from sursum.optimise.checks import check_settings
from sursum.optimise.evaluator import evaluator
from sursum.optimise.fit import start_point
from sursum.optimise.lbfgs_gaussian import Gaussian, gaussians
from sursum.optimise.maximise import Iterate, lbfgs
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]


@answers(
    draws="num_samples",
    num_draws="`num_samples=` is of the posterior, and `num_samples_per_path=` of each path",
    num_elbo_draws="num_elbo_samples",
    num_draws_per_path="num_samples_per_path",
    num_psis_draws="num_samples",
    history_size="history",
    maxcor="history",
    maxiter="num_steps",
    max_lbfgs_iters="num_steps",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
    inits="init",
    initvals="init",
    init_params="init",
    num_threads="cores",
)
@dataclass(frozen=True, repr=False)
class Pathfinder:
    r"""Variational inference along the path of L-BFGS: quick approximate draws, and good starting points for MCMC.

    Each path climbs the log density from a different start. At every point the optimiser's inverse Hessian defines a
    Gaussian; the one with the largest evidence lower bound

    .. math:: \mathrm{ELBO} = E_q[\log p(q) - \log \phi(q)]

    is drawn from. The draws of all paths are resampled by Pareto-smoothed importance weights :math:`p / \phi`.

    Args:
        model: the program, with or without handlers around it.
        num_samples: draws of the posterior.
        num_paths: the number of paths, each with a different start; 1 is single-path Pathfinder.
        num_samples_per_path: draws of each path, from which those of the posterior are resampled.
        num_elbo_samples: draws to estimate the ELBO at each point of a path.
        num_steps: maximum number of steps of each path.
        history: number of steps that the inverse Hessian remembers.
        seed: an integer of at least 0. The same seed gives the same draws for any `cores`, and path k does not depend on
            `num_paths`. None takes a seed from torch's global generator, which is otherwise left alone.
        cores: how many paths run at once; None is the smaller of the numbers of paths and cores.
        engine: "native" or "torch"; None is the fastest available.
        init: the centre of the starting points, as for `MCMC`: each is within ±0.1, in unconstrained coordinates. None is
            the program's own values, or random where it has none.

    Raises:
        OptimisationError: a setting outside its range, or of the wrong type.

    References:
        Zhang, Carpenter, Gelman, Vehtari (2022), Pathfinder: Parallel quasi-Newton variational inference, JMLR 23.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> posterior = su.infer.Pathfinder(model, seed=0).run(torch.tensor([1.0, 2.0, 3.0]))
        >>> round(float(posterior["mu"].mean()), 1), round(float(posterior["mu"].std()), 1)
        (1.5, 0.5)
    """

    model: Callable[..., Any]
    num_samples: int = field(default=1000, kw_only=True)
    num_paths: int = field(default=4, kw_only=True)
    num_samples_per_path: int = field(default=1000, kw_only=True)
    num_elbo_samples: int = field(default=25, kw_only=True)
    num_steps: int = field(default=1000, kw_only=True)
    history: int = field(default=6, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    cores: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    init: Init = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_settings(
            self, num_samples=1000, num_paths=4, num_samples_per_path=1000, num_elbo_samples=25, num_steps=1000, history=6
        )
        if self.cores is not None:
            settle(self, {"cores": whole_number("cores", self.cores, 1, OptimisationError, "leave it out to use all")})

    @led
    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Approximate the posterior of the program with these arguments. May be called again, with different data.

        Returns:
            The draws, as one chain; `posterior.pareto_k` judges them. ``posterior.stats`` has for each draw the log
            density `lp`, the log weight `log_weight` before smoothing, and its `path`.

        Raises:
            OptimisationError: no path has found a Gaussian.

        Warns:
            DiagnosticWarning: some paths have failed; Pareto k-hat is above 0.7.
        """
        compiled = compile_density(LogDensity(rolled(self.model), args, kwargs), self.engine)
        announce_unobserved(compiled.density.unobserved)
        announce_empty(compiled.density.observed)
        seed = global_seed() if self.seed is None else self.seed
        choosing, *sources = np.random.SeedSequence(seed).spawn(1 + self.num_paths)
        rngs = [np.random.default_rng(source) for source in sources]
        starts = [start_point(compiled, self.init, rng) for rng in rngs]
        contexts = [contextvars.copy_context() for _ in starts]
        with ThreadPoolExecutor(min(self.cores or available_cores(), self.num_paths)) as pool:
            climbs = [
                pool.submit(context.run, self._path, compiled, start, rng)
                for context, start, rng in zip(contexts, starts, rngs, strict=True)
            ]
            found = [climb.result() for climb in climbs]
        kept = [(k, *one) for k, one in enumerate(found) if one is not None]
        if not kept:
            raise OptimisationError(
                f"none of {len(found)} paths has found a Gaussian: the log density has no suitable curvature along "
                "them, or the paths started at a mode and did not move. Start elsewhere by `init`, raise `num_paths`, or "
                "use MCMC."
            )
        draws = np.concatenate([one for _, one, _, _ in kept])
        log_p = np.concatenate([one for _, _, one, _ in kept])
        log_weight = log_p - np.concatenate([one for _, _, _, one in kept])
        path = np.repeat([k for k, *_ in kept], self.num_samples_per_path)
        smoothed = smooth(log_weight)
        chosen = resample_indices(smoothed, self.num_samples, np.random.default_rng(choosing))
        return as_posterior(
            compiled,
            draws[chosen],
            {"lp": log_p[chosen], "log_weight": log_weight[chosen], "path": path[chosen]},
            pareto_k=smoothed.pareto_k,
            doubts=_say_lost(len(found) - len(kept), len(found)),
        )

    def _path(self, compiled: CompiledDensity, start: Iterate, rng: np.random.Generator) -> tuple[Array, Array, Array] | None:
        """Draws from the best Gaussian of a path, with their log p and log φ; None if there is none."""
        path, _, _ = lbfgs(evaluator(compiled), start, self.num_steps, self.history)
        best: Gaussian | None = None
        highest = -np.inf
        for gaussian in gaussians(path, self.history):
            draws, log_q = gaussian.draw(self.num_elbo_samples, rng)
            elbo = float(np.mean(log_densities(compiled, draws) - log_q))
            if elbo > highest:
                best, highest = gaussian, elbo
        if best is None:
            return None
        draws, log_q = best.draw(self.num_samples_per_path, rng)
        log_p = log_densities(compiled, draws)
        return (draws, log_p, log_q) if np.isfinite(log_p).any() else None


def _say_lost(lost: int, count: int) -> tuple[str, ...]:
    if not lost:
        return ()
    return (
        f"{lost} of {count} paths found no Gaussian, and are left out. Look at where the log density is finite, or start "
        "nearer by `init`.",
    )

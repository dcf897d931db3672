"""Discrete sites that were summed out, given the draws of the others: draws, most probable values, probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.other_libraries import answers
from sursum.common.settings import whole_number
from sursum.compiler.capture.capture import capture
from sursum.compiler.function import batch
from sursum.compiler.scan import rolled
from sursum.core.calling import Program
from sursum.density.backwards import Backwards, slopes
from sursum.density.log_density import LogDensity
from sursum.distributions.randomness import global_seed
from sursum.errors import CaptureError, PredictionError
from sursum.handlers.enumerate.elimination import log_sum
from sursum.posterior.posterior import Posterior

_CHUNK = 500


@answers(
    first_available_dim="dimensions are found by themselves",
    rng_seed="seed",
)
def infer_discrete(posterior: Posterior, *, temperature: int = 1, seed: int | None = None) -> Posterior:
    r"""A posterior with draws of the discrete sites that were summed out, given each draw of the other sites.

    .. math:: z^{(s)} \sim p(z \mid \theta^{(s)}, y)

    exactly, by sampling backwards through the sums that gave the log density; at temperature 0 the most probable assignment
    of all discrete sites together, in a scan the path that Viterbi's algorithm finds.

    Args:
        posterior: the result of a method, whose program is known.
        temperature: 1 for draws, 0 for the most probable values.
        seed: the same seed gives the same draws; None takes one from torch's generator.

    Returns:
        The posterior with the discrete sites under their names, (chain, draw, *shape); `predict` uses their values.

    Raises:
        PredictionError: the posterior has no program, or its program no discrete site that is summed out.

    References:
        Obermeyer, Bingham, Jankowiak, Phan, Chiu, Pradhan, Rush, Goodman, "Tensor variable elimination for plated factor
        graphs" (2019), section 4; Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding
        algorithm" (1967).

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(torch.tensor([-4.0, 4.0]), 1.0).to_event(1))
        ...     with su.plate("data", len(y)):
        ...         k = su.sample("k", dist.Bernoulli(0.5))
        ...         su.sample("y", dist.Normal(mu[k.long()], 1.0), obs=y)
        >>> mcmc = su.infer.MCMC(su.infer.NUTS(model), num_samples=500, seed=0, progress=False)
        >>> posterior = mcmc.run(torch.tensor([-4.0, -4.5, 4.0, 4.2]))
        >>> infer_discrete(posterior, seed=0)["k"].shape
        torch.Size([4, 500, 4])
    """
    if temperature not in (0, 1):
        raise PredictionError(
            f"`temperature` is {temperature!r}, but must be 1, for draws, or 0, for the most probable values of all "
            "discrete sites."
        )
    summed = _Summed.of(posterior, "infer_discrete")
    number = global_seed() if seed is None else whole_number("seed", seed, 0, PredictionError, "leave it out for a random one")
    found = summed.assignments(number, best=temperature == 0)
    plan = summed.density.plan
    assert plan is not None  # it was checked
    values = {name: plan.supports[name].values().detach()[index] for name, index in found.items()}
    sites = {**posterior.sites, **values}
    dims = {**posterior.dims, **{name: summed.density.dims.get(name, ()) for name in values}}
    return replace(posterior, sites=sites, latents=tuple(dict.fromkeys((*posterior.latents, *values))), dims=dims)


def discrete_probabilities(posterior: Posterior) -> dict[str, Tensor]:
    r"""The probability of every value of each discrete site, given each draw of the other sites.

    .. math:: p(z_i = k \mid \theta^{(s)}, y)

    Their mean over draws is the posterior probability, without the noise of drawing the site.

    Args:
        posterior: the result of a method, whose program is known.

    Returns:
        By site float64 of shape (chain, draw, *shape of the site's batch, number of values), in the order of the support.

    Raises:
        PredictionError: the posterior has no program, or its program no discrete site that is summed out.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 0.1))
        ...     z = su.sample("z", dist.Bernoulli(0.5))
        ...     su.sample("y", dist.Normal(mu + 4 * z, 1.0), obs=y)
        >>> posterior = su.infer.Laplace(model, num_samples=100, seed=0).run(torch.tensor(4.0))
        >>> discrete_probabilities(posterior)["z"].mean((0, 1)).round(decimals=2)
        tensor([0., 1.], dtype=torch.float64)
    """
    return _Summed.of(posterior, "discrete_probabilities").probabilities()


@dataclass(frozen=True, eq=False)
class _Summed:
    """The density whose sums are gone through backwards, and the draws of its coordinates, (chain, draw, n)."""

    density: LogDensity
    draws: Tensor

    @classmethod
    def of(cls, posterior: Any, verb: str) -> _Summed:
        if not isinstance(posterior, Posterior):
            raise PredictionError(
                f"`{verb}` got a {type(posterior).__name__}, but takes a Posterior, the result of a method: "
                f"{verb}(su.infer.MCMC(su.infer.NUTS(model)).run(…))."
            )
        if not isinstance(posterior.program, Program):
            raise PredictionError(
                f"this posterior has no program to {verb} with: it was loaded from a file, or made by hand, and files "
                "contain only "
                "draws."
            )
        program = posterior.program
        density = LogDensity(rolled(program.model), program.args, program.kwargs)
        if density.plan is None:
            raise PredictionError("the program has no discrete site that was summed out, so that there is nothing to recover.")
        draws = torch.as_tensor(posterior.unconstrained)
        if tuple(density.coordinate_names()) != posterior.coordinates:
            rows = [
                density.ravel({latent.name: posterior[latent.name].flatten(0, 1)[k] for latent in density.latents})
                for k in range(posterior.num_chains * posterior.num_samples)
            ]
            draws = torch.stack(rows).reshape(posterior.num_chains, posterior.num_samples, -1)
        return cls(density, draws)

    def assignments(self, seed: int, *, best: bool) -> dict[str, Tensor]:
        """The numbers of the values, (chain, draw, *steps, *batch) by site."""
        sizing = Backwards(best)
        slopes(self.density, self.draws.flatten(0, 1)[0], sizing)
        count = self.draws.shape[:2].numel()
        noise = np.random.default_rng(seed).random((count, sizing.count))

        def run(q: Tensor, noise: Tensor) -> list[Tensor]:
            return [slope.argmax(dim) for dim, slope in slopes(self.density, q, Backwards(best, noise, sizing.places)).values()]

        return self._at_all(run, torch.as_tensor(noise))

    def probabilities(self) -> dict[str, Tensor]:
        """The probabilities of the values, (chain, draw, *steps, *batch, values) by site."""

        def run(q: Tensor, noise: Tensor) -> list[Tensor]:
            found = slopes(self.density, q, log_sum).values()
            return [(slope / slope.sum(dim, keepdim=True)).movedim(dim, -1) for dim, slope in found]

        return self._at_all(run, torch.empty(self.draws.shape[:2].numel(), 0, dtype=torch.float64))

    def _at_all(self, run: Callable[[Tensor, Tensor], Sequence[Tensor]], noise: Tensor) -> dict[str, Tensor]:
        """The results of `run` at all draws, by site."""
        plan = self.density.plan
        assert plan is not None  # it was checked
        rows = torch.cat([self.draws.flatten(0, 1), noise], -1)

        def one(row: Tensor) -> tuple[Tensor, ...]:
            with torch.inference_mode(False), torch.enable_grad():
                found = run(row[: self.density.dim], row[self.density.dim :])
            return tuple(value.detach() for value in found)

        away = torch.as_tensor(np.random.default_rng(0).uniform(0.01, 0.02, rows.shape[1]))
        points = rows[0], torch.where(torch.arange(rows.shape[1]) < self.density.dim, rows[-1] + away, (rows[-1] + away) % 1.0)
        try:
            replay = batch(capture(one, points, gradient=False))
            parts = [replay(chunk) for chunk in rows.split(_CHUNK)]
        except CaptureError:
            parts = [tuple(value.unsqueeze(0) for value in one(row.clone())) for row in rows]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return {
            name: column.reshape(*self.draws.shape[:2], *column.shape[1:])
            for name, column in zip(plan.shapes, columns, strict=True)
        }

r"""Simulation-based calibration: whether a program, and the sampler, give back what the program says of itself.

.. math:: \tilde z \sim p(z), \quad \tilde y \sim p(y \mid \tilde z), \quad z^{(1)}, \dots, z^{(L)} \sim p(z \mid \tilde y)

makes the rank of each :math:`\tilde z_i` among its L draws uniform on 0, …, L. Ranks that are not show an error in the program
or in the sampler, and their shape which: ∪ for posteriors that are too narrow, ∩ for too wide, a slope for biased ones.

References
    Talts, Betancourt, Simpson, Vehtari, Gelman (2018), arXiv:1804.06788. Säilynoja, Bürkner, Vehtari (2022), Graphical test
    for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison, Statistics and
    Computing 32, section 3.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.optional_packages import needed
from sursum.common.patterns import suggestion
from sursum.common.precision import in_double
from sursum.common.tables import Table
from sursum.compiler.compiled import compile_density
from sursum.core.trace import Trace
from sursum.density.log_density import LogDensity
from sursum.draws.diagnostics import element_name
from sursum.errors import SamplingError
from sursum.handlers import condition, trace, uncondition
from sursum.handlers import seed as seeded
from sursum.mcmc import MCMC, NUTS

REFERENCES = 2000
"""Samples of uniform numbers from which the distribution of the test statistic is known."""


@dataclass(frozen=True)
class SBC:
    """The ranks of simulation-based calibration, and whether they are uniform.

    Arguments:
        ranks: by site, integers of 0 to `num_draws`, (simulation, *shape).
        num_draws: L, how many draws each rank is among.
        p_values: by site, of the shape of the site: how probable so uneven an ECDF of ranks is if all is well.
        divergences: how many simulations had draws that ended in one.
    """

    ranks: Mapping[str, NDArray[np.int64]]
    num_draws: int
    p_values: Mapping[str, NDArray[np.float64]]
    divergences: int

    @property
    def num_simulations(self) -> int:
        return len(next(iter(self.ranks.values())))

    def passed(self, level: float = 0.01) -> bool:
        """Whether no quantity is too uneven; `level` is the probability of an error, for all quantities together."""
        smallest, count = self._smallest()
        return smallest >= level / count

    def _smallest(self) -> tuple[float, int]:
        every = np.concatenate([values.ravel() for values in self.p_values.values()])
        return float(every.min()), every.size

    def __str__(self) -> str:
        rows = [("site", "p", "mean rank / L", "sd")]
        for name, values in self.p_values.items():
            for place in np.ndindex(values.shape):
                scaled = self.ranks[name][(slice(None), *place)] / self.num_draws
                # The smallest that can be told from so many reference samples is 1 / (REFERENCES + 1).
                cells = (
                    "<0.001" if values[place] < 0.001 else f"{values[place]:.3f}",
                    f"{scaled.mean():.3f}",
                    f"{scaled.std():.3f}",
                )
                rows.append((element_name(name, place), *cells))
        verdict = "passed" if self.passed() else "FAILED: the ranks are not uniform"
        head = f"{self.num_simulations} simulations, ranks among {self.num_draws} draws: {verdict}."
        wrong = f" {self.divergences} of them had divergences." if self.divergences else ""
        return f"{head}{wrong} If all is well, mean ranks are near 0.5 and their sd near 0.289.\n\n{Table(rows)}"

    __repr__ = __str__

    def plot(self, path: str | os.PathLike[str] | None = None, *, sites: Iterable[str] | None = None) -> Any:
        """A picture of each quantity: the ECDF of its ranks less that of uniform ones, and the band where 95 % stay within.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = needed("matplotlib.figure", "A picture")
        names = list(self.ranks) if sites is None else list(sites)
        columns = [(name, place) for name in names for place in np.ndindex(self.p_values[name].shape)]
        wide = min(4, len(columns))
        high = -(-len(columns) // wide)
        figure = figures.Figure(figsize=(3.0 * wide + 0.6, 2.3 * high + 0.6), layout="constrained")
        grid = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True).ravel()
        z, low, up = band(self.num_simulations)
        for axes, (name, place) in zip(grid, columns, strict=False):
            u = _uniform(self.ranks[name][(slice(None), *place)], self.num_draws)
            axes.fill_between(z, low - z, up - z, color="0.85", linewidth=0, label="95 % of uniform ranks")
            axes.step(z, (u[:, None] <= z).mean(axis=0) - z, where="mid", color="C0", label="ranks")
            axes.axhline(0.0, color="0.5", linewidth=0.8)
            axes.set_title(f"{element_name(name, place)}   p = {self.p_values[name][place]:.2f}", fontsize=9)
        for axes in grid[len(columns) :]:
            axes.set_visible(False)
        grid[0].legend(frameon=False, fontsize=7)
        figure.supxlabel("rank / (L + 1)")
        figure.supylabel("ECDF − uniform")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def sbc(
    model: Callable[..., Any],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    fitted: Callable[..., Any] | None = None,
    num_simulations: int = 100,
    num_draws: int = 99,
    num_warmup: int = 500,
    num_samples: int = 500,
    num_chains: int = 2,
    target_accept: float = 0.9,
    seed: int = 0,
    engine: str | None = None,
) -> SBC:
    """Draw parameters and data from the program, sample the posterior of those data, and rank the parameters in it.

    Args:
        model: the program, with priors for all that is unknown.
        args, kwargs: what it is called with, data included: of those only the shapes matter, they are drawn anew.
        fitted: the program whose posterior is sampled, if that is another one.
        num_simulations: how many data sets; the test can see what is wrong more sharply the more there are.
        num_draws: L, among how many draws a rank is; they are taken evenly from all draws, to be nearly independent.
        num_warmup, num_samples, num_chains, target_accept: of the sampler, for each data set; chains run side by side.
        seed: the same seed gives the same ranks.
        engine: as in `MCMC`. The compiled density is used again for other data.

    Raises:
        KeyboardInterrupt: Ctrl-C, which ends the study and not only the run that is going on.
        SamplingError: fewer draws than `num_draws`, nothing that is observed, or a site that only one program has.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", 5):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = su.infer.sbc(model, torch.zeros(5), num_simulations=20, num_warmup=100, num_samples=100, num_draws=19)
        >>> found.passed(), found.ranks["mu"].shape
        (True, (20,))
    """
    total = num_chains * num_samples
    if not 1 <= num_draws <= total:
        raise SamplingError(
            f"`num_draws` is {num_draws}, but must be from 1 to the {total} draws of {num_chains} chains of {num_samples}."
        )
    simulator, named = uncondition(model), dict(kwargs or {})
    first = _simulated(model, args, named, 0)
    observed = list(first.observed)
    if not observed:
        raise SamplingError(
            "the program observes nothing as it is called, so there is nothing to simulate. Call it with data, of which only "
            "the shapes matter."
        )

    def conditioned(*values: Tensor) -> Any:
        return condition(uncondition(fitted or model), data=dict(zip(observed, values, strict=True)))(*args, **named)

    mcmc = MCMC(
        NUTS(conditioned, target_accept=target_accept),
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=num_chains,
        progress=False,
    )
    picked = np.linspace(0, total - 1, num_draws).round().astype(int)
    compiled = None
    ranks: dict[str, list[NDArray[np.int64]]] = {}
    divergences = 0
    for k, number in enumerate(np.random.SeedSequence(seed).generate_state(num_simulations, np.uint64).tolist()):
        drawn = _simulated(simulator, args, named, number % 2**63)
        data = [drawn[name].value for name in observed]
        with warnings.catch_warnings():
            if k:
                # What is to be said of the program has been said of the first data.
                warnings.simplefilter("ignore")
            if compiled is None:
                compiled = compile_density(LogDensity(conditioned, data), engine)
            else:
                compiled = compiled.with_data(*data)
            run = replace(mcmc, seed=k).prepared(compiled)
        run.work()
        posterior = run.silently()
        divergences += bool(posterior.stats["diverging"].any())
        for name, draws in posterior.items():
            if name not in drawn:
                raise SamplingError(
                    f"site {name!r} is in the program that is fitted, and not in the one that simulates."
                    f"{suggestion(name, drawn)} Give both the same names for what is to be compared."
                )
            if draws.is_floating_point():
                chosen = draws.flatten(0, 1).numpy()[picked]
                true = torch.as_tensor(drawn[name].value).double().numpy()
                ranks.setdefault(name, []).append((chosen < true).sum(axis=0))
    stacked = {name: np.stack(rows) for name, rows in ranks.items()}
    # What never varies has no rank: a site that is constant is below none of its draws, and above none.
    return SBC(stacked, num_draws, {name: _p_values(rows, num_draws) for name, rows in stacked.items()}, divergences)


@in_double()
def _simulated(simulator: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], number: int) -> Trace:
    with torch.no_grad():
        found: Trace = trace(seeded(simulator, rng_seed=number)).get_trace(*args, **kwargs)
    return found


def _uniform(ranks: NDArray[np.int64], num_draws: int) -> NDArray[np.float64]:
    """Ranks as numbers that are uniform on (0, 1) if the ranks are on 0, …, L: each spread over its share, by a fixed seed."""
    noise = np.random.default_rng(len(ranks)).uniform(size=ranks.shape)
    uniform: NDArray[np.float64] = (ranks + noise) / (num_draws + 1)
    return uniform


def _p_values(ranks: NDArray[np.int64], num_draws: int) -> NDArray[np.float64]:
    """For each quantity of (simulation, *shape) how often uniform ranks are as uneven as these."""
    count, *shape = ranks.shape
    reference = np.sort(_statistic(np.random.default_rng(0).uniform(size=(REFERENCES, count))))
    uniform = _uniform(ranks, num_draws).reshape(count, -1).T
    found = np.searchsorted(reference, _statistic(uniform), side="right")
    p: NDArray[np.float64] = ((found + 1) / (REFERENCES + 1)).reshape(shape)
    return p


def _places(count: int) -> NDArray[np.float64]:
    """Where an ECDF of `count` numbers is looked at."""
    return np.arange(1, count) / count


def _statistic(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""For rows of N numbers, how improbable the ECDF is at the place where it is most so: small for uneven ones.

    .. math:: \gamma = 2 \min_i \min\{\mathrm{Bin}(N F(z_i) \mid N, z_i), 1 - \mathrm{Bin}(N F(z_i) - 1 \mid N, z_i)\}
    """
    from scipy.stats import binom  # type: ignore[import-untyped]

    count = uniform.shape[1]
    z = _places(count)
    below = np.stack([np.searchsorted(np.sort(row), z, side="right") for row in uniform])
    # Few different values: one table of the distribution for each place.
    k = np.arange(count + 1)
    lower = binom.cdf(k[:, None], count, z)
    upper = binom.sf(k[:, None] - 1, count, z)
    column = np.arange(len(z))
    gamma: NDArray[np.float64] = 2.0 * np.minimum(lower[below, column], upper[below, column]).min(axis=1)
    return gamma


def band(count: int, coverage: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Places z, and the band in which the whole ECDF of `count` uniform numbers stays with probability `coverage`.

    Example:
        >>> z, low, up = band(100)
        >>> bool((low <= z).all() and (z <= up).all())
        True
    """
    from scipy.stats import binom

    gamma = np.quantile(_statistic(np.random.default_rng(0).uniform(size=(REFERENCES, count))), 1.0 - coverage)
    z = _places(count)
    return z, binom.ppf(gamma / 2.0, count, z) / count, binom.ppf(1.0 - gamma / 2.0, count, z) / count

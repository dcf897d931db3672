r"""Simulation-based calibration: check that a program and the sampler are consistent with each other.

.. math:: \tilde z \sim p(z), \quad \tilde y \sim p(y \mid \tilde z), \quad z^{(1)}, \dots, z^{(L)} \sim p(z \mid \tilde y)

makes the rank of each :math:`\tilde z_i` among its L draws uniform on 0, …, L. Ranks that are not uniform show an error in the
program or in the sampler, and their shape which: ∪ for posteriors that are too narrow, ∩ for too wide, a slope for biased ones.

References:
    Talts, Betancourt, Simpson, Vehtari, Gelman (2018), arXiv:1804.06788.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.cluster import Lost, Workers
from sursum.cluster.workers import Here
from sursum.common.other_libraries import answers
from sursum.common.patterns import suggestion
from sursum.common.precision import in_double
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, settle, whole_number
from sursum.compiler.compiled import compile_density
from sursum.compiler.scan import rolled
from sursum.core.calling import check_program
from sursum.core.trace import Trace
from sursum.density.log_density import LogDensity
from sursum.distributions.randomness import global_seed
from sursum.errors import SamplingError
from sursum.handlers import condition, trace, uncondition
from sursum.handlers import seed as seeded
from sursum.mcmc import MCMC, NUTS
from sursum.posterior.posterior import Posterior
from sursum.studies.sbc_result import SBCResult, p_values

CHUNKS = 32
"""Into how many parts a study is divided for workers."""


@answers(
    draws="num_samples",
    num_draws="`num_samples=` is for each chain, and `max_rank=` is L, the number of draws that a rank is among",
    thin_ranks="`max_rank=` is the number of draws that a rank is among",
    chains="num_chains",
    warmup="num_warmup",
    warmup_steps="num_warmup",
    tune="num_warmup",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
    n_sims="num_simulations",
)
@dataclass(frozen=True, repr=False)
class SBC:
    """Draw parameters and data from the program, sample the posterior of those data, and rank the parameters in it.

    Args:
        model: the program, with priors for everything unknown.
        fitted: the program whose posterior is sampled, if different.
        num_simulations: the number of data sets; more of them make the test more powerful.
        max_rank: L, the number of draws that a rank is among; they are taken evenly from all draws, to be nearly independent.
        num_warmup, num_samples, num_chains, target_accept: of the sampler, for each data set; chains run in parallel.
        seed: the same seed gives the same ranks; None takes one from torch's global generator, which is otherwise left alone.
        engine: as in `MCMC`. The compiled density is reused for all data.
        on: where the simulations run: None for this process, `su.cluster.Local()` for its cores, `su.cluster.Ray()` for a
            cluster. The ranks are the same.

    Raises:
        SamplingError: an invalid setting, such as fewer draws than `max_rank`.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", 5):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> sbc = su.infer.SBC(model, num_simulations=20, num_warmup=100, num_samples=100, max_rank=19, seed=0)
        >>> found = sbc.run(torch.zeros(5))
        >>> found.passed(), found.ranks["mu"].shape
        (True, (20,))
    """

    model: Callable[..., Any]
    fitted: Callable[..., Any] | None = field(default=None, kw_only=True)
    num_simulations: int = field(default=100, kw_only=True)
    max_rank: int = field(default=99, kw_only=True)
    num_warmup: int = field(default=500, kw_only=True)
    num_samples: int = field(default=500, kw_only=True)
    num_chains: int = field(default=2, kw_only=True)
    target_accept: float = field(default=0.9, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    on: Workers | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        place = self.on is None or isinstance(self.on, Workers)
        check_setting("on", place, self.on, "a place for work or None", SamplingError, "give `su.cluster.Local()`")
        for name, program in (("model", self.model), ("fitted", self.fitted or self.model)):
            check_program(name, program, SamplingError)
        least = {"num_simulations": 2, "max_rank": 1}  # one rank is neither even nor uneven
        usual = {name: f"{type(self).__dataclass_fields__[name].default} is usual" for name in least}
        whole = {name: whole_number(name, getattr(self, name), least[name], SamplingError, usual[name]) for name in least}
        settle(self, whole | {"seed": optional_seed(self.seed, SamplingError)})
        mcmc = self._mcmc(self.model)
        settle(self, {name: getattr(mcmc, name) for name in ("num_warmup", "num_samples", "num_chains")})
        if self.max_rank > self._total:
            raise SamplingError(
                f"`max_rank` is {self.max_rank}, but must be from 1 to the {self._total} draws of {self.num_chains} chains of "
                f"{self.num_samples}: lower it, or raise `num_samples`."
            )

    @property
    def _total(self) -> int:
        return self.num_chains * self.num_samples

    def _mcmc(self, model: Callable[..., Any]) -> MCMC:
        return MCMC(
            NUTS(model, target_accept=self.target_accept),
            num_warmup=self.num_warmup,
            num_samples=self.num_samples,
            num_chains=self.num_chains,
            engine=self.engine,
            cores=None if self.on is None else 1,
            progress=False,
        )

    def run(self, *args: Any, **kwargs: Any) -> SBCResult:
        """Calibrate the program with these arguments, data included: only the shapes of the data matter.

        Raises:
            KeyboardInterrupt: Ctrl-C, which ends the study and not only the current run.
            SamplingError: nothing is observed, or only one of the two programs has a site.
        """
        simulator = uncondition(self.model)
        first = _simulate(self.model, args, kwargs, 0)
        observed = list(first.observed)
        if not observed:
            raise SamplingError(
                "the program observes nothing with these arguments, so there is nothing to simulate. Call it with data; "
                "only their shapes matter."
            )

        picked = np.linspace(0, self._total - 1, self.max_rank).round().astype(int)
        seeds = np.random.SeedSequence(global_seed() if self.seed is None else self.seed)
        numbers = list(enumerate(seeds.generate_state(self.num_simulations, np.uint64).tolist()))
        fitted = uncondition(self.fitted or self.model)
        task = _Simulations(self._mcmc(fitted), simulator, fitted, args, kwargs, tuple(observed), picked)
        places: Workers = Here() if self.on is None else self.on
        # A worker translates the program once for all that it is given together.
        size = self.num_simulations if self.on is None else max(1, self.num_simulations // CHUNKS)
        chunks = [numbers[i : i + size] for i in range(0, len(numbers), size)]
        done: dict[int, Sequence[_Ranks]] = {}
        for number, found in places.map(task, chunks):
            if isinstance(found, Lost):
                these = f"{chunks[number][0][0]} to {chunks[number][-1][0]}"
                raise SamplingError(f"simulations {these} have no result: {found.reason}")
            done[number] = found
        results = [one for number in sorted(done) for one in done[number]]
        divergences = sum(one.diverged for one in results)
        ranks = {name: [one.ranks[name] for one in results] for name in results[0].ranks}
        stacked = {name: np.stack(rows) for name, rows in ranks.items()}
        # A constant site has no rank: it is neither below nor above any of its draws.
        uneven = {name: p_values(rows, self.max_rank) for name, rows in stacked.items()}
        return SBCResult(stacked, self.max_rank, uneven, divergences)


@dataclass(frozen=True)
class _Ranks:
    """The ranks of one simulation, by site."""

    ranks: Mapping[str, NDArray[np.int64]]
    diverged: bool


@dataclass(frozen=True)
class _Simulations:
    """What is done for some simulations, each with its number and a seed; here or in a worker."""

    mcmc: MCMC
    simulator: Callable[..., Any]
    fitted: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    observed: Sequence[str]
    picked: NDArray[np.int64]

    def __call__(self, numbers: Sequence[tuple[int, int]]) -> list[_Ranks]:
        compiled = None
        results = []
        for k, number in numbers:
            drawn = _simulate(self.simulator, self.args, self.kwargs, number % 2**63)
            data = [drawn[name].value for name in self.observed]
            with warnings.catch_warnings():
                if k:
                    # Warnings about the program have been issued for the first data.
                    warnings.simplefilter("ignore")
                if compiled is None:
                    compiled = compile_density(LogDensity(rolled(self.conditioned), data), self.mcmc.engine)
                else:
                    compiled = compiled.with_data(*data)
                run = replace(self.mcmc, seed=k).prepared(compiled)
            run.work()
            results.append(self.ranks(run.silently(), drawn))
        return results

    def conditioned(self, *values: Tensor) -> Any:
        """The fitted program on simulated data."""
        return condition(self.fitted, data=dict(zip(self.observed, values, strict=True)))(*self.args, **self.kwargs)

    def ranks(self, posterior: Posterior, drawn: Trace) -> _Ranks:
        """Of what was drawn, in the posterior of its data."""
        ranks = {}
        for name, draws in posterior.items():
            if name not in drawn:
                raise SamplingError(
                    f"site {name!r} is in the program that is fitted, but not in the one that simulates."
                    f"{suggestion(name, drawn)} Use the same names in both for what is to be compared."
                )
            if draws.is_floating_point():
                chosen = draws.flatten(0, 1).numpy()[self.picked]
                true = torch.as_tensor(drawn[name].value).double().numpy()
                ranks[name] = (chosen < true).sum(axis=0)
        return _Ranks(ranks, bool(posterior.stats["diverging"].any()))


@in_double()
def _simulate(simulator: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], number: int) -> Trace:
    with torch.no_grad():
        found: Trace = trace(seeded(simulator, rng_seed=number)).get_trace(*args, **kwargs)
    return found

r"""Simulation-based calibration: check that a program and the sampler are consistent with each other.

.. math:: \tilde z \sim p(z), \quad \tilde y \sim p(y \mid \tilde z), \quad z^{(1)}, \dots, z^{(L)} \sim p(z \mid \tilde y)

makes the rank of each :math:`\tilde z_i` among its L draws uniform on 0, …, L. Ranks that are not uniform show an error in the
program or in the sampler, and their shape which: ∪ for posteriors that are too narrow, ∩ for too wide, a slope for biased ones.

The prior may be far from any posterior that matters. Posterior SBC asks the same near the one at hand: with :math:`p(z \mid y)`
in place of the prior, and :math:`p(z \mid y, \tilde y)` in place of the posterior.

References:
    Talts, Betancourt, Simpson, Vehtari, Gelman (2018), arXiv:1804.06788. Säilynoja, Schmitt, Bürkner, Vehtari (2025), Posterior
    SBC: simulation-based calibration checking conditional on data.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.cluster import Lost, Workers
from sursum.common.other_libraries import answers
from sursum.common.patterns import suggestion
from sursum.common.precision import in_double
from sursum.common.progress import ProgressState, display_for
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, settle, whole_number
from sursum.common.shown import abbreviate
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
from sursum.predict.predictive import Predictive
from sursum.studies.again import observe_again
from sursum.studies.sbc_result import SBCResult, rank_p_values

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
        posterior: of the program and the data that `run` is called with: parameters are drawn from it, and data that the
            program draws there are observed beside the given ones (posterior SBC). None draws parameters from the prior, and
            data in place of the given ones.
        method: what is checked, if it is not NUTS: a function from a program, which has its data and takes no arguments, and a
            seed, to a `Posterior`, such as ``lambda program, seed: su.infer.Laplace(program, seed=seed).run()``.
        num_simulations: the number of data sets; more of them make the test more powerful.
        max_rank: L, the number of draws that a rank is among; they are taken evenly from all draws, to be nearly independent.
        num_warmup, num_samples, num_chains, target_accept: of the sampler, for each data set; chains run in parallel.
        seed: the same seed gives the same ranks; None takes one from torch's global generator, which is otherwise left alone.
        engine: as in `MCMC`. The compiled density is reused for all data.
        progress: whether to show it; None shows it on a terminal or in a notebook.
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
    posterior: Posterior | None = field(default=None, kw_only=True)
    method: Callable[[Callable[..., Any], int], Posterior] | None = field(default=None, kw_only=True)
    num_simulations: int = field(default=100, kw_only=True)
    max_rank: int = field(default=99, kw_only=True)
    num_warmup: int = field(default=500, kw_only=True)
    num_samples: int = field(default=500, kw_only=True)
    num_chains: int = field(default=2, kw_only=True)
    target_accept: float = field(default=0.9, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)
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
        drawn = self.posterior is None or isinstance(self.posterior, Posterior)
        check_setting("posterior", drawn, self.posterior, "a Posterior", SamplingError, "give that of the data")
        own = self.method is None or callable(self.method)
        check_setting(
            "method", own, self.method, "a function", SamplingError, "give one from a program and a seed to a Posterior"
        )
        if self.method is None and self.max_rank > self._total:
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
        first = _simulate(self.model, args, kwargs, 0)
        observed = tuple(first.observed)
        if not observed:
            raise SamplingError(
                "the program observes nothing with these arguments, so there is nothing to simulate. Call it with data; "
                "only their shapes matter."
            )
        seeds = np.random.SeedSequence(global_seed() if self.seed is None else self.seed)
        numbers = list(enumerate(seeds.generate_state(self.num_simulations, np.uint64).tolist()))
        if self.posterior is None:
            truth: _FromPrior | _FromPosterior = _FromPrior(uncondition(self.model), args, kwargs, observed)
            fitted: _conditioned | _beside = _conditioned(uncondition(self.fitted or self.model), observed)
        else:
            truth = _FromPosterior.drawn(self.model, self.posterior, args, kwargs, observed, numbers)
            fitted = _beside(self.fitted or self.model, observed)
        task = _Simulations(self._mcmc(fitted), self.method, fitted, args, kwargs, truth, self.max_rank)
        results = self._results(task, numbers)
        divergences = sum(one.diverged for one in results)
        ranks = {name: [one.ranks[name] for one in results] for name in results[0].ranks}
        stacked = {name: np.stack(rows) for name, rows in ranks.items()}
        # A constant site has no rank: it is neither below nor above any of its draws.
        uneven = {name: rank_p_values(rows, self.max_rank) for name, rows in stacked.items()}
        return SBCResult(stacked, self.max_rank, uneven, divergences)

    def _results(self, task: _Simulations, numbers: Sequence[tuple[int, int]]) -> list[_Ranks]:
        display, found = display_for(self.progress), dict[int, Sequence[_Ranks]]()

        def show() -> ProgressState:
            done = sum(map(len, found.values()))
            return ProgressState(done, len(numbers), (f"{done}/{len(numbers)} simulations",))

        try:
            if self.on is None:
                for k, one in enumerate(task.each(numbers)):
                    found[k] = [one]
                    display.update(show)
            else:
                # A worker translates the program once for all that it is given together.
                size = max(1, self.num_simulations // CHUNKS)
                chunks = [numbers[i : i + size] for i in range(0, len(numbers), size)]
                for number, results in self.on.map(task, chunks):
                    if isinstance(results, Lost):
                        these = f"{chunks[number][0][0]} to {chunks[number][-1][0]}"
                        raise SamplingError(f"simulations {these} have no result: {results.reason}")
                    found[number] = results
                    display.update(show)
        finally:
            display.close()
        return [one for number in sorted(found) for one in found[number]]


@dataclass(frozen=True)
class _FromPrior:
    """Parameters from the prior, and data in place of the given ones."""

    simulator: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    observed: Sequence[str]

    def __call__(self, k: int, seed: int) -> tuple[Mapping[str, Tensor], list[Tensor]]:
        drawn = _simulate(self.simulator, self.args, self.kwargs, seed % 2**63)
        return {name: torch.as_tensor(drawn[name].value) for name in drawn if drawn[name].value is not None}, [
            drawn[name].value for name in self.observed
        ]


@dataclass(frozen=True)
class _FromPosterior:
    """Parameters from a posterior, evenly over its draws, and data that the program gives there."""

    truths: Sequence[Mapping[str, Tensor]]
    data: Sequence[Sequence[Tensor]]

    @classmethod
    def drawn(
        cls,
        model: Callable[..., Any],
        posterior: Posterior,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        observed: Sequence[str],
        numbers: Sequence[tuple[int, int]],
    ) -> _FromPosterior:
        total = posterior.num_chains * posterior.num_samples
        if total < len(numbers):
            raise SamplingError(
                f"`posterior` has {total} draws, and each of {len(numbers)} simulations starts from a different one. Draw "
                "more, or lower `num_simulations`."
            )
        rows = torch.from_numpy(np.linspace(0, total - 1, len(numbers)).round().astype(np.int64))
        draws = {name: value.flatten(0, 1)[rows] for name, value in posterior.items()}
        latents = {name: draws[name] for name in posterior.latents or draws}
        seed = numbers[0][1] % 2**31
        found = Predictive(model, latents, replicate=True, seed=seed, sites=observed)(*args, **kwargs)
        return cls(
            [{name: value[k] for name, value in draws.items()} for k in range(len(numbers))],
            [[found[name][k] for name in observed] for k in range(len(numbers))],
        )

    def __call__(self, k: int, seed: int) -> tuple[Mapping[str, Tensor], list[Tensor]]:
        return self.truths[k], list(self.data[k])


@dataclass(frozen=True)
class _conditioned:
    """The fitted program on simulated data, which come first."""

    fitted: Callable[..., Any]
    observed: Sequence[str]

    def __call__(self, values: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        return condition(self.fitted, data=dict(zip(self.observed, values, strict=True)))(*args, **kwargs)


@dataclass(frozen=True)
class _beside:
    """The fitted program on its data and on simulated ones, which come first."""

    fitted: Callable[..., Any]
    observed: Sequence[str]

    def __call__(self, values: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        return observe_again(self.fitted)(dict(zip(self.observed, values, strict=True)), *args, **kwargs)


@dataclass(frozen=True)
class _Ranks:
    """The ranks of one simulation, by site."""

    ranks: Mapping[str, NDArray[np.int64]]
    diverged: bool


@dataclass(frozen=True)
class _Simulations:
    """What is done for some simulations, each with its number and a seed; here or in a worker."""

    mcmc: MCMC
    method: Callable[[Callable[..., Any], int], Posterior] | None
    fitted: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    truth: _FromPrior | _FromPosterior
    max_rank: int

    def __call__(self, numbers: Sequence[tuple[int, int]]) -> list[_Ranks]:
        return list(self.each(numbers))

    def each(self, numbers: Sequence[tuple[int, int]]) -> Iterator[_Ranks]:
        """The ranks of each simulation."""
        compiled = None
        for k, number in numbers:
            drawn, data = self.truth(k, number)
            with warnings.catch_warnings():
                if k:
                    # Warnings about the program have been issued for the first data.
                    warnings.simplefilter("ignore")
                if self.method is not None:
                    found = self.method(partial(self.fitted, data, *self.args, **self.kwargs), k)
                    if not isinstance(found, Posterior):
                        raise SamplingError(f"`method` returned {abbreviate(found)}, but must return a Posterior.")
                else:
                    if compiled is None:
                        compiled = compile_density(LogDensity(rolled(self.program), data), self.mcmc.engine)
                    else:
                        compiled = compiled.with_data(*data)
                    run = replace(self.mcmc, seed=k).prepared(compiled)
                    run.work()
                    found = run.silently()
            yield self.ranks(found, drawn)

    def program(self, *values: Tensor) -> Any:
        """The fitted program on simulated data."""
        return self.fitted(values, *self.args, **self.kwargs)

    def ranks(self, posterior: Posterior, drawn: Mapping[str, Tensor]) -> _Ranks:
        """Of what was drawn, in the posterior of its data."""
        total = posterior.num_chains * posterior.num_samples
        if total < self.max_rank:
            raise SamplingError(
                f"`method` gave {total} draws, fewer than `max_rank`, {self.max_rank}. Draw more, or lower that."
            )
        picked = np.linspace(0, total - 1, self.max_rank).round().astype(int)
        ranks = {}
        for name, draws in posterior.items():
            if name not in drawn:
                raise SamplingError(
                    f"site {name!r} is in the program that is fitted, but not in the one that simulates."
                    f"{suggestion(name, drawn)} Use the same names in both for what is to be compared."
                )
            if draws.is_floating_point():
                chosen, true = draws.flatten(0, 1).numpy()[picked], drawn[name].detach().double().numpy()
                if chosen.shape[1:] != true.shape:
                    raise SamplingError(
                        f"site {name!r} has shape {chosen.shape[1:]} in the program that is fitted, and {true.shape} in the "
                        "one that simulates. Compare sites of the same shape, or give one of the two another name."
                    )
                ranks[name] = (chosen < true).sum(axis=0)
        diverging = posterior.stats.get("diverging")
        return _Ranks(ranks, diverging is not None and bool(diverging.any()))


@in_double()
def _simulate(simulator: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], number: int) -> Trace:
    with torch.no_grad():
        found: Trace = trace(seeded(simulator, rng_seed=number)).get_trace(*args, **kwargs)
    return found

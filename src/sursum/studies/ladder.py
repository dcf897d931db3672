"""`Ladder`: from a point estimate to NUTS on one program, as far up as the question needs."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sursum import optim
from sursum.common.other_libraries import answers
from sursum.common.progress import SOON, display_for, waiting
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, real_number, settle, whole_number
from sursum.common.site_names import chosen_sites
from sursum.distributions.randomness import global_seed
from sursum.draws.psis import LIMIT, smooth, upper_k
from sursum.errors import DiagnosticWarning, OptionError, SursumError
from sursum.mcmc import MCMC, NUTS
from sursum.optimise import Fit, FitResult, Laplace, Pathfinder
from sursum.posterior.posterior import Posterior
from sursum.studies.ladder_result import LadderResult, Rung
from sursum.vi import SVI, EarlyStopping
from sursum.vi.autoguide import AutoMultivariateNormal, AutoNormal, init_to_value

Array = NDArray[np.float64]

METHODS = ("mode", "laplace", "pathfinder", "vi", "nuts")

STEPS = 2000
"""The most steps of variational inference."""

FULL_RANK = 100
"""Up to this many unknowns the guide has a full covariance."""


@answers(draws="num_samples", num_draws="num_samples", random_seed="seed", rng_seed="seed", tol="tolerance", sites="quantities")
@dataclass(frozen=True, repr=False)
class Ladder:
    r"""Climb from a point estimate to NUTS, and stop where a better method would not change what is asked.

    The rungs are the mode, Laplace's approximation, Pathfinder, variational inference with a Gaussian guide, and NUTS. Each
    starts from the last: at its values, and NUTS at its draws, with its metric and a short warm-up where it can be trusted. An
    approximation q is judged by its importance weights :math:`w_s = p(z_s) / q(z_s)`: if their Pareto k is at most 0.7, they
    tell how far the mean and sd of a quantity f would move if q were exact,

    .. math:: \max\left(\frac{|E_w[f] - E_q[f]|}{\mathrm{sd}_w[f]},\
        \left|\log \frac{\mathrm{sd}_w[f]}{\mathrm{sd}_q[f]}\right|\right)

    and the climb ends where that is at most `tolerance` for all of them. k is an estimate, with a standard error of
    :math:`(1 + k) / \sqrt M` from the M largest weights: two of them are added before it is held against 0.7. Of approximations
    whose true k is 0.8 about 2 in 100 end the climb so, where the estimate alone would let nearly half; one whose k is 0.5 ends
    it in half of all runs, and NUTS follows in the others.

    Args:
        model: the program, with or without handlers around it.
        quantities: what is asked: names of sites, or a function from a `Posterior` to draws by name, (chain, draw, *shape),
            such as ``lambda posterior: posterior.predict(x_new, seed=0)``; None is all sites.
        tolerance: the change that counts, in posterior sds.
        methods: the rungs, in order.
        num_samples: draws of each approximation, and of all chains of NUTS together.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        progress: whether to show which rung is climbed; None shows it on a terminal or in a notebook.

    Raises:
        OptionError: an invalid setting.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25. Yao, Vehtari, Simpson,
        Gelman (2018), Yes, but did it work? Evaluating variational inference, ICML.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = su.infer.Ladder(model, seed=0).run(torch.tensor([1.0, 2.0, 3.0]))
        >>> [rung.method for rung in found.rungs]
        ['mode', 'laplace']
        >>> abs(float(found.posterior["mu"].mean()) - 1.5) < 0.1
        True
    """

    model: Callable[..., Any]
    quantities: Sequence[str] | Callable[[Posterior], Mapping[str, Tensor]] | None = None
    tolerance: float = field(default=0.1, kw_only=True)
    methods: Sequence[str] = field(default=METHODS, kw_only=True)
    num_samples: int = field(default=4000, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        samples = whole_number("num_samples", self.num_samples, 100, OptionError, "4000 is usual")
        settle(self, {"num_samples": samples, "seed": optional_seed(self.seed, OptionError)})
        real_number("tolerance", self.tolerance, OptionError, "0.1 posterior sds is usual", above=0, finite=False)
        methods = not isinstance(self.methods, str) and len(self.methods) > 0 and all(one in METHODS for one in self.methods)
        check_setting("methods", methods, self.methods, f"some of {METHODS}", OptionError, "leave it out for all")
        named = isinstance(self.quantities, str)
        check_setting("quantities", not named, self.quantities, "a list of names or a function", OptionError, "give ['mu']")

    def run(self, *args: Any, **kwargs: Any) -> LadderResult:
        """Climb with these arguments of the program.

        A rung that fails, such as Laplace's approximation where there is no mode, is recorded with its reason and passed.

        Raises:
            SursumError: the program cannot be run, or no rung has draws.
            Exception: any exception of the program.
        """
        seed = global_seed() if self.seed is None else self.seed
        rungs: list[Rung] = []
        count = len(self.methods)
        below: FitResult | Posterior | None = None
        last: SursumError | None = None
        for number, method in enumerate(self.methods, 1):
            began = time.perf_counter()
            shown = False if method == "nuts" else self.progress  # its chains show how far they are
            try:
                # What would be warned of is in the table.
                with warnings.catch_warnings(), waiting(f"rung {number} of {count}: {method}", display_for(shown, SOON)):
                    if method != "nuts":
                        warnings.simplefilter("ignore", DiagnosticWarning)
                    found = self._climb(method, below, seed, args, kwargs)
            except SursumError as error:
                last = error
                rungs.append(Rung(method, None, {}, {}, None, None, time.perf_counter() - began, _first_sentence(error)))
                continue
            rung = self._judge(method, found, time.perf_counter() - began)
            rungs.append(rung)
            below = found
            if rung.is_enough(self.tolerance):
                return LadderResult(tuple(rungs), self.tolerance, _say_enough(rung, self.tolerance))
        if not any(rung.posterior is not None for rung in rungs):
            if last is not None:
                raise last
            raise OptionError(f"`methods` is {self.methods!r}, which has no rung with draws. Leave it out for all of them.")
        top = rungs[-1]
        reason = "No approximation was enough; NUTS was run." if top.method == "nuts" else "The last rung was climbed."
        return LadderResult(tuple(rungs), self.tolerance, reason)

    def _climb(
        self, method: str, below: FitResult | Posterior | None, seed: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> FitResult | Posterior:
        """The result of one method, started from the one below."""
        start = _centre(below)
        if method == "mode":
            return Fit(self.model, seed=seed).run(*args, **kwargs)
        if method == "laplace":
            return Laplace(self.model, num_samples=self.num_samples, init=start, seed=seed).run(*args, **kwargs)
        if method == "pathfinder":
            return Pathfinder(self.model, num_samples=self.num_samples, init=start, seed=seed).run(*args, **kwargs)
        if method == "vi":
            return self._by_guide(below, start, seed, args, kwargs)
        return self._by_nuts(below, seed, args, kwargs)

    def _by_guide(
        self,
        below: FitResult | Posterior | None,
        start: Mapping[str, Tensor] | None,
        seed: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Posterior:
        options: dict[str, Any] = {} if start is None else {"init_loc_fn": init_to_value(start)}
        dim = below.unconstrained.shape[-1] if below is not None else 0
        if isinstance(below, Posterior):
            options["init_scale"] = float(np.median(below.unconstrained.reshape(-1, dim).std(0)))
        guide = (AutoMultivariateNormal if dim <= FULL_RANK else AutoNormal)(self.model, **options)
        stopping = EarlyStopping(window=100, patience=5)
        svi = SVI(self.model, guide, optim.Adam({"lr": 0.02}), seed=seed, early_stopping=stopping, progress=False)
        svi.run(STEPS, *args, **kwargs)
        return svi.sample(self.num_samples)

    def _by_nuts(
        self, below: FitResult | Posterior | None, seed: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Posterior:
        # Draws that can be trusted give the metric as well, and the warm-up is short then.
        start = below if isinstance(below, Posterior) and bool(np.isfinite(below.stats["lp"]).all()) else None
        draws = max(1, self.num_samples // 4)
        return MCMC(NUTS(self.model), num_samples=draws, seed=seed, progress=self.progress, init=start).run(*args, **kwargs)

    def _judge(self, method: str, found: FitResult | Posterior, seconds: float) -> Rung:
        if isinstance(found, FitResult):
            names = list(found.sites) if self.quantities is None or callable(self.quantities) else list(self.quantities)
            means = {name: _array(found[name]) for name in names if name in found.sites}
            nothing = {name: np.full(value.shape, np.nan) for name, value in means.items()}
            return Rung(method, None, means, nothing, None, None, seconds)
        asked = self._find_asked(found).items()
        draws = {name: value.reshape(value.shape[0] * value.shape[1], *value.shape[2:]) for name, value in asked}
        means, sds = {n: v.mean(0) for n, v in draws.items()}, {n: v.std(0) for n, v in draws.items()}
        k = found.pareto_k
        upper = None if k is None else upper_k(k, self._weights_behind(method, found))
        change = None
        if k is not None and not k > LIMIT:
            # Draws of Pathfinder were resampled by their weights: what is left is the error of as many distinct ones.
            distinct = len(np.unique(found.stats["lp"])) if method == "pathfinder" else 0
            change = 2.0 / distinct**0.5 if distinct else _change(draws, found.stats["log_weight"].ravel())
        return Rung(method, found, means, sds, k, change, seconds, upper_k=upper)

    def _weights_behind(self, method: str, found: Posterior) -> int:
        """How many weights a Pareto k is of: those of all paths, where draws were resampled."""
        if method != "pathfinder":
            return int(found.stats["log_weight"].size)
        paths = Pathfinder(self.model)
        return paths.num_samples_per_path * paths.num_paths

    def _find_asked(self, posterior: Posterior) -> dict[str, Array]:
        if callable(self.quantities):
            return {name: _array(value) for name, value in self.quantities(posterior).items()}
        names = chosen_sites(self.quantities, posterior.sites, "these draws")
        return {name: _array(posterior[name]) for name in names}


def _centre(below: FitResult | Posterior | None) -> Mapping[str, Tensor] | None:
    """The values at which the next rung starts: those of the mode, or of the most probable draw."""
    if below is None or isinstance(below, FitResult):
        return None if below is None else below.sites
    if below.mode is not None:
        return below.mode
    best = int(np.argmax(below.stats["lp"].ravel()))
    return {name: below[name].flatten(0, 1)[best] for name in below.latents}


def _change(draws: Mapping[str, Array], log_weights: Array) -> float:
    """How far means, in sds, and logarithms of sds move by weights."""
    weights = np.exp(smooth(log_weights).log_weights)
    largest = 0.0
    for value in draws.values():
        flat = value.reshape(len(value), math.prod(value.shape[1:]))
        mean, sd = flat.mean(0), flat.std(0)
        moved = weights @ flat
        spread = np.sqrt(weights @ (flat - moved) ** 2)
        varies = (sd > 0) & (spread > 0)
        if varies.any():
            shift = np.abs(moved - mean)[varies] / spread[varies]
            largest = max(largest, float(shift.max()), float(np.abs(np.log(spread[varies] / sd[varies])).max()))
    return largest


def _array(value: Tensor) -> Array:
    found: Array = value.detach().cpu().double().numpy()
    return found


def _say_enough(rung: Rung, tolerance: float) -> str:
    if rung.method == "pathfinder":
        return f"pathfinder is enough: its draws are weighted, and accurate to {rung.change:.2f} sds, of {tolerance:g} allowed."
    moves = f"{rung.change:.2f} sds, of {tolerance:g} allowed"
    return f"{rung.method} is enough: by its weights no quantity moves by more than {moves}."


def _first_sentence(error: BaseException) -> str:
    return str(error).split(". ")[0].splitlines()[0]

"""`Fit`: maximum likelihood, or the mode of a posterior, of a program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.other_libraries import answers
from sursum.common.precision import in_double
from sursum.common.progress import SOON, display_for, waiting
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, settle
from sursum.common.shown import abbreviate
from sursum.common.user_frame import warn
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.compiler.engine import DENSITY_ENGINES, ENGINES
from sursum.compiler.scan import rolled
from sursum.core.calling import run_program, valued
from sursum.core.messages import Site
from sursum.density.log_density import LogDensity
from sursum.density.search import runs
from sursum.density.unobserved import announce_unobserved
from sursum.distributed.group import is_distributed
from sursum.distributed.ranks import led
from sursum.distributed.shard import sharded
from sursum.distributions.randomness import global_seed
from sursum.errors import DensityError, DiagnosticWarning, EngineWarning, OptimisationError, ShardError
from sursum.handlers import ParamStore, lift, substitute
from sursum.optim import as_optim
from sursum.optimise.checks import check_settings
from sursum.optimise.evaluator import evaluator, watched
from sursum.optimise.fit_result import FitResult, started, with_buffers
from sursum.optimise.maximise import Iterate, Maximum, maximise
from sursum.optimise.torch_loop import ascend
from sursum.posterior.init import Init, buffers_by_name, check_names, values_by_name
from sursum.priors import flat

Array = NDArray[np.float64]
NUM_STEPS = 1000
_STILL = 1e-2
_AROUND = 0.1
_FAR = 12.0
_RISING = 1e-2
_UNBOUNDED = (
    "Not converged: the log density grows without bound towards the boundary of the support of {site!r}, and stops only "
    "because of rounding. Give the site a different prior, or maximise with `jacobian=True`."
)


@answers(
    optimizer="optim",
    optimiser="optim",
    method="L-BFGS is taken where there is no `optim=`",
    lr="it is one of the optimiser's: `optim=su.optim.Adam({'lr': 0.01})`",
    learning_rate="it is one of the optimiser's: `optim=su.optim.Adam({'lr': 0.01})`",
    steps="num_steps",
    num_iterations="num_steps",
    n_steps="num_steps",
    iter="num_steps",
    maxiter="num_steps",
    maxeval="num_steps",
    inits="init",
    initvals="init",
    init_params="init",
    start="init",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
)
@dataclass(frozen=True, repr=False)
class Fit:
    r"""Maximise the log density of a program over its parameters and latent sites.

    .. math:: \hat\theta, \hat z = \operatorname{argmax}_{\theta, z} \log p(y, z \mid \theta)

    With parameters only this is maximum likelihood; with latent sites only it is the mode of the posterior (MAP); with
    both they are maximised jointly. A hierarchical program whose scale is a parameter or a latent site usually has no joint
    maximum: its density grows without bound as the scale goes to 0. Use `Laplace`, `Pathfinder` or NUTS there.

    Args:
        model: the program. Frozen parameters of networks stay as they are.
        init: where to start, values by site name: a mapping, a `ParamStore`, an earlier `FitResult`, a `Posterior`. Other
            sites start at the program's own values, or at 0 in unconstrained coordinates.
        jacobian: whether the log-Jacobian of the latent sites' supports is added. Without it (also Stan's default) the mode is
            that of the density of the constrained values; with it, that of the density that samplers see, where
            a Gaussian approximation is built. Parameters are unaffected: they have no density.
        optim: None for L-BFGS on the compiled gradient; or ``su.optim.Adam({"lr": 0.01})`` or another of `su.optim`, a torch
            optimiser's class, or a function from a list of tensors to a torch optimiser. It runs the program itself in every
            step, so the program may subsample plates.
        num_steps: the number of steps, at most (L-BFGS) or exactly (`optim`).
        seed: for the subsamples; None takes one from torch's global generator, which is otherwise left alone.
        engine: what computes the gradients: "native", "torch", or with `optim` also "eager", the program itself. None chooses
            by a fixed rule, and the result says which: C for L-BFGS, and for an `optim` whose arithmetic the loop in C has
            (SGD, Adam, AdamW, Adagrad, RMSprop) where the program is small, its data are no loader and there are at least a
            thousand steps; otherwise torch, in the program's own dtype.
        progress: whether to show it; None shows it on a terminal or in a notebook, from the second second on.

    Raises:
        OptimisationError: an invalid setting.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> from sursum.distributions import constraints
        >>> def model(y):
        ...     mu = su.param("mu", torch.tensor(0.0))
        ...     sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, sigma), obs=y)
        >>> print(su.infer.Fit(model).run(torch.tensor([1.0, 2.0, 3.0, 6.0])))
               value  standard error
        mu         3            0.94
        sigma  1.871            0.66
        <BLANKLINE>
        log density -8.18128 by the native engine. Converged after 16 steps.
    """

    model: Callable[..., Any]
    init: Init = field(default=None, kw_only=True)
    jacobian: bool = field(default=False, kw_only=True)
    optim: Any = field(default=None, kw_only=True)
    num_steps: int = field(default=NUM_STEPS, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_settings(self, ENGINES if self.optim is None else DENSITY_ENGINES, num_steps=NUM_STEPS)
        flag = self.progress is None or isinstance(self.progress, bool)
        check_setting("progress", flag, self.progress, "True, False or None", OptimisationError, "leave it out")
        if not isinstance(self.jacobian, bool):
            raise OptimisationError(f"`jacobian` is {abbreviate(self.jacobian)}, but must be True or False.")
        if self.optim is not None:
            settle(self, {"optim": as_optim(self.optim, OptimisationError)})

    @led
    def run(self, *args: Any, **kwargs: Any) -> FitResult:
        """Maximise the log density of the program with these arguments. May be called again, with different data.

        Returns:
            The maximum, by name, with standard errors.

        Raises:
            DensityError: the program has nothing to fit; its log density is not finite at the start.
            OptimisationError: a loss that is NaN; a log density that grows until the program fails, naming the site
                along which it grows.

        Warns:
            DiagnosticWarning: no maximum was reached; without `optim`, there are no data.
            EngineWarning: with `optim`, the program runs but cannot be compiled: there are values but no standard errors.
            ObservationWarning: no site is observed, and there is no factor.
        """
        found = self._compile(args, kwargs) if self.optim is None else self._by_steps(args, kwargs)
        if not found.converged:
            warn(found.message, DiagnosticWarning)
        return found

    def _compile(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FitResult:
        display = display_for(self.progress, SOON)
        with waiting("compiling", display):
            compiled, parameters = _density(self.model, args, kwargs, self.jacobian, self.engine)
        announce_unobserved(compiled.density.unobserved)
        start = start_point(compiled, self.init)
        _check_data(compiled.density, parameters, start)
        try:
            found = maximise(watched(evaluator(compiled), display), start, self.num_steps)
        finally:
            display.close()
        store = ParamStore()
        edge = _endless(compiled, found.point)
        try:
            sites = _sites(compiled.density, found.point.q)
        except (ValueError, torch.linalg.LinAlgError) as error:
            far = compiled.density.site_at(int(np.abs(found.point.q - start.q).argmax()))
            raise OptimisationError(
                f"the log density has no maximum: it grows without bound along {far!r}, to {found.point.value:.4g} where the "
                f"program fails, by: {error}\nThis happens if a scale may go to 0 and the data do not vary. "
                "Give that site a prior, or a constraint, that prevents it."
            ) from error
        latents = {latent.name: sites[latent.name] for latent in compiled.density.latents if latent.name not in parameters}
        _adopt(store, self.model, args, kwargs, latents)
        for latent in compiled.density.latents:
            if latent.name in parameters:
                free = torch.from_numpy(found.point.q[latent.start : latent.stop]).to(latent.dtype).reshape(latent.free_shape)
                store.unconstrained[latent.name] = free.clone().requires_grad_()
        return FitResult(
            sites,
            tuple(latent.name for latent in compiled.density.latents),
            store,
            started(self.model, values=sites),
            found.point.value,
            found.converged and edge is None,
            describe(found, compiled.density, self.num_steps) if edge is None else _UNBOUNDED.format(site=edge),
            found.steps,
            found.point.q,
            compiled,
            engine=compiled.engine,
        )

    def _by_steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FitResult:
        if is_distributed() and sharded(self.model) is not None:
            raise ShardError(
                "`Fit` with `optim` does not divide the rows of a program over ranks. Leave `optim` out, or use SVI with "
                "AutoDelta."
            )
        values = values_by_name(self.init, np.random.default_rng(0))
        ended = ascend(
            self.model,
            args,
            kwargs,
            values=values,
            held=buffers_by_name(self.init, np.random.default_rng(0)),
            jacobian=self.jacobian,
            optim=self.optim,
            num_steps=self.num_steps,
            rng_seed=global_seed() if self.seed is None else self.seed,
            engine=self.engine,
            display=display_for(self.progress, SOON),
        )
        check_names(self.init, ended.met)
        sites = ended.values()
        fitted = tuple(sites)
        rise, error = ended.trend()
        converged = rise <= max(2.0 * error, _STILL)
        total = float(ended.log_density[-max(self.num_steps // 10, 1) :].mean())
        q, compiled = np.empty(0), None
        if not ended.subsampled:
            try:
                compiled, _ = _density(self.model, args, kwargs, self.jacobian, None if self.engine == "eager" else self.engine)
                q = compiled.density.start(np.random.default_rng(0), sites, jitter=0.0, spread=0.0)
                sites, total = _sites(compiled.density, q), compiled.value_and_grad(q)[0]
            except Exception as failure:  # any error: the steps have been taken, and the program ran in each of them
                q, compiled = np.empty(0), None
                sites, total = ended.scored()
                warn(
                    f"the fit has no standard errors, and its `density` is None, because the program cannot be compiled: "
                    f"{failure} The values are those at the last step.",
                    EngineWarning,
                )
        return FitResult(
            sites,
            fitted,
            ended.store,
            with_buffers(started(self.model, values=sites), ended.buffers),
            total,
            converged,
            _describe_steps(self.num_steps, rise, error, converged),
            self.num_steps,
            q,
            compiled,
            ended.buffers,
            ended.engine,
        )


@dataclass(frozen=True)
class Everything:
    """A flat prior that turns every parameter into coordinates and adds nothing: it remembers the names."""

    names: set[str] = field(default_factory=set)

    def __call__(self, *init: Tensor, name: str, constraint: constraints.Constraint) -> Distribution:
        self.names.add(name)
        return flat(*init, constraint=constraint)

    def has_jacobian(self, site: Site) -> bool:
        """Parameters have no density, so a change of coordinates has no Jacobian."""
        return site.name not in self.names


def _density(model: Any, args: Any, kwargs: Any, jacobian: bool, engine: str | None) -> tuple[CompiledDensity, set[str]]:
    """The log density as a function of parameters and latent sites, and which of them are parameters."""
    parameters = Everything()
    by_site: bool | Callable[[Site], bool] = parameters.has_jacobian if jacobian else False
    density = LogDensity(rolled(lift(model, parameters)), args, kwargs, jacobian=by_site)
    return compile_density(density, engine), parameters.names


def _endless(compiled: CompiledDensity, point: Iterate) -> str | None:
    """The site for which the log density rises towards the boundary of its support up to the limit of rounding.

    At the limit the gradient is exactly 0, because of rounding; just before it, it was not.
    """
    for i in np.flatnonzero((np.abs(point.q) > _FAR) & (point.gradient == 0.0)):
        q = point.q.copy()
        q[i] = np.copysign(_FAR, q[i])
        if np.sign(q[i]) * compiled.value_and_grad(q)[1][i] > _RISING:
            return compiled.density.site_at(int(i))
    return None


def _check_data(density: LogDensity, parameters: Collection[str], start: Iterate) -> None:
    """Warn if parameters are fitted to empty data, and nothing else determines them.

    Warns:
        DiagnosticWarning: every observed site is empty.
    """
    observed = density.observed
    moved = any(start.gradient[one.start : one.stop].any() for one in density.latents if one.name in parameters)
    if parameters and not moved and observed and not any(value.numel() for value in observed.values()):
        warn(
            f"there are no data: every observed site ({', '.join(map(repr, observed))}) is empty, so the "
            f"parameters ({', '.join(map(repr, sorted(parameters)))}) stay where they started.",
            DiagnosticWarning,
        )


def start_point(compiled: CompiledDensity, init: Any, around: np.random.Generator | None = None) -> Iterate:
    """Where an optimiser starts: at initial or given values, otherwise at 0; anywhere near if the density is undefined there.

    With `around`, a source of randomness: within ±0.1 of initial or given values, otherwise anywhere.

    Raises:
        DensityError: the log density or its gradient is not finite, given values or not; names the sites.
    """
    density = compiled.density
    rng = np.random.default_rng(0) if around is None else around
    values = values_by_name(init, rng)
    check_names(init, density.dims)
    first: Array | None = None

    def attempt(number: int) -> Array:
        exact = {"jitter": 0.0, "spread": 0.0} if around is None and not number else {}
        q = density.start(rng, values, **exact)
        return q + rng.uniform(-_AROUND, _AROUND, len(q)) if around is not None and values else q

    for q in runs(attempt, aim="there is nowhere to start"):
        value, gradient = compiled.value_and_grad(q)
        if np.isfinite(value) and np.isfinite(gradient).all():
            return Iterate(q, value, gradient)
        first = q if first is None else first
        if around is None and values.keys() >= {latent.name for latent in density.latents}:
            break
    assert first is not None  # where the program runs nowhere, the search says so
    value, gradient = compiled.value_and_grad(first)
    culprits = density.not_finite(first) or [density.site_at(int(i)) for i in np.flatnonzero(~np.isfinite(gradient))]
    raise DensityError(
        f"there is nowhere to start: the log density or its gradient is not finite, by {', '.join(map(repr, culprits[:3]))}. "
        f"A finite value is needed at the start of the optimiser:\n{density.explain(first)}\n"
        "Give initial values at which the data are possible, by `init` or in the program."
    )


def describe(found: Maximum, density: LogDensity, num_steps: int) -> str:
    """How an optimiser ended, in plain words."""
    steps = f"{found.steps} step{'s' * (found.steps != 1)}"
    if found.converged:
        return f"Converged after {steps}."
    steepest = density.site_at(int(np.abs(found.point.gradient).argmax()))
    left = f"{found.gain:.2g} of log density was left to gain, most steeply by {steepest!r}"
    if found.steps >= num_steps:
        return f"Not converged: stopped after {steps}, when {left}. Raise `num_steps`, or start nearer by `init`."
    return (
        f"Not converged: the optimiser gave up after {steps}, when {left} ({found.reason}). The log density may have no "
        "maximum (a scale that goes to 0, a parameter that the data do not determine) or a kink: check that site, give "
        "it a prior, or start elsewhere by `init`."
    )


def _describe_steps(num_steps: int, rise: float, error: float, converged: bool) -> str:
    """How a fixed number of steps ended, in plain words."""
    if not np.isfinite(rise):
        return f"Not converged: {num_steps} steps are too few to tell. Raise `num_steps`."
    about = f"between the last two tenths of {num_steps} steps the log density rose by {rise:.2g} (standard error {error:.2g})"
    if converged:
        return f"Converged: {about}."
    return f"Not converged: {about}. Raise `num_steps`, or the learning rate."


def _sites(density: LogDensity, q: Array) -> dict[str, Tensor]:
    """The sites at q, in float64."""
    with valued():
        return {name: value.detach().clone() for name, value in density.transform(torch.from_numpy(q)).items()}


def _adopt(store: ParamStore, model: Any, args: Any, kwargs: Any, latents: Mapping[str, Tensor]) -> None:
    """Register the program's parameters in `store`."""
    with valued(), store, substitute(data=latents):
        try:
            run_program(model, args, kwargs)
        except RuntimeError:  # the program may work in double precision only
            with in_double():
                run_program(model, args, kwargs)

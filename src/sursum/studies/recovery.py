"""`Recovery`: simulate data from a program at known values, fit it, and see whether the values are found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.optional_packages import require
from sursum.common.other_libraries import answers
from sursum.common.patterns import suggestion
from sursum.common.precision import in_double
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, settle
from sursum.common.shown import abbreviate
from sursum.common.tables import Headed, Table
from sursum.core.trace import Trace
from sursum.draws.diagnostics import element_name
from sursum.errors import SamplingError
from sursum.handlers import condition, reparam, substitute, trace, uncondition
from sursum.handlers import seed as seeded
from sursum.mcmc import MCMC
from sursum.mcmc.discrete_gibbs import program_of, with_program
from sursum.mcmc.pilots import find_unmeasured
from sursum.posterior.posterior import Posterior
from sursum.studies.many import sampler

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class RecoveryResult(Headed):
    """The values that data were simulated at, and what the posterior of these data says.

    Args:
        truth: the values, by latent site.
        data: what was simulated, by observed site.
        posterior: the posterior of these data.
    """

    truth: Mapping[str, Tensor]
    data: Mapping[str, Tensor]
    posterior: Posterior

    @property
    def share_inside(self) -> float:
        """The share of elements whose value lies in its central 90 % interval: near 0.9 over many simulations."""
        inside = [low <= true <= high for _, true, low, high, _, _ in self._rows()]
        return float(np.mean(inside))

    def z(self, name: str) -> Array:
        """How many posterior sds the posterior mean of a site is above the value."""
        draws = np.asarray(self.posterior[name])
        found: Array = (draws.mean((0, 1)) - self.truth[name].double().numpy()) / draws.std((0, 1))
        return found

    def _rows(self) -> list[tuple[str, float, float, float, float, float]]:
        rows = []
        for name, true in self.truth.items():
            draws = np.asarray(self.posterior[name], dtype=np.float64)
            flat = draws.reshape(draws.shape[0] * draws.shape[1], *draws.shape[2:])
            low, high = np.quantile(flat, [0.05, 0.95], axis=0)
            for place in np.ndindex(true.shape):
                column = flat[(slice(None), *place)]
                value = float(true[place])
                rows.append((element_name(name, place), value, low[place], high[place], column.mean(), column.std()))
        return rows

    def _table(self) -> Table:
        rows = [("site", "value", "mean", "sd", "90 % interval", "")]
        for name, true, low, high, mean, sd in self._rows():
            inside = "" if low <= true <= high else "outside"
            rows.append((name, f"{true:.3g}", f"{mean:.3g}", f"{sd:.2g}", f"{low:.3g} … {high:.3g}", inside))
        return Table(rows)

    def _head(self) -> str:
        rows = self._rows()
        inside = sum(low <= true <= high for _, true, low, high, _, _ in rows)
        return f"{inside} of {len(rows)} values are in their 90 % intervals."

    def plot(self, path: str | os.PathLike[str] | None = None, *, limit: int = 60) -> Any:
        """A plot of each element: its 90 % interval and mean beside the value, in posterior sds.

        Args:
            path: a file to write.
            limit: how many elements to show.

        Returns:
            The matplotlib figure.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        rows = self._rows()[:limit]
        figure = figures.Figure(figsize=(5.6, 0.22 * len(rows) + 1.0), layout="constrained")
        axes = figure.subplots()
        at = np.arange(len(rows))[::-1]
        _, true, low, high, mean, sd = (np.array(column) for column in zip(*rows, strict=True))
        unit = np.maximum(sd.astype(float), 1e-300)
        inside = (low <= true) & (true <= high)
        axes.axvline(0.0, color="0.6", linewidth=0.8)
        axes.hlines(at, (low - true) / unit, (high - true) / unit, color=np.where(inside, "C0", "C3"), linewidth=1.6)
        axes.scatter((mean - true) / unit, at, color=np.where(inside, "C0", "C3"), s=14)
        axes.set_yticks(at, [name for name, *_ in rows], fontsize=8)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlabel("distance from the value, in posterior sds")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


@answers(truths="truth", values="truth", random_seed="seed", rng_seed="seed")
@dataclass(frozen=True, repr=False)
class Recovery:
    """Simulate data from a program, fit it to them, and compare what is found with what was put in.

    One data set shows whether a study of this size can tell what is asked; `SBC` makes many and tests them.

    Args:
        model: a sampler with its settings, or a program, which is sampled by NUTS with 2 chains of 500 + 500 draws.
        truth: values of latent sites, by name: of the site's shape, or one for all its elements. The others are drawn from
            their priors.
        seed: of all that is drawn; None takes one from torch's global generator.

    Raises:
        SamplingError: something that is neither a sampler nor a program.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(x, y):
        ...     slope = su.sample("slope", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(x)):
        ...         su.sample("y", dist.Normal(slope * x, 0.1), obs=y)
        >>> found = su.infer.Recovery(model, {"slope": 0.7}, seed=0).run(torch.linspace(-1.0, 1.0, 50), torch.zeros(50))
        >>> float(found.truth["slope"]), abs(float(found.z("slope"))) < 3, found.data["y"].shape
        (0.7, True, torch.Size([50]))
    """

    model: MCMC | Callable[..., Any]
    truth: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        sampler(self.model, 0)
        settle(self, {"seed": optional_seed(self.seed, SamplingError)})
        named = isinstance(self.truth, Mapping)
        check_setting("truth", named, self.truth, "a mapping from sites to values", SamplingError, 'write {"slope": 0.7}')

    def run(self, *args: Any, **kwargs: Any) -> RecoveryResult:
        """Simulate and fit, with these arguments of the program. Data among them are replaced: only their shapes matter.

        Raises:
            SursumError: the program has no such site, or one of another shape; it observes nothing, or cannot be sampled.
            Exception: any exception of the program.
        """
        mcmc = sampler(self.model, self.seed)
        measured = find_unmeasured(mcmc.kernel, mcmc.init)
        program = measured or program_of(mcmc.kernel)
        truth, data = _simulate(program, dict(self.truth), args, kwargs, cast(int, mcmc.seed))
        fitted: Callable[..., Any] = condition(uncondition(program), data=data)
        kernel = with_program(mcmc.kernel, fitted if measured is None else reparam(fitted, "auto"))
        posterior = replace(mcmc, kernel=kernel).run(*args, **kwargs)
        return RecoveryResult({name: value for name, value in truth.items() if name in posterior}, data, posterior)


@in_double()
def _simulate(
    program: Callable[..., Any], truth: dict[str, Any], args: Any, kwargs: Any, number: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values of all latent sites, and of those that are observed."""
    with torch.no_grad():
        plain = trace(seeded(program, rng_seed=number)).get_trace(*args, **kwargs)
        values = {name: _given(name, value, plain) for name, value in truth.items()}
        held = substitute(uncondition(program), data=values)
        found = trace(seeded(held, rng_seed=number)).get_trace(*args, **kwargs)
    observed = list(plain.observed)
    if not observed:
        raise SamplingError("the program observes nothing with these arguments. Call it with data; only their shapes matter.")
    latent = {n: torch.as_tensor(s.value) for n, s in found.stochastic.items() if n not in observed}
    return latent, {name: found[name].value for name in observed}


def _given(name: str, value: Any, plain: Trace) -> Tensor:
    """A given value as one of its site: with its shape and dtype."""
    latents = [site.name for site in plain.stochastic.values() if not site.is_observed]
    if name not in latents:
        raise SamplingError(f"`truth` has a value for {name!r}, which is not a latent site.{suggestion(name, latents)}")
    drawn = torch.as_tensor(plain[name].value)
    try:
        given = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        raise SamplingError(
            f"`truth` has {abbreviate(value)} for {name!r}, and values are numbers of shape {tuple(drawn.shape)}."
        ) from None
    if given.dim() and given.shape != drawn.shape:
        raise SamplingError(
            f"`truth` has a value of shape {tuple(given.shape)} for {name!r}, and that site has shape {tuple(drawn.shape)}. "
            "Give that shape, or one number for all elements."
        )
    if not drawn.is_floating_point() and not torch.equal(given.to(drawn.dtype).double(), given.double()):
        raise SamplingError(f"`truth` has {abbreviate(value)} for {name!r}, whose values are whole numbers.")
    return given.to(drawn.dtype).expand(drawn.shape).clone()

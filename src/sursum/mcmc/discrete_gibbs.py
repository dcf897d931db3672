"""The settings of a sampler that draws discrete sites beside the others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sursum.common.other_libraries import answers
from sursum.common.patterns import matches, suggestion
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, settle
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.errors import SamplingError
from sursum.handlers.enumerate.held import Held
from sursum.mcmc.hmc import HMC
from sursum.mcmc.nuts import NUTS
from sursum.mcmc.walnuts import WALNUTS

TrajectoryKernel: TypeAlias = NUTS | HMC | WALNUTS
"""The kernels of sites that have gradients."""


@answers(
    inner_kernel="give the kernel of the continuous sites first: `DiscreteGibbs(NUTS(model))`",
    random_walk="values are drawn given all other sites, those of an unbounded site in a random window",
    modified="a value may be drawn again",
)
@dataclass(frozen=True, repr=False)
class DiscreteGibbs:
    r"""Draws discrete sites given the others, and then the others given them by a kernel such as `NUTS`.

    .. math:: z_i \sim p(z_i \mid z_{-i}, \theta, y) \quad\text{for each } i, \qquad
              \theta \sim \mathrm{NUTS} \text{ for } p(\theta \mid z, y)

    For sites that cannot be summed out: with infinitely many values, or too many. Discrete sites that can be are summed out as
    everywhere, and recovered by `infer_discrete`. A site whose values can be listed and summed out alone is drawn at once,
    all elements of its plates and all steps of a scan together; an element of any other site has the values of a random window
    around it tried, which leaves its distribution as it is and cuts nothing off. The other sites move far more slowly than
    where discrete ones are summed out: look at the effective sample sizes.

    Args:
        kernel: of the other sites: `NUTS(program)`, `HMC(program)` or `WALNUTS(program)`.
        sites: names of discrete sites, or patterns, to be drawn; None for those that cannot be summed out.

    Raises:
        SamplingError: a setting of the wrong type.

    References:
        Geman & Geman (1984), "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images"; Neal (2003),
        "Slice sampling", section 4.1, for an interval at a random place around the value now.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     p = su.sample("p", dist.Beta(20.0, 20.0))
        ...     n = su.sample("n", dist.Poisson(20.0))
        ...     su.sample("y", dist.Binomial(n, p), obs=y)
        >>> mcmc = su.infer.MCMC(su.infer.DiscreteGibbs(su.infer.NUTS(model)), num_samples=2000, seed=0, progress=False)
        >>> posterior = mcmc.run(torch.tensor(10.0))
        >>> posterior["n"].shape, bool((posterior["n"] >= 10).all())
        (torch.Size([4, 2000]), True)
    """

    kernel: TrajectoryKernel
    sites: Sequence[str] | str | None = None

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        remedy = "write DiscreteGibbs(NUTS(program))"
        check_setting("kernel", isinstance(self.kernel, TrajectoryKernel), self.kernel, "a kernel", SamplingError, remedy)
        sites = (self.sites,) if isinstance(self.sites, str) else self.sites
        names = sites is None or (isinstance(sites, Sequence) and bool(sites) and all(isinstance(name, str) for name in sites))
        check_setting(
            "sites", names, self.sites, "names of sites", SamplingError, "give a list, such as ['n'], or leave it out"
        )
        settle(self, {"sites": None if sites is None else tuple(sites)})

    @property
    def model(self) -> Callable[..., Any]:
        """The program, with the sites marked that are drawn."""
        sites = self.sites if self.sites is None else tuple(self.sites)
        return Held(self.kernel.model, sites=sites)

    @property
    def metric(self) -> Any:
        """The metric of the other sites."""
        return self.kernel.metric

    @property
    def target_accept(self) -> float:
        """That of the other sites' kernel."""
        return self.kernel.target_accept

    def fields(self) -> dict[str, float]:
        """The kernel's fields of a chain's header."""
        return self.kernel.fields()

    def settled(self, density: LogDensity) -> LogDensity:
        """The density of the program, whose sites that are drawn are known by name from now on.

        Raises:
            SamplingError: there are none.
        """
        held = tuple(latent.name for latent in density.latents if latent.held)
        self._check(density, held)
        named = copy.copy(density)
        named.model = rolled(Held(self.kernel.model, sites=held))
        return named

    def _check(self, density: LogDensity, held: Sequence[str]) -> None:
        summed = list(density.plan.sites) if density.plan else []
        names = [*(latent.name for latent in density.latents), *summed]
        for pattern in self.sites or ():
            if not any(matches(pattern, name) for name in held):
                continuous = any(matches(pattern, name) for name in names)
                raise SamplingError(
                    f"`sites` names {pattern!r}, which is {'no discrete site' if continuous else 'not a site'} of the program."
                    f"{suggestion(pattern, [*held, *summed])}"
                )
        if not held:
            rest = f" {', '.join(map(repr, sorted(summed)))} can be summed out." if summed else ""
            raise SamplingError(
                f"DiscreteGibbs has no site to draw: no discrete site of the program is one that cannot be summed out.{rest} "
                "Sample it with the kernel alone, MCMC(NUTS(model)), or name the sites that are drawn: "
                "DiscreteGibbs(NUTS(model), sites=['k'])."
            )


def program_of(kernel: Any) -> Callable[..., Any]:
    """The program that a kernel was given."""
    program: Callable[..., Any] = kernel.kernel.model if isinstance(kernel, DiscreteGibbs) else kernel.model
    return program


def with_program(kernel: Any, model: Callable[..., Any]) -> Any:
    """A kernel with the same settings, of another program."""
    if isinstance(kernel, DiscreteGibbs):
        return replace(kernel, kernel=replace(kernel.kernel, model=model))
    return replace(kernel, model=model)

r"""`LogDensity`: a program as a function q ∈ Rⁿ ↦ log p.

The latent sites are found by one run. Each support is mapped to unconstrained coordinates, and

.. math:: \log p(q) = \sum_i \log p(x_i \mid \ldots) + \sum_{latent} \log |\det J_i(q_i)|.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.gc_pause import pause_collection
from sursum.common.precision import in_double
from sursum.common.snapshot import snapshot_of
from sursum.common.user_frame import warn
from sursum.core.arguments import check_arguments, with_data
from sursum.core.calling import Program, innermost, refuse_coroutines, valued
from sursum.core.labels import labels_by_plate, labels_of
from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger
from sursum.core.scope import at_site, own_steps
from sursum.core.trace import Trace
from sursum.core.valid_data import ValidData
from sursum.core.validation import check_value
from sursum.density import explanation
from sursum.density.coordinate_names import CoordinateNames
from sursum.density.execution import Execution
from sursum.density.first_run import first_run
from sursum.density.init_values import JITTER, SPREAD
from sursum.density.layout import Latent, latent_of, layout, observed_values, plate_lengths, site_dims
from sursum.density.limits import find_limits
from sursum.density.networks import module_parameters, network_weights
from sursum.density.scales import scaled_sites
from sursum.density.starting_point import starting_point
from sursum.density.unconstrain import Placed
from sursum.density.unobserved import find_unobserved
from sursum.density.unused_sites import announce_unconnected, find_unconnected
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import unwrap
from sursum.errors import DensityError, HeldParameterWarning, SursumError
from sursum.handlers.enumerate.elimination import Reduce
from sursum.handlers.enumerate.enumerated import Enumerated


class LogDensity:
    r"""The log density of a program at unconstrained coordinates.

    Where all latent sites are discrete and summed out q is empty, and the log density is that of the data.

    Args:
        model: the program; its latent sites become coordinates, its parameters are held at their values.
        args, kwargs: its arguments; tensors and arrays are copied.
        jacobian: whether the log-Jacobian is added, or a function that decides it for each site. A density needs it,
            maximum likelihood and MAP on the constrained scale do not.

    Raises:
        DensityError: no latent site, a discrete one, one that cannot be scored; a subsampled plate; arguments that are not
            in a tuple.

    Warns:
        HeldParameterWarning: parameters that are not lifted stay at their value.
        UnusedSiteWarning: a latent site that affects nothing but its own prior.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> model = lambda: su.sample("s", dist.Exponential(1.0))
        >>> density = su.infer.LogDensity(model)
        >>> density.dim, round(float(density(torch.zeros(1, dtype=torch.float64))), 4)
        (1, -1.0)
    """

    @pause_collection()
    def __init__(
        self,
        model: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        jacobian: bool | Callable[[Site], bool] = True,
    ) -> None:
        refuse_coroutines(model)
        check_arguments(args, kwargs, DensityError)
        # Data are copied now: a caller may reuse the buffers while a sampler runs, and after it.
        labels = labels_of(args, kwargs or {})
        args, kwargs = with_data(model, args, kwargs or {})
        self.args, self.kwargs = tuple(map(snapshot_of, args)), {k: snapshot_of(v) for k, v in kwargs.items()}
        self.model, self.jacobian = model, jacobian
        self._valid = ValidData()
        self._starts_near = False
        with torch.inference_mode(False), torch.enable_grad(), in_double():
            first = first_run(Execution(self.model, self.args, self.kwargs, self._valid))
            self._valid.close()
            found, leaves = first.whole, first.leaves
            self.plan, self._of_discrete = first.plan, first.of_discrete
            self.exit = first.exit  # the line at which numbers leave torch without an operator
            self.latents: tuple[Latent, ...] = layout(found, leaves, self.plan)
            self.dim = self.latents[-1].stop if self.latents else 0
            self.num_free = next((latent.start for latent in self.latents if latent.held), self.dim)
            flat = [leaf.detach().double().reshape(-1).numpy() for leaf in leaves.values()]
            self._first = np.concatenate([np.empty(0), *flat])
            self._reaches = np.repeat(list(first.reaches.values()), [len(one) for one in flat])
            self._by_name = {latent.name: latent for latent in self.latents}
            self.observed, self.dims = observed_values(first.plain), site_dims(first.plain)
            self.coords = labels_by_plate(labels, plate_lengths(first.plain))
            self.modules, self.networks = module_parameters(found), network_weights(found)
            self.scales = scaled_sites(found, leaves)
            self.unobserved = find_unobserved(found, leaves, first.terms)
            _announce_held(found)
            self.limits = find_limits(self.latents, self._first, self._run)
            if self.unobserved is None and self.latents:
                announce_unconnected(find_unconnected(found, first.terms, leaves, self._run))

    # The function and its parts.

    @in_double()
    def __call__(self, q: Tensor) -> Tensor:
        """The log density at `q`, float64 of shape (n,); a scalar in float64, differentiable.

        Raises:
            DensityError: `q` has the wrong shape, or the program reaches different latent sites than in its first run.
        """
        at = self._at(q)
        return self._total(self._run(at), at)

    def _total(self, found: Trace, at: Placed) -> Tensor:
        """The log density of an execution."""
        summed = at.summed
        total = found.log_prob_sum() if summed is None else found.log_prob_sum(lambda site: site.name not in summed.summed)
        if summed is not None:
            total = total + summed.log_sum()
        if self.jacobian:
            for site, log_jacobian in at.jacobians.values():
                if not callable(self.jacobian) or self.jacobian(site):
                    with at_site(site):
                        total = total + (log_jacobian.sum() if log_jacobian.dim() else log_jacobian)
        return total

    @in_double()
    def transform(self, q: Tensor) -> dict[str, Tensor]:
        """The values at `q` of the latent sites, then of the deterministic ones, which include latent sites with a `Delta`."""
        return self._values(self._run(self._at(q)))

    @in_double()
    def with_values(self, q: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The log density at `q` and, from the same run, the result of `transform`."""
        at = self._at(q)
        found = self._run(at)
        return self._total(found, at), self._values(found)

    def _values(self, found: Trace) -> dict[str, Tensor]:
        values = {latent.name: found[latent.name].value for latent in self.latents}
        points = (site for site in found.stochastic.values() if isinstance(unwrap(site.fn), Delta))
        sites = (*points, *found.deterministic.values())
        fixed = {site.name: site.value for site in sites if site.name not in self._of_discrete}
        return values | {name: torch.as_tensor(fixed[name]) for name in found if name in fixed}

    @in_double()
    def unravel(self, q: Tensor) -> dict[str, Tensor]:
        """The constrained values at `q` of the latent sites."""
        with valued():
            found = self._run(self._at(torch.as_tensor(q, dtype=torch.float64).detach()))
        return {latent.name: found[latent.name].value.detach() for latent in self.latents}

    @in_double()
    def ravel(self, values: Mapping[str, Tensor]) -> Tensor:
        """q at constrained values of every latent site, float64 of shape (n,): the inverse of `unravel`.

        Raises:
            DensityError: a latent site has no value, or one of the wrong shape.
            ObservationError: a value outside the support of its site.
        """
        missing = [latent.name for latent in self.latents if latent.name not in values]
        if missing:
            raise DensityError(
                f"no value is given for the latent sites {', '.join(map(repr, missing))}. Give one for each of "
                f"{', '.join(repr(latent.name) for latent in self.latents)}."
            )
        free: dict[str, Tensor] = {}

        def choose(site: Sample, free_shape: torch.Size, onto: Any) -> Tensor:
            latent = latent_of(self._by_name, site, free_shape)
            value = torch.as_tensor(values[site.name])
            if tuple(value.shape) != latent.shape:
                raise DensityError(
                    f"the value given for latent site {site} has shape {tuple(value.shape)}, and the site's is {latent.shape}."
                )
            if not own_steps(site):
                check_value(site.but(value=value))
            free[site.name] = onto.inv(value.to(latent.dtype))
            return free[site.name]

        self._run(Placed(choose=choose))
        return torch.cat([torch.empty(0), *(free[latent.name].reshape(-1).to(torch.float64) for latent in self.latents)])

    def start(
        self,
        rng: np.random.Generator,
        values: Mapping[str, Any] = MappingProxyType({}),
        *,
        jitter: float = JITTER,
        spread: float = SPREAD,
    ) -> np.ndarray:
        """A starting point: initial values plus U(−jitter, jitter) per coordinate, or U(−spread, spread) where there are none.

        Args:
            rng: the source of randomness.
            values: constrained values by site name, used exactly; for a site that `reparam` has replaced, its auxiliary
                site starts where it gives the value.
            jitter, spread: in unconstrained coordinates.

        Raises:
            DensityError: a value with the wrong shape, outside its site's support, or on the boundary.
        """
        if values or (jitter, spread) != (JITTER, SPREAD):
            return self._begin(rng, values, jitter, spread)[0]
        if self._starts_near:
            return self.near(rng)
        # The initial values of sites may depend on the values of others. Where they do not, one run of the program tells.
        again = copy.deepcopy(rng)
        found = self._begin(rng, values, jitter, spread)[0]
        self._starts_near = bool(np.array_equal(found, self.near(again)))
        return found

    def near(self, rng: np.random.Generator) -> np.ndarray:
        """A point around the first at which the program ran, by no run of it: as a rule what `start` gives."""
        return self._first + rng.uniform(-self._reaches, self._reaches)

    def scored_start(self, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """A starting point and its log density, from one run of the program."""
        q, found, at = self._begin(rng, {}, JITTER, SPREAD)
        with valued(), in_double():
            return q, float(self._total(found, at).detach())

    @in_double()
    def _begin(
        self, rng: np.random.Generator, values: Mapping[str, Any], jitter: float, spread: float
    ) -> tuple[np.ndarray, Trace, Placed]:
        """A starting point, and the execution there."""
        return starting_point(self._by_name, self._run, rng, values, jitter=jitter, spread=spread)

    def with_data(self, *args: Any, **kwargs: Any) -> LogDensity:
        """The density of the same program called with different data."""
        return LogDensity(self.model, args, kwargs, jacobian=self.jacobian)

    def on_batch(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> LogDensity:
        """The same coordinates, the program called with other data of the same kind, such as a batch; they are not copied."""
        other = copy.copy(self)
        other.args, other.kwargs, other._valid = tuple(args), dict(kwargs), ValidData()
        return other

    def execute(self, choose: Callable[[Any, torch.Size, Any], Tensor]) -> tuple[Trace, Mapping[str, Any]]:
        """One run of the program, and the log-Jacobians of its sites, with the site of each.

        Args:
            choose: from a site, the shape of its coordinates and the map to its support, its coordinates.
        """
        at = Placed(choose=choose)
        return self._run(at), at.jacobians

    def under(self, handler: Callable[[Callable[..., Any]], Callable[..., Any]]) -> LogDensity:
        """The same density, its program run under a handler that leaves the sites as they are."""
        other = copy.copy(self)
        other.model = handler(self.model)
        return other

    def without_jacobian(self) -> LogDensity:
        """The same density without log-Jacobian: the density of the constrained values."""
        other = copy.copy(self)
        other.jacobian = False
        return other

    # Names and places.

    @property
    def program(self) -> Program:
        """The program and its arguments, without handlers that belong to a capture."""
        model = self.model
        while isinstance(model, Messenger) and model.of_capture and model.fn is not None:
            model = model.fn
        return Program(model, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<LogDensity of {self.title}: {self.dim} unknowns ({', '.join(latent.name for latent in self.latents)})>"

    @property
    def title(self) -> str:
        """The program's name, for messages and the C source."""
        inner = innermost(self.model)
        return str(getattr(inner, "__qualname__", type(inner).__name__))

    def site_at(self, index: int) -> str:
        """The latent site that owns coordinate `index`."""
        return next(latent.name for latent in self.latents if latent.start <= index < latent.stop)

    def coordinate_names(self) -> list[str]:
        """A name for every coordinate of q: "tau", "theta[0]", …"""
        return list(CoordinateNames({latent.name: latent.free_shape for latent in self.latents}))

    @in_double()
    def not_finite(self, q: Any) -> list[str]:
        """The sites whose value or log density is not finite at `q`, or that cannot be scored there."""
        return explanation.not_finite(self._look(q))

    @in_double()
    def explain(self, q: Any) -> str:
        """A table of every site at `q`: value, log density, line of the program."""
        try:
            found = self._look(q)
        except (SursumError, ValueError, torch.linalg.LinAlgError) as error:
            return f"the program cannot be run there: {error}"
        return explanation.tabulate(found)

    # Runs.

    def _at(self, q: Tensor) -> Placed:
        if tuple(q.shape) != (self.dim,):
            raise DensityError(f"q has shape {tuple(q.shape)}, and this density has {self.dim} coordinates: ({self.dim},).")

        parts: dict[str, Tensor] = {}

        def choose(site: Sample, free_shape: torch.Size, onto: Any) -> Tensor:
            latent = latent_of(self._by_name, site, free_shape)
            if not parts:  # in one operator, whose derivative is one: that of slices is a sum of vectors, one for each site
                sizes = [one.stop - one.start for one in self.latents]
                with torch.inference_mode(False), torch.enable_grad():  # of all of them, wherever the first one is asked for
                    parts.update(zip(self._by_name, q.split_with_sizes(sizes), strict=True))
            return parts[latent.name].to(latent.dtype).reshape(free_shape)

        return Placed(choose=choose)

    @in_double()
    def tilted(self, q: Tensor, reduce: Reduce, tilts: Mapping[str, Tensor]) -> Tensor:
        """The log of the sum over the discrete sites at `q`, with `tilts` added to the log densities of their values.

        Its derivatives by those are the probabilities of the values.

        Args:
            reduce: how a variable is summed out.
            tilts: by site, with a dimension for scans around it, one for its values, and its batch.
        """
        assert self.plan is not None  # there are discrete sites
        at = self._at(q)
        self._run(at, Enumerated(plan=self.plan, reduce=reduce, tilts=tilts))
        assert at.summed is not None  # it was entered
        return at.summed.log_sum()

    def _look(self, q: Any) -> Trace:
        """The execution at `q`, without derivatives."""
        with valued():
            return self._run(self._at(torch.as_tensor(np.asarray(q), dtype=torch.float64)))

    def _run(self, at: Placed, summing: Enumerated | None = None) -> Trace:
        found = Execution(self.model, self.args, self.kwargs, self._valid, self.plan).run(at, summing)
        gone = next((latent for latent in self.latents if latent.name not in at.placed), None)
        if gone is not None:
            raise DensityError(
                f"latent site {gone.name!r} ({gone.where}) was there when the program was first run, and is not now. "
                "A density needs the same latent sites in every execution."
            )
        return found


def _announce_held(found: Trace) -> None:
    held = [site.name for site in found.params.values() if not site.frozen]
    if held:
        one = len(held) == 1
        warn(
            f"{'parameter' if one else 'parameters'} {', '.join(map(repr, held))} {'is' if one else 'are'} not lifted, and "
            "held at the current value. Give a prior with lift, or write sample for param, and the posterior accounts for it.",
            HeldParameterWarning,
        )

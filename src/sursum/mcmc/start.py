"""Find a point at which a chain can start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sursum.density.search import TRIES, runs
from sursum.errors import DensityError

Array = NDArray[np.float64]

NUDGE = 1e-3
"""How far around a start that was given it is looked whether the density is flat."""

LOOKS = 400
"""Points tried for a density with bounds, where few of those around the start are inside."""

STEPS = tuple(sign * 2.0**k for k in range(-1, 11) for sign in (-1.0, 1.0))
"""How far a coordinate is moved to see whether the density depends on it."""


class Startable(Protocol):
    """What is needed of a log density here."""

    def start(self, rng: np.random.Generator) -> Array: ...

    def site_at(self, index: int) -> str: ...

    def explain(self, q: Array) -> str: ...


class Named(Startable, Protocol):
    """What is needed of a log density that starts at values by name."""

    @property
    def latents(self) -> Any: ...

    def start(self, rng: np.random.Generator, values: Mapping[str, Any] = ..., **spread: float) -> Array: ...

    def not_finite(self, q: Array) -> list[str]: ...


class ValueAndGradient(Protocol):
    def __call__(self, q: Array, /) -> tuple[float, Array]: ...


def of_free(compiled: Any) -> ValueAndGradient:
    """Value of a compiled density, and its gradient by the coordinates that move."""
    free = compiled.density.num_free

    def run(q: Array, /) -> tuple[float, Array]:
        value, gradient = compiled.value_and_grad(q)
        return value, gradient[:free]

    return run


def find_near(compiled: Any, rng: np.random.Generator) -> Array | None:
    """A point around the program's own values by no run of it, at which a chain can start; None, with `rng` as before, if it
    is none.

    Where the value of one site depends on that of another, such as that of a site in units of a scale, it is the one that
    belongs to the others' own values.
    """
    density = compiled.density
    if compiled.engine == "eager" or density.num_free < density.dim:
        return None
    before = rng.bit_generator.state
    q: Array = density.near(rng)
    value, gradient = compiled.value_and_grad(q)
    if np.isfinite(value) and np.isfinite(gradient).all() and gradient.all():
        return q
    rng.bit_generator.state = before
    return None


def find_start(
    density: Startable, value_and_grad: ValueAndGradient, rng: np.random.Generator, tries: int = TRIES, *, flat: bool = False
) -> Array:
    """A point q, float64 (n,), where log density and gradient are finite and no component of the gradient is zero.

    A component that is exactly zero gives the sampler no scale for its first step. It happens by chance at a prior's
    mode or at biases that were set to zero, so the jitter is redrawn; if it happens in every attempt, the density
    does not depend on that coordinate. With `flat` such a point is taken.

    Raises:
        DensityError: no such point in `tries` attempts; names the site, or shows the last attempt site by site.
    """
    ever_moved: NDArray[np.bool_] | None = None
    q, moves = np.empty(0), np.empty(0, dtype=bool)
    for q in runs(lambda _: density.start(rng), tries, "no chain could start"):
        value, gradient = value_and_grad(q)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            continue
        moves = gradient != 0.0
        if flat or moves.all():
            return q
        ever_moved = moves if ever_moved is None else ever_moved | moves
    if ever_moved is None:
        raise DensityError(
            f"no chain could start: the log density or its gradient was not finite at any of {tries} points tried. "
            "A finite value is needed at least near the initial values. At the last point:\n"
            f"{density.explain(q)}\n"
            "Give initial values where the data are possible, or look at the sites that are not finite."
        )
    never = np.flatnonzero(~ever_moved)
    if never.size:
        raise DensityError(
            f"no chain could start: the gradient of the log density by site {density.site_at(int(never[0]))!r} was "
            f"exactly zero at all {tries} points tried. A density that changes with every site was expected. Remove "
            "the site, give it a prior that is not flat, or look for a `detach`, a rounding or a comparison in its computation."
        )
    raise DensityError(
        f"no chain could start: at each of {tries} points tried some component of the gradient was exactly zero, at "
        f"the last one that by site {density.site_at(int(np.flatnonzero(~moves)[0]))!r}. A point where the density "
        "changes with every site was expected. Give priors that are not flat, or a start by `init`."
    )


def check_given_start(density: Startable, value_and_grad: ValueAndGradient, q: Array) -> Array:
    """`q` itself, if a chain can start there.

    Raises:
        DensityError: value or gradient are not finite there.
    """
    value, gradient = value_and_grad(q)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise DensityError(
            "the start that was given by `init` cannot be used: the log density or its gradient is not finite there. "
            f"At that point:\n{density.explain(q)}\nGive a different start, or leave `init` out."
        )
    return q


def depends_on_all(density: Startable, value_and_grad: ValueAndGradient, rng: np.random.Generator) -> bool:
    """Whether the log density changes with every coordinate, though it is flat in some around its starts: one with bounds."""
    flat: NDArray[np.bool_] | None = None
    q = np.empty(0)
    for _ in range(LOOKS):
        point = density.start(rng)
        value, gradient = value_and_grad(point)
        if np.isfinite(value) and np.isfinite(gradient).all():
            flat = gradient == 0.0 if flat is None else flat & (gradient == 0.0)
            q = point
    if flat is None or flat.all():
        return False
    value = value_and_grad(q)[0]
    axes = (np.eye(len(q))[place] for place in np.flatnonzero(flat))
    return all(any(value_and_grad(q + step * axis)[0] != value for step in STEPS) for axis in axes)


def find_named_start(
    density: Named, value_and_grad: ValueAndGradient, values: Mapping[str, Any], rng: np.random.Generator, **spread: float
) -> Array:
    """A point with these constrained values by site name; other sites start as usual.

    The values are used exactly.

    Args:
        density, value_and_grad, rng: as in `find_start`.
        values: by site name.
        spread: of the other sites, as in `LogDensity.start`.

    Raises:
        DensityError: a value that its site cannot take; no point with a finite density and gradient.
    """
    named = all(latent.name in values for latent in density.latents)
    q = np.empty(0)
    tries = 1 if named else TRIES
    for q in runs(lambda _: density.start(rng, values, **spread), tries, "no chain could start at `init`"):
        value, gradient = value_and_grad(q)
        if np.isfinite(value) and np.isfinite(gradient).all():
            break
    value, gradient = value_and_grad(q)
    if np.isfinite(value) and np.isfinite(gradient).all():
        flat = gradient == 0.0
        for _ in range(TRIES):
            if not flat.any():
                return q
            around = q + rng.uniform(-NUDGE, NUDGE, len(q)) * np.maximum(1.0, np.abs(q))
            flat &= value_and_grad(around)[1] == 0.0
        raise DensityError(
            f"no chain could start at `init`: the gradient of the log density by site "
            f"{density.site_at(int(np.flatnonzero(flat)[0]))!r} is exactly zero there and around. A density that changes with "
            "every site was expected. Remove the site, or start elsewhere."
        )
    culprits = density.not_finite(q) or [density.site_at(int(np.flatnonzero(~np.isfinite(gradient))[0]))]
    names = ", ".join(map(repr, culprits[:3]))
    raise DensityError(
        f"no chain could start at `init`: the log density or its gradient is not finite there, by {names}. At that point:\n"
        f"{density.explain(q)}\nGive values at which the data are possible."
    )

"""Where the chains of a run start: `init`, in each of its forms, as a point for every chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.errors import DensityError, SamplingError
from sursum.mcmc.start import LOOKS, check_given_start, depends_on_all, find_named_start, find_near, find_start, of_free
from sursum.posterior.init import Started, check_names, each_draw, is_named, values_by_name

Array = NDArray[np.float64]


def find_chain_starts(compiled: Any, init: Any, rngs: Sequence[np.random.Generator]) -> list[Array]:
    """A point for each chain, by its own randomness.

    Raises:
        SamplingError: `init` is none, or is for another number of chains.
        DensityError: no chain can start there; without `init`, nowhere.
    """
    start = starting(compiled, init, len(rngs))
    try:
        return [start(k, rng) for k, rng in enumerate(rngs)]
    except DensityError:
        density, value_and_grad = compiled.density, of_free(compiled)
        if init is not None or not depends_on_all(density, value_and_grad, rngs[0]):
            raise
        return [find_start(density, value_and_grad, rng, LOOKS, flat=True) for rng in rngs]


def starting(compiled: Any, init: Any, num_chains: int) -> Callable[[int, np.random.Generator], Array]:
    """Where chain k starts, by the randomness of its start."""
    density, value_and_grad, init = compiled.density, of_free(compiled), each_draw(init, num_chains)
    if init is None:

        def near(k: int, rng: np.random.Generator) -> Array:
            found = find_near(compiled, rng)
            return find_start(density, value_and_grad, rng) if found is None else found

        return near
    each = isinstance(init, (list, tuple)) and any(is_named(one) for one in init)
    if not each and not is_named(init):
        given = _read_points(init, num_chains, compiled.dim)
        return lambda k, rng: check_given_start(density, value_and_grad, given[k])
    ones: Sequence[Any] = init if each else [init] * num_chains
    if len(ones) != num_chains:
        raise SamplingError(
            f"`init` has values for {len(ones)} chains, but must have them for {num_chains}, or be one for all of "
            "them: `num_chains` says how many there are."
        )
    for one in ones:
        check_names(one, density.dims)

    def start(k: int, rng: np.random.Generator) -> Array:
        one = ones[k]
        # A complete state leaves nothing to chance, in any parameterisation.
        exact = {} if isinstance(one, dict) and not isinstance(one, Started) else {"jitter": 0.0}
        return find_named_start(density, value_and_grad, values_by_name(one, rng), rng, **exact)

    return start


def _read_points(init: Any, num_chains: int, n: int) -> Array:
    """Unconstrained coordinates that were given, of all chains, (num_chains, n)."""
    try:
        given = np.array(init, dtype=np.float64)
    except (TypeError, ValueError):
        raise SamplingError(
            f"`init` is {type(init).__name__}, but must be values by site name (a mapping, a FitResult, a "
            "Posterior, a ParamStore), or unconstrained coordinates: leave it out to start at the program's own values."
        ) from None
    if given.shape not in ((n,), (num_chains, n)):
        raise SamplingError(
            f"`init` has shape {given.shape}, but must have shape ({n},) or ({num_chains}, {n}): the "
            "unconstrained coordinates of one start, or of one for each chain. Give "
            "`posterior.unconstrained[:, -1]`, or leave it out."
        )
    return np.array(np.broadcast_to(given, (num_chains, n)), order="C")

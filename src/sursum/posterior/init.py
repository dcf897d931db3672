"""Normalise `init`, the starting point of a run, to values by site name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.patterns import suggestion
from sursum.draws.draws import Draws
from sursum.errors import DensityError, OptionError
from sursum.handlers import ParamStore

Init = Mapping[str, Any] | ParamStore | None
"""A mapping from site names to values, such as a `FitResult` or a `Posterior`; or a parameter store."""


def is_named(init: Any) -> bool:
    """Whether `init` refers to sites by name."""
    return isinstance(init, (Mapping, ParamStore))


def each_draw(init: Any, count: int) -> Any:
    """`init` for each of `count` chains: from an `SVI`, each gets a different draw."""
    draw = getattr(init, "sample", None)
    if not callable(draw):
        return init
    draws = draw(count)
    return [Started({name: value[0, k] for name, value in draws.items()}) for k in range(count)]


class Started(dict[str, Tensor]):
    """A complete state by name: it may contain more sites than the program has."""


def values_by_name(init: Any, rng: np.random.Generator) -> dict[str, Tensor]:
    """The constrained values by site name that `init` specifies.

    Args:
        init: a mapping (a `FitResult` is one), a `ParamStore`, a `Posterior` (one of its draws), or None (no values).
        rng: selects the draw of a posterior.

    Raises:
        OptionError: something else.

    Example:
        >>> import numpy as np
        >>> values_by_name({"s": 2.0}, np.random.default_rng(0))
        {'s': tensor(2., dtype=torch.float64)}
    """
    if init is None:
        return {}
    if isinstance(init, Draws):
        chain, draw = rng.integers(init.num_chains), rng.integers(init.num_samples)
        return {name: value[chain, draw] for name, value in init.items()}
    if isinstance(init, ParamStore):
        return {name: init[name].detach() for name in init}
    if isinstance(init, Mapping):
        return {str(name): _tensor(str(name), value) for name, value in init.items()}
    raise OptionError(
        f"`init` is {type(init).__name__}, but must be values by site name: a mapping, a FitResult, a Posterior or a "
        "ParamStore."
    )


def buffers_by_name(init: Any, rng: np.random.Generator) -> dict[str, Tensor]:
    """The buffers of networks that `init` has besides its values: those of the same draw, of a generator in the same state.

    Example:
        >>> buffers_by_name({"s": 2.0}, np.random.default_rng(0))
        {}
    """
    if isinstance(init, Draws):
        chain, draw = rng.integers(init.num_chains), rng.integers(init.num_samples)
        return {name: value[chain, draw] for name, value in getattr(init, "buffers", {}).items()}
    return dict(getattr(init, "buffers", None) or {}) if is_named(init) else {}


def check_names(init: Any, known: Iterable[str]) -> None:
    """Check that a dictionary names only existing sites; a fit or a posterior may contain more sites than the program has.

    Raises:
        DensityError: a name that is not a site's.
    """
    if not isinstance(init, dict) or isinstance(init, Started):
        return
    known = tuple(known)
    for name in init:
        if name not in known:
            raise DensityError(f"`init` has a value for {name!r}, which is not a site of the program.{suggestion(name, known)}")


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value) if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise OptionError(f"`init` has {value!r} for {name!r}, but must have a number, an array or a tensor.") from None

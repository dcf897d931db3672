"""What may be given as `init`, where a run starts: values by site name, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.patterns import suggestion
from sursum.errors import DensityError, OptionError
from sursum.handlers import ParamStore
from sursum.posterior.posterior import Draws

Init = Mapping[str, Any] | ParamStore | None
"""A mapping from site names to values, as a `FitResult` and a `Posterior` are; or a store of parameters."""


def is_named(init: Any) -> bool:
    """Whether `init` speaks of sites by name."""
    return isinstance(init, (Mapping, ParamStore))


def each_draw(init: Any, count: int) -> Any:
    """What `init` says to each of `count` chains: an `SVI`, which can be drawn from, says a draw to each."""
    draw = getattr(init, "sample", None)
    if not callable(draw):
        return init
    draws = draw(count)
    return [Started({name: value[0, k] for name, value in draws.items()}) for k in range(count)]


class Started(dict[str, Tensor]):
    """A whole state, by name: it may know more than a program has."""


def named_values(init: Any, rng: np.random.Generator) -> dict[str, Tensor]:
    """The constrained values by site name that `init` stands for.

    Args:
        init: a mapping (a `FitResult` is one), a `ParamStore`, a `Posterior` (one of its draws), or None (no values).
        rng: which draw of a posterior is taken.

    Raises:
        OptionError: something else.

    Example:
        >>> import numpy as np
        >>> named_values({"s": 2.0}, np.random.default_rng(0))
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


def check_names(init: Any, known: Iterable[str]) -> None:
    """That a dictionary names only sites that there are; a fit or a posterior may well know more than a program has.

    Raises:
        DensityError: a name that is no site's.
    """
    if not isinstance(init, dict) or isinstance(init, Started):
        return
    known = tuple(known)
    for name in init:
        if name not in known:
            raise DensityError(f"`init` has a value for {name!r}, and the program has no such site.{suggestion(name, known)}")


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value) if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise OptionError(f"`init` has {value!r} for {name!r}, but must have a number, an array or a tensor.") from None

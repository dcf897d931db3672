"""The Python numbers that a distribution was written with, which torch rounds to its default dtype.

``Normal(2451545.1, 0.01)`` holds float32 tensors, and it cannot know whether it will be the prior of a parameter in float64, or
part of a density, which is in double precision. So it remembers its arguments if its tensors have rounded them.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any, Self

from torch.distributions import Distribution

from sursum.common.precision import in_double, is_double

KEY = "_written"
"""The attribute in which a distribution keeps them."""

_FLOAT32 = Struct("f")  # several times as fast as NumPy's, which must be told to overflow silently


class Written:
    """Mixin of distributions that remember their Python numbers if they were rounded, also through `expand`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        new = super().__new__(cls)
        if _is_rounded((*args, *kwargs.values())) and not is_double():
            vars(new)[KEY] = (cls, args, kwargs)
        return new

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)  # type: ignore[misc]
        if KEY in vars(self):
            vars(new)[KEY] = (_expand, (self, batch_shape), {})
        return new


def _is_rounded(values: Iterable[Any]) -> bool:
    """Whether one of these is a number that float32 cannot represent."""
    for value in values:
        if isinstance(value, float) and value == value:
            try:
                if _FLOAT32.unpack(_FLOAT32.pack(value))[0] != value:
                    return True
            except OverflowError:
                return True
    return False


def _expand(fn: Any, batch_shape: Any) -> Any:
    return as_written(fn).expand(batch_shape)


def as_written(fn: Any) -> Any:
    """The distribution `fn` with its original numbers in float64; `fn` itself if none was rounded.

    Example:
        >>> import sursum.distributions as dist
        >>> float(as_written(dist.Normal(2451545.1, 0.01).expand([2]).to_event(1)).base_dist.loc[0])
        2451545.1
    """
    if not _has_written(fn):
        return fn
    with in_double():
        made, args, kwargs = vars(fn).get(KEY) or (None, (), {})
        if made is not None:
            return made(*args, **kwargs)
        new = object.__new__(type(fn))
        for name, part in vars(fn).items():
            vars(new)[name] = as_written(part) if isinstance(part, Distribution) else part
        return new


def in_precision(fn: Distribution) -> Any:
    """`fn` as it is to be where it is used: in double precision with its original numbers."""
    return as_written(fn) if _has_written(fn) and is_double() else fn


def _has_written(fn: Any) -> bool:
    parts = vars(fn)
    return KEY in parts or any(_has_written(part) for part in parts.values() if isinstance(part, Distribution))

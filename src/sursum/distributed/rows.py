"""The rows of each part: arguments that are cut, and the terms of the log density that a part has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sursum.core.messages import Factor, Param, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.errors import ShardError


@handler
class terms(Messenger[P, R]):
    """The terms of one part: what is observed in the plate, and in the first part everything else as well.

    Args:
        plate: its name.
        first: whether it is the first part.
        rows: how many rows it has; None does not check.
    """

    plate: str = required()
    first: bool = required()
    rows: int | None = required()

    def handle(self, site: Site) -> Any:
        if isinstance(site, (Sample, Factor, Param)):
            frame = next((frame for frame in site.plates if frame.name == self.plate), None)
            if frame is None:
                return perform(site.but(mask=False) if not self.first and not isinstance(site, Param) else site)
            if frame.dim is None or frame.indices is not None:
                how = "a loop" if frame.dim is None else "subsampled"
                raise ShardError(
                    f"the plate {self.plate!r} of site {site} is {how}, so that its rows cannot be divided. Write it with all "
                    "of its rows, `with plate(name, size):`."
                )
            if self.rows is not None and frame.size != self.rows:
                raise ShardError(
                    f"the plate {self.plate!r} of site {site} has size {frame.size} in a part of {self.rows} rows. Give the "
                    "program its data as arguments, and take the size of the plate from them: `plate(name, len(y))`."
                )
            if isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample"):
                raise ShardError(
                    f"site {site} is unknown, and in the plate {self.plate!r} that is divided: each rank would need a part of "
                    "the coordinates, which is not supported. Divide a different plate, or integrate the site out."
                )
        return perform(site)


def plate_size(found: Mapping[str, Site], plate: str) -> int:
    """The size of a plate in which something is observed.

    Raises:
        ShardError: there is none.
    """
    frames = {frame.name: frame for site in found.values() for frame in site.plates}
    if plate not in frames:
        known = ", ".join(map(repr, sorted(frames))) or "none"
        raise ShardError(f"the program has no plate {plate!r}, whose rows were to be divided. Its plates: {known}.")
    return frames[plate].size


def cut(
    args: Sequence[Any], kwargs: Mapping[str, Any], size: int, rows: slice, split: Sequence[str | int] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with the rows of one part."""

    def part(key: str | int, value: Any) -> Any:
        whole = isinstance(value, Tensor) and value.dim() > 0 and len(value) == size
        if split is not None and key in split and not whole:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ShardError(f"argument {key!r} is to be cut by rows, of which the plate has {size}, and it is {shape}.")
        return value[rows] if whole and (split is None or key in split) else value

    unknown = [key for key in split or () if key not in kwargs and not (isinstance(key, int) and 0 <= key < len(args))]
    if unknown:
        raise ShardError(f"`split` names the argument {unknown[0]!r}, and the program was not called with one.")
    return tuple(part(i, value) for i, value in enumerate(args)), {name: part(name, value) for name, value in kwargs.items()}


def divide(size: int, count: int) -> list[slice]:
    """`count` runs of rows whose lengths differ by one at most.

    Example:
        >>> divide(5, 2)
        [slice(0, 3, None), slice(3, 5, None)]
    """
    short, longer = divmod(size, count)
    ends = [(k + 1) * short + min(k + 1, longer) for k in range(count)]
    return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]

"""A program whose rows are divided over ranks for training: what each rank has of its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from torch import Tensor

from sursum.core.calling import Wrapper, run_program
from sursum.core.messages import Factor, Frame, Param, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.distributed.group import RankGroup, is_distributed
from sursum.distributed.rows import divide
from sursum.distributed.shard import Sharded, sharded
from sursum.errors import ShardError


@dataclass(frozen=True)
class Division:
    """How the rows of a plate are divided for training.

    Args:
        plate: its name.
        subsampled: whether the plate has some of its rows, drawn again in every step; each rank then takes a part of those.
        places: the arguments that are cut, by position or name. None: each rank is called with its own rows.
    """

    plate: str
    subsampled: bool
    places: tuple[str | int, ...] | None

    @classmethod
    def of(cls, program: Sharded, sites: Mapping[str, Site], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Division:
        """How the rows of a program are divided that has these sites when it is called with these arguments.

        Raises:
            ShardError: there is no such plate, or no argument is as long.
        """
        frames = {frame.name: frame for site in sites.values() for frame in site.plates}
        frame = frames.get(program.plate)
        if frame is None:
            known = ", ".join(map(repr, sorted(frames))) or "none"
            raise ShardError(f"the program has no plate {program.plate!r}, whose rows were to be divided. Its plates: {known}.")
        for site in sites.values():
            check(site, program.plate)
        if program.split is not None and not program.split:
            return cls(program.plate, frame.indices is not None, None)
        if frame.indices is not None:
            return cls(program.plate, True, ())
        named: list[tuple[str | int, Any]] = [*enumerate(args), *kwargs.items()]
        whole = tuple(key for key, value in named if isinstance(value, Tensor) and value.dim() and len(value) == frame.size)
        wrong = [key for key in program.split or () if key not in whole]
        if wrong:
            raise ShardError(
                f"argument {wrong[0]!r} is to be cut by rows, of which the plate has {frame.size}: it has not as many."
            )
        if not whole:
            raise ShardError(
                f"the plate {program.plate!r} has {frame.size} rows, and no argument of the program has as many. Give it its "
                "data as arguments, and take the size of the plate from them: `plate(name, len(y))`."
            )
        return cls(program.plate, False, whole if program.split is None else program.split)

    @property
    def leads(self) -> bool:
        """Whether this rank has the terms that are not in the plate."""
        return dist.get_rank() == 0

    def model(self, program: Callable[..., Any]) -> Part:
        """The terms of this rank of a model."""
        return Part(program, self)

    def guide(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """The terms of this rank of a guide, which are all or none."""
        return program if self.leads else Silent(program)

    def rows(self, count: int) -> slice:
        """The rows of this rank, of `count` of them."""
        return divide(count, dist.get_world_size())[dist.get_rank()]


class Part(Wrapper):
    """A model of which this rank has the terms of its rows, and the first rank all others as well."""

    def __init__(self, fn: Callable[..., Any], division: Division) -> None:
        self.fn = self.program = fn
        self.division = division

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        division, count = self.division, None
        if division.places:
            count, args, kwargs = self._cut(division.places, args, kwargs)
        with share(division=division, count=count):
            return run_program(self.program, args, kwargs)

    def _cut(
        self, places: Sequence[str | int], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, tuple[Any, ...], dict[str, Any]]:
        given: dict[str | int, Any] = dict([*enumerate(args), *kwargs.items()])
        counts = {key: len(given[key]) for key in places if isinstance(given.get(key), Tensor)}
        if len(counts) < len(places) or len(set(counts.values())) != 1:
            raise ShardError(
                f"the arguments {', '.join(map(repr, places))} are cut by rows, and do not have as many as each other here."
            )
        rows = self.division.rows(next(iter(counts.values())))
        cut = {key: value[rows] if key in counts else value for key, value in given.items()}
        left = {key: value for key, value in cut.items() if isinstance(key, str)}
        return rows.stop - rows.start, tuple(cut[k] for k in range(len(args))), left


class Silent(Wrapper):
    """A program without its terms."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = self.program = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _silent():
            return run_program(self.program, args, kwargs)


@handler
class _silent(Messenger[P, R]):
    def handle(self, site: Site) -> Any:
        return perform(site.but(mask=False) if isinstance(site, (Sample, Factor)) else site)


@handler
class share(Messenger[P, R]):
    """The terms of this rank.

    Args:
        division: how the rows are divided.
        count: how many rows this rank has been given; None does not check.
    """

    division: Division = required()
    count: int | None = required()

    _drawn: dict[str, float] = field(init=False, repr=False, default_factory=dict)

    def handle(self, site: Site) -> Any:
        plate = self.division.plate
        if (
            isinstance(site, Sample)
            and site.infer.get("is_subsample")
            and site.name == plate
            and self.division.places is not None
        ):
            found = perform(site)
            mine = found.value[self.division.rows(len(found.value))]
            self._drawn[plate] = len(mine) / len(found.value)
            return found.but(value=mine)
        frame = next((frame for frame in site.plates if frame.name == plate), None)
        if frame is None:
            silent = isinstance(site, (Sample, Factor)) and not self.division.leads
            return perform(site.but(mask=False) if silent else site)
        check(site, plate)
        self._check_size(site, frame)
        if plate in self._drawn and isinstance(site, (Sample, Factor)):
            site = site.but(scale=site.scale * self._drawn[plate])
        return perform(site)

    def _check_size(self, site: Site, frame: Frame) -> None:
        if self.count is not None and frame.size != self.count:
            raise ShardError(
                f"the plate {frame.name!r} of site {site} has size {frame.size} on a rank of {self.count} rows. Give the "
                "program its data as arguments, and take the size of the plate from them: `plate(name, len(y))`."
            )


def check(site: Site, plate: str) -> None:
    """That the rows of a site can be divided, if it is in the plate.

    Raises:
        ShardError: they cannot.
    """
    frame = next((frame for frame in site.plates if frame.name == plate), None)
    if frame is None:
        return
    if frame.dim is None:
        raise ShardError(
            f"the plate {plate!r} of site {site} is a loop, so that its rows cannot be divided. "
            "Write `with plate(name, size):`."
        )
    unknown = isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample")
    if unknown or (isinstance(site, Param) and site.event_dim is not None):
        raise ShardError(
            f"site {site} is unknown, and in the plate {plate!r} that is divided: each rank would need a part of the "
            "coordinates, which is not supported. Divide a different plate, or integrate the site out."
        )


def division_of(program: Any, sites: Mapping[str, Site], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Division | None:
    """How a program is divided over ranks; None if it is not, or there is one process."""
    found = sharded(program) if is_distributed() else None
    return None if found is None else Division.of(found, sites, args, kwargs)


def seed_of_all(program: Any, number: int) -> int:
    """The seed of rank 0, if a program is divided over ranks; otherwise `number`."""
    return int(RankGroup().gather(number)[0]) if is_distributed() and sharded(program) is not None else number

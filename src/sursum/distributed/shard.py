"""`shard`: mark a program as one whose data are divided by the rows of a plate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sursum.common.settings import check_setting, whole_number
from sursum.core.calling import Wrapper, check_program, layers
from sursum.density.log_density import LogDensity
from sursum.distributed import density as divided
from sursum.distributed.hidden import check_called
from sursum.errors import OptionError


class Sharded(Wrapper):
    """A program whose density is computed in parts; called, it is the program itself. See `shard`."""

    def __init__(self, fn: Callable[..., Any], plate: str, split: tuple[str | int, ...] | None, threads: int) -> None:
        self.fn, self.plate, self.split, self.threads = fn, plate, split, threads

    def __repr__(self) -> str:
        return f"shard({getattr(self.fn, '__name__', self.fn)}, plate={self.plate!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_called(self.plate)
        program: Any = self.fn
        return program(*args, **kwargs)

    def compile_density(self, density: LogDensity, engine: str | None) -> Any:
        """The sum of the compiled parts; `compile_density` calls it."""
        return divided.compile_parts(density, engine, self.plate, self.split, self.threads)


def sharded(program: Callable[..., Any]) -> Sharded | None:
    """How a program is divided, wherever `shard` is among its handlers; None if it is not."""
    return next((one for one in layers(program) if isinstance(one, Sharded)), None)


def shard(
    model: Callable[..., Any], *, plate: str, split: Sequence[str | int] | None = None, threads: int | None = None
) -> Sharded:
    r"""Divide the rows of a plate, so that a log density over many of them is evaluated in parallel.

    .. math:: \log p(q) = \log p_{global}(q) + \sum_{s} \sum_{i \in rows_s} \log p(y_i \mid q)

    Under `torchrun`, with an initialised process group of `torch.distributed`, each rank has one part, and value and gradient
    are summed over the ranks. Rank 0 runs the method and decides; the others evaluate what it asks for and return its result,
    so that every rank continues with the same draws. Otherwise the parts are evaluated by threads of this process: up to 16
    parts whatever the number of threads, summed in a fixed order, so that results do not depend on it.

    SVI, SGMCMC and SWAG take the same steps on every rank: each has the terms of its rows of the data, of a subsample, or of a
    batch of a loader, draws come from the same seed, and the sums of losses and gradients are those of one process, to
    rounding. Gradients are sent in buckets while others are still being computed. Every rank calls the methods, `svi.sample`
    included.

    Used as the program of `NUTS`, `Fit`, `Laplace`, `Pathfinder`, `SVI`, `SGMCMC` or `SWAG`. What the program computes from its
    data must be by rows: a mean over all rows inside it would be that of a part, and is an error.

    Args:
        model: the program. Its data are arguments, and the size of the plate comes from them. Handlers and `lift` may be
            inside or around: ``lift(shard(model))`` is divided as ``shard(lift(model))`` is. A function that calls a program
            which `shard` has marked is not, and is refused on several ranks.
        plate: the name of the plate whose rows are divided. Unknowns in it are refused.
        split: which arguments are cut, by position or by name; None cuts every tensor whose first dimension is as long as the
            plate. Empty: none is, since each rank is called with its own rows, or with a loader of its own.
        threads: how many threads evaluate the parts; without a process group all cores, with one a single thread each.

    Raises:
        OptionError: an invalid setting; the program is divided already.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> y = torch.linspace(-1.0, 1.0, 1000)
        >>> whole, parts = su.compile(model, y), su.compile(su.distributed.shard(model, plate="data", threads=2), y)
        >>> abs(whole.value_and_grad([0.5])[0] - parts.value_and_grad([0.5])[0]) < 1e-10
        True
    """
    check_program("model", model, OptionError)
    if (inner := sharded(model)) is not None:
        raise OptionError(
            f"the program is divided by the rows of the plate {inner.plate!r} already, and can be by those of one plate only: "
            "leave one `shard` out."
        )
    check_setting("plate", isinstance(plate, str), plate, "the name of a plate", OptionError, "give the name in the program")
    names = split is None or (isinstance(split, Sequence) and all(isinstance(name, (str, int)) for name in split))
    names = names and not isinstance(split, str)
    check_setting("split", names, split, "names or positions of arguments", OptionError, "leave it out to cut by size")
    count = 0 if threads is None else whole_number("threads", threads, 1, OptionError, "leave it out to use all cores")
    return Sharded(model, plate, None if split is None else tuple(split), count)

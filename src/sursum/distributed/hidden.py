"""Programs that call a divided one from inside a function: their rows are not divided, which every rank would do in silence."""

from __future__ import annotations

from sursum.core.calling import innermost, layers, whole_program
from sursum.distributed.group import is_distributed
from sursum.errors import ShardError


def check_called(plate: str) -> None:
    """A program that is divided by the rows of this plate is being called.

    Raises:
        ShardError: by one that is not, of which several ranks form the density.
    """
    program = whole_program()
    if program is None or not is_distributed() or any(hasattr(one, "compile_density") for one in layers(program)):
        return
    inner = innermost(program)
    name = getattr(inner, "__qualname__", type(inner).__name__)
    raise ShardError(
        f"the program {name} calls one that `shard` has marked, and is not marked itself: its rows would not be divided, "
        f"and each rank would have a posterior of its own. Mark the program that is sampled instead, "
        f"shard({name}, plate={plate!r})."
    )

"""The search for points at which a program runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from sursum.core.failure import explaining
from sursum.errors import ArgumentError, DensityError, IntegrationError, ObservationError, SursumError

TRIES = 100

T = TypeVar("T")


def runs(attempt: Callable[[int], T], tries: int = TRIES, aim: str = "") -> Iterator[T]:
    """What `attempt` gives at each of `tries` tries, numbered from 0, except those at which the program fails.

    A program may fail at some values of its latent sites only: at a matrix that is not positive definite there, an
    argument or an observation outside a support that depends on them. Every other error of ours holds everywhere.

    Args:
        attempt: runs the program, anywhere.
        tries: how often.
        aim: what becomes impossible where the program fails at every try, such as "no chain could start".

    Raises:
        DensityError: the program failed at every try; without an `aim`, what we said of it then.
        SursumError: an error that does not depend on the values.

    Example:
        >>> import math
        >>> list(runs(lambda k: math.sqrt(k - 2), 4))
        [0.0, 1.0]
    """
    failure: Exception | None = None
    ran = False
    for number in range(tries):
        try:
            found = attempt(number)
        except (ArgumentError, ObservationError) as error:
            failure = error
        except SursumError:
            raise
        except (ValueError, torch.linalg.LinAlgError) as error:
            failure = error
        else:
            ran = True
            yield found
    if ran or failure is None:
        return
    failure = _as_said_plainly(attempt, tries - 1) or failure
    if isinstance(failure, SursumError) and not aim:
        raise failure
    raise DensityError(
        f"{f'{aim}: ' if aim else ''}the program fails wherever it was tried, {tries} times, at last by: {failure}. "
        "Give its parameters initial values at which it runs, or constrain what its distributions are given."
    ) from failure


def _as_said_plainly(attempt: Callable[[int], Any], number: int) -> IntegrationError | None:
    """What a solver of equations says of a try at which it only gave NaN, from which the program failed later."""
    try:
        with explaining():
            attempt(number)
    except IntegrationError as error:
        return error
    except Exception:  # the failure that is known
        return None
    return None

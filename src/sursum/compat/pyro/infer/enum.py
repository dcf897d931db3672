"""Enumeration of discrete sites."""

from __future__ import annotations

from typing import Any, NoReturn

from sursum.compat.pyro.poutine.enumerated import ENUMERATION
from sursum.errors import DensityError


def config_enumerate(*args: Any, **kwargs: Any) -> NoReturn:
    """Mark discrete sites to be enumerated.

    Raises:
        DensityError: always, so far.
    """
    raise DensityError(f"config_enumerate is not here: {ENUMERATION}.")


def infer_discrete(*args: Any, **kwargs: Any) -> NoReturn:
    """Draw discrete sites from their posterior.

    Raises:
        DensityError: always, so far.
    """
    raise DensityError(f"infer_discrete is not here: {ENUMERATION}.")


class TraceEnum_ELBO:
    """The evidence lower bound with discrete sites summed out.

    Raises:
        DensityError: always, so far.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise DensityError(
            f"{type(self).__name__} is not here: {ENUMERATION}; for sites that can be differentiated write Trace_ELBO()."
        )


class JitTraceEnum_ELBO(TraceEnum_ELBO):
    """`TraceEnum_ELBO`."""


class TraceTMC_ELBO(TraceEnum_ELBO):
    """`TraceEnum_ELBO`."""

"""Enumeration of discrete sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import sursum as su
from sursum.compat.pyro.infer.elbo import ELBO
from sursum.errors import DensityError, OptionError


def config_enumerate(
    guide: Callable[..., Any] | None = None,
    default: str | None = "parallel",
    expand: bool = False,
    num_samples: int | None = None,
    tmc: str = "diagonal",
) -> Any:
    """Enumerate every discrete site of a program that says nothing itself; as a decorator with or without options.

    Raises:
        OptionError: `num_samples` asks for draws in the place of sums.
    """
    if num_samples is not None:
        raise OptionError("config_enumerate sums discrete sites exactly: leave num_samples and tmc out.")
    made = su.infer.config_enumerate(default=default)
    return made if guide is None else made(guide)


def infer_discrete(*args: Any, **kwargs: Any) -> NoReturn:
    """Draw discrete sites from their posterior.

    Raises:
        DensityError: always; it is a function of a posterior here.
    """
    raise DensityError(
        "discrete sites are drawn given the draws of a posterior: write su.infer.infer_discrete(posterior, temperature=1), "
        "with "
        "`import sursum as su` and the posterior of su.infer.MCMC(su.infer.NUTS(model)).run(…)."
    )


class TraceEnum_ELBO(ELBO):
    """The evidence lower bound, averaged exactly over the enumerated sites of the guide, and summed over those of the model."""

    bound: ClassVar[type[su.infer.ELBO]] = su.infer.TraceEnum_ELBO


class JitTraceEnum_ELBO(TraceEnum_ELBO):
    """`TraceEnum_ELBO`."""


class TraceTMC_ELBO:
    """The evidence lower bound by tensor Monte Carlo.

    Raises:
        DensityError: always; sums are exact here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise DensityError("TraceTMC_ELBO is not here: discrete sites are summed exactly. Write TraceEnum_ELBO().")

"""What the settings of all kernels have in common: their checks, and the metric that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sursum.common.settings import check_setting, is_real, real_number
from sursum.draws.draws import Draws
from sursum.errors import SamplingError
from sursum.mcmc.kernel import fisher
from sursum.mcmc.kernel.adaptation import KINDS, WORTH
from sursum.mcmc.kernel.metric import Metric

Array = NDArray[np.float64]

MOST_DRAWS = 400
"""Draws of a posterior at which gradients are evaluated for its metric."""


class KernelSettings(Protocol):
    """Settings of a sampler."""

    @property
    def model(self) -> Callable[..., Any]: ...

    @property
    def metric(self) -> Any: ...

    @property
    def target_accept(self) -> float: ...

    def fields(self) -> dict[str, float]:
        """The kernel's fields of a chain's header."""
        ...


def check_probability(name: str, value: Any) -> None:
    expected, remedy = "a probability strictly between 0 and 1", "0.8 is usual, 0.9 to 0.99 where there are divergences"
    check_setting(name, is_real(value) and 0.0 < value < 1.0, value, expected, SamplingError, remedy)


def check_positive(name: str, value: Any, remedy: str) -> None:
    real_number(name, value, SamplingError, remedy, above=0)


def check_metric(value: Any) -> None:
    """Whether `value` is a kind of metric, or has the form of one."""
    remedy = "leave it out, and the warm-up chooses"
    expected = "'auto', 'diagonal', 'low_rank', 'dense', variances (n,), a covariance (n, n), a Posterior, or an SVI"
    if isinstance(value, Draws) or _samples(value):
        return
    if isinstance(value, str):
        check_setting("metric", value in KINDS, value, expected, SamplingError, remedy)
        return
    try:
        found = np.asarray(value, dtype=np.float64)
        holds = found.ndim in (1, 2) and found.size > 0 and bool(np.isfinite(found).all())
    except (TypeError, ValueError):
        holds = False
    check_setting("metric", holds, value, expected, SamplingError, remedy)


def draws_behind(fit: Any) -> Draws | None:
    """The draws of a posterior, or some of a fitted `SVI`; None of anything else."""
    if isinstance(fit, Draws):
        return fit
    found = fit.sample(MOST_DRAWS) if _samples(fit) else None
    return found if isinstance(found, Draws) else None


def _samples(fit: Any) -> bool:
    """Whether it is an `SVI`: tables have a method of that name too."""
    return callable(getattr(fit, "sample", None)) and hasattr(fit, "guide")


def adapts_correlations(metric: Any) -> bool:
    """Whether that kind of metric takes correlations in, wherever there are any."""
    return not (isinstance(metric, str) and metric in ("auto", "diagonal"))


def read_metric(metric: Any, n: int, value_and_grad: Callable[[Array], tuple[float, Array]], held: int = 0) -> Metric | None:
    """The metric that was given, for n unknowns, and others that are held; None where the warm-up finds one.

    Raises:
        SamplingError: it does not fit the number of unknowns, or is not positive.
    """
    if isinstance(metric, str):
        return None
    draws = draws_behind(metric)
    if draws is not None:
        return metric_of_draws(draws, n, value_and_grad, held)
    found = np.asarray(metric, dtype=np.float64)
    if found.shape not in ((n,), (n, n)):
        raise SamplingError(
            f"`metric` has shape {found.shape}, but must have shape ({n},) or ({n}, {n}): variances or a covariance of the {n} "
            "unconstrained coordinates, as in `posterior.coordinates`."
        )
    if found.ndim == 1:
        if not (found > 0.0).all():
            raise SamplingError("`metric` has variances that are not positive. Every coordinate must have a variance above 0.")
        return Metric.diagonal(found)
    try:
        if not np.allclose(found, found.T, rtol=1e-8, atol=0.0):
            raise np.linalg.LinAlgError
        return Metric.dense(found)
    except np.linalg.LinAlgError:
        raise SamplingError("`metric` is not a covariance: a symmetric, positive definite matrix was expected.") from None


def metric_of_draws(draws: Draws, n: int, value_and_grad: Callable[[Array], tuple[float, Array]], held: int = 0) -> Metric:
    """The metric by the draws of a posterior and the gradients there: scales, and directions that stand out.

    Args:
        draws: of the posterior.
        n: the number of coordinates that move.
        value_and_grad: the density, of these and of those that are held.
        held: how many are.

    Raises:
        SamplingError: they are draws of something else, or at fewer than ten different points.
    """
    whole = n + held
    if draws.unconstrained.shape[2:] != (whole,):
        raise SamplingError(
            f"the posterior that was given for the metric has {draws.unconstrained.shape[-1]} unconstrained coordinates, but "
            f"the program has {whole}. Give a posterior of the same program."
        )
    flat = np.asarray(draws.unconstrained, dtype=np.float64).reshape(-1, whole)
    flat = np.unique(flat[np.random.default_rng(0).permutation(len(flat))[:MOST_DRAWS]], axis=0)
    flat = flat[np.random.default_rng(0).permutation(len(flat))]
    found = [(q, *value_and_grad(q)) for q in flat]
    used = [(q[:n], g[:n]) for q, value, g in found if np.isfinite(value) and np.isfinite(g).all()]
    if len(used) < 10:
        raise SamplingError(
            f"the posterior that was given for the metric has {len(used)} different draws at which the density is finite, but "
            "at least 10 are needed."
        )
    q, g = np.stack([q for q, _ in used]), np.stack([g for _, g in used])
    low = fisher.low_rank(q, g)
    return low if fisher.shortening(low) >= WORTH else Metric.diagonal(fisher.scales(q, g) ** 2)

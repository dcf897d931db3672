"""The settings of WALNUTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.common.settings import settle, whole_number
from sursum.core.calling import check_program
from sursum.errors import SamplingError
from sursum.mcmc.kernel.state import Transition
from sursum.mcmc.kernel_settings import check_metric, check_positive, check_probability
from sursum.mcmc.other_libraries import KERNEL_OPTIONS


@answers(**KERNEL_OPTIONS)
@dataclass(frozen=True, repr=False)
class WALNUTS:
    r"""The No-U-Turn sampler whose steps become smaller where the density needs it, for a program.

    Every step of a trajectory is made of 1, 2, 4, … leapfrog steps, the fewest over which the energy stays within
    `tolerance`. A funnel is explored to its neck, where one step size for the whole space diverges; elsewhere a
    gradient is worth about three quarters of one of `NUTS`.

    Args:
        model: the program, with or without handlers around it.
        tolerance: by how much the energy may vary within a step. Smaller means smaller steps in difficult places.
        target_accept: the mean of :math:`\exp(-\min(|\Delta H|, t))`, with the energy H over a single leapfrog step and t the
            `tolerance`, to which the warm-up adapts the step size, in (0, 1).
        max_tree_depth: a trajectory has at most 2^max_tree_depth steps.
        max_halvings: a step is divided into at most 2^max_halvings.
        metric: as in `NUTS`.

    Raises:
        SamplingError: a setting outside its range, or of the wrong type.

    References:
        Bou-Rabee, Carpenter, Kleppe & Liu (2025), arXiv:2506.18746.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def funnel():
        ...     v = su.sample("v", dist.Normal(0.0, 2.0))
        ...     su.sample("x", dist.Normal(0.0, (0.5 * v).exp()))
        >>> posterior = su.infer.MCMC(su.infer.WALNUTS(funnel), num_samples=3000, seed=0, progress=False).run()
        >>> bool(posterior["v"].min() < -5.0), int(posterior.stats["diverging"].sum())
        (True, 0)
    """

    model: Callable[..., Any]
    tolerance: float = 1.0
    target_accept: float = 0.8
    max_tree_depth: int = 10
    max_halvings: int = 10
    metric: Any = "auto"

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        check_positive("tolerance", self.tolerance, "1.0 is usual")
        check_probability("target_accept", self.target_accept)
        whole = {
            "max_tree_depth": whole_number("max_tree_depth", self.max_tree_depth, 1, SamplingError, "10 is usual"),
            "max_halvings": whole_number("max_halvings", self.max_halvings, 0, SamplingError, "10 is usual"),
        }
        settle(self, whole)
        check_metric(self.metric)

    def fields(self) -> dict[str, float]:
        """The kernel's fields of a chain's header."""
        return {
            "kernel": Transition.WALNUTS,
            "target": self.target_accept,
            "tolerance": self.tolerance,
            "max_depth": self.max_tree_depth,
            "max_halvings": self.max_halvings,
        }

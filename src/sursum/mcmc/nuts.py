"""The settings of the No-U-Turn sampler."""

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
from sursum.mcmc.kernel_settings import check_metric, check_probability
from sursum.mcmc.other_libraries import KERNEL_OPTIONS


@answers(**KERNEL_OPTIONS)
@dataclass(frozen=True, repr=False)
class NUTS:
    """The No-U-Turn sampler (Hamiltonian Monte Carlo whose trajectories end where they turn back) for a program.

    Args:
        model: the program, with or without handlers around it.
        target_accept: the mean acceptance probability to which the warm-up adapts the step size, in (0, 1). Larger
            means smaller steps: slower, and fewer divergences.
        max_tree_depth: a trajectory has at most 2^max_tree_depth steps.
        metric: the scales of the unconstrained coordinates in which trajectories are run. "auto" adapts scales, and
            correlations too where they shorten trajectories; "diagonal", "low_rank" and "dense" adapt that kind.
            Variances (n,), a covariance (n, n), or a `Posterior` of the same program (of an earlier run, of `Laplace`), or a
            fitted `SVI` are taken as given, and only the step size is adapted. A run with `init=posterior` takes the
            metric of that posterior by itself.

    Raises:
        SamplingError: a setting outside its range, or of the wrong type.

    References:
        Hoffman & Gelman (2014), JMLR 15. Betancourt (2017), arXiv:1701.02434, appendix A. The metric: Seyboldt, Carlson &
        Carpenter (2026), arXiv:2603.18845.

    Example:
        >>> NUTS(lambda: None, target_accept=0.9).max_tree_depth
        10
    """

    model: Callable[..., Any]
    target_accept: float = 0.8
    max_tree_depth: int = 10
    metric: Any = "auto"

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        check_probability("target_accept", self.target_accept)
        settle(self, {"max_tree_depth": whole_number("max_tree_depth", self.max_tree_depth, 1, SamplingError, "10 is usual")})
        check_metric(self.metric)

    def fields(self) -> dict[str, float]:
        """The kernel's fields of a chain's header."""
        return {"kernel": Transition.NUTS, "target": self.target_accept, "max_depth": self.max_tree_depth}

"""The settings of the No-U-Turn sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, settle, whole_number
from sursum.core.calling import check_program
from sursum.errors import SamplingError


@answers(
    target_accept_prob="target_accept",
    adapt_delta="target_accept",
    accept_prob="target_accept",
    max_treedepth="max_tree_depth",
    treedepth="max_tree_depth",
    step_size="the warm-up adapts it, and `target_accept=` determines how small it becomes",
    adapt_step_size="it is always adapted",
    adapt_mass_matrix="it is always adapted",
    dense_mass="it would be of the dimension squared: `low_rank=True` adapts to correlations",
    full_mass="it would be of the dimension squared: `low_rank=True` adapts to correlations",
    init_strategy="where chains start is an option of the run: `MCMC(NUTS(model), init=…)`",
    jit_compile="every density is compiled",
    potential_fn="give a program; a term of a log density is a `factor` in it",
    step_scale="`target_accept=` determines how small steps become",
)
@dataclass(frozen=True, repr=False)
class NUTS:
    """The No-U-Turn sampler (Hamiltonian Monte Carlo whose trajectories end where they turn back) for a program.

    Args:
        model: the program, with or without handlers around it.
        target_accept: the mean acceptance probability to which the warm-up adapts the step size, in (0, 1). Larger
            means smaller steps: slower, and fewer divergences.
        max_tree_depth: a trajectory has at most 2^max_tree_depth steps.
        low_rank: adapt to strong correlations between sites as well as to their scales. Costs a little more per step.

    Raises:
        SamplingError: a setting outside its range, or of the wrong type.

    References:
        Hoffman & Gelman (2014), JMLR 15. Betancourt (2017), arXiv:1701.02434, appendix A.

    Example:
        >>> NUTS(lambda: None, target_accept=0.9).max_tree_depth
        10
    """

    model: Callable[..., Any]
    target_accept: float = 0.8
    max_tree_depth: int = 10
    low_rank: bool = False

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        number = isinstance(self.target_accept, (int, float)) and not isinstance(self.target_accept, bool)
        check_setting(
            "target_accept",
            number and 0.0 < self.target_accept < 1.0,
            self.target_accept,
            "a probability strictly between 0 and 1",
            SamplingError,
            "0.8 is usual, 0.9 to 0.99 where there are divergences",
        )
        settle(self, {"max_tree_depth": whole_number("max_tree_depth", self.max_tree_depth, 1, SamplingError, "10 is usual")})
        flag = isinstance(self.low_rank, bool)
        check_setting("low_rank", flag, self.low_rank, "True or False", SamplingError, "leave it out for False")

"""The settings of Hamiltonian Monte Carlo."""

from __future__ import annotations

import math
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


@answers(
    **KERNEL_OPTIONS,
    num_steps="give the length of a trajectory: `trajectory_length=`; its steps are as many as the step size needs",
    path_length="trajectory_length",
)
@dataclass(frozen=True, repr=False)
class HMC:
    """Hamiltonian Monte Carlo with trajectories of a given length, for a program; `NUTS` finds the length by itself.

    A trajectory is from half to one and a half times as long as `trajectory_length`, at random, so that none is a period.

    Args:
        model: the program, with or without handlers around it.
        trajectory_length: the mean length, in the units of the metric. With π/2 a trajectory in a normal whose scales the
            metric has ends independently of its start.
        target_accept: the mean acceptance probability to which the warm-up adapts the step size, in (0, 1).
        max_steps: the most steps of a trajectory.
        metric: as in `NUTS`.

    Raises:
        SamplingError: a setting outside its range, or of the wrong type.

    References:
        Neal (2011), arXiv:1206.1901.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> kernel = HMC(lambda: su.sample("z", dist.Normal(3.0, 2.0)))
        >>> posterior = su.infer.MCMC(kernel, seed=0, progress=False).run()
        >>> round(float(posterior["z"].std()))
        2
    """

    model: Callable[..., Any]
    trajectory_length: float = math.pi / 2
    target_accept: float = 0.8
    max_steps: int = 1000
    metric: Any = "auto"

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, SamplingError)
        check_positive("trajectory_length", self.trajectory_length, "1.6 is usual")
        check_probability("target_accept", self.target_accept)
        settle(self, {"max_steps": whole_number("max_steps", self.max_steps, 1, SamplingError, "1000 is usual")})
        check_metric(self.metric)

    def fields(self) -> dict[str, float]:
        """The kernel's fields of a chain's header."""
        return {
            "kernel": Transition.HMC,
            "target": self.target_accept,
            "length": self.trajectory_length,
            "max_steps": self.max_steps,
            "max_depth": 1,
        }

"""One run of a program at given coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.core.calling import run_program
from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.core.valid_data import ValidData
from sursum.core.validation import enable_validation
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.survey import Survey
from sursum.density.unconstrain import Placed
from sursum.errors import ArgumentError, ObservationError
from sursum.handlers import trace
from sursum.handlers.enumerate.enumerated import Enumerated, Plan

Choose = Callable[[Sample, torch.Size, Any], Tensor]
"""From a latent site, the shape of its coordinates and the map to its support, its coordinates."""


@dataclass(frozen=True)
class Execution:
    """How a density runs its program.

    Args:
        model, args, kwargs: the program and its arguments.
        valid: what is known of the data.
        plan: the discrete sites to be summed out; None if there are none.
    """

    model: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    valid: ValidData
    plan: Plan | None = None

    def run(self, at: Placed, summing: Enumerated | None = None) -> Trace:
        """The sites of a run; `at` has afterwards their log-Jacobians, and what was summed out, by `summing` if it is given."""
        said = explain_torch_errors(lambda: recorder.trace, self.model, self.args, self.kwargs)
        if summing is None and self.plan is not None:
            summing = Enumerated(plan=self.plan)
        with trace() as recorder, summing or nullcontext() as summed, at as running, said, self.valid.here():
            result = run_program(self.model, self.args, self.kwargs)
        at.jacobians, at.placed, at.summed = running.jacobians, running.placed, summed
        return Trace(recorder.trace.nodes, result)

    def survey(self, choose: Choose, seed: int = 0) -> tuple[Trace, Survey]:
        """A run in which each discrete site that can be summed out has one value.

        At that value the data may be impossible, which matters only where there is no other.
        """
        said = explain_torch_errors(lambda: recorder.trace, self.model, self.args, self.kwargs)
        survey = Survey(seed=seed)
        try:
            with trace() as recorder, survey as surveyed, Placed(choose=choose), said, self.valid.here():
                result = run_program(self.model, self.args, self.kwargs)
        except (ArgumentError, ObservationError):
            if not surveyed.sites:
                raise
            with enable_validation(False), trace() as recorder, survey as surveyed, Placed(choose=choose):
                result = run_program(self.model, self.args, self.kwargs)
        return Trace(recorder.trace.nodes, result), surveyed

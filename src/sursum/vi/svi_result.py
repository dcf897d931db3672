"""`SVIResult`: what a run of `SVI` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sursum.common.reprs import shapes_text
from sursum.common.tables import Shown


@dataclass(frozen=True, repr=False)
class SVIResult(Shown):
    """The result of a run of `SVI`.

    Args:
        losses: float64, one for each step of the run.
        params: the constrained values of all parameters, by name.
        stopped_early: whether early stopping ended the run.
        engine: the engine that computed the gradients.
    """

    losses: Tensor
    params: Mapping[str, Tensor]
    stopped_early: bool
    engine: str

    def __repr__(self) -> str:
        ended = ", stopped early" if self.stopped_early else ""
        return (
            f"<SVIResult: {len(self.losses)} steps by the {self.engine} engine{ended}, loss {float(self.losses[0]):.4g} to "
            f"{float(self.losses[-1]):.4g}; {shapes_text(self.params, 'no parameters')}>"
        )

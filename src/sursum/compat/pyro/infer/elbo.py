"""Pyro's bounds, as sursum's underneath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import sursum as su
from sursum.compat.pyro import poutine
from sursum.compat.pyro.running import as_program
from sursum.compat.pyro.store import STORE
from sursum.errors import OptionError
from sursum.handlers import Messenger, Param, Site, perform

Program = Callable[..., Any]


class Reads(Messenger):
    """Notes which parameters of the store a program reads: those that remain parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, None] = {}

    def handle(self, site: Site) -> Any:
        out = perform(site)
        if isinstance(out, Param):
            self.names[out.name] = None
        return out


class ELBO:
    """The base of all bounds: estimated with draws of the guide; its negative is the loss.

    Args:
        num_particles: draws of the guide per estimate.
        max_plate_nesting: how many dimensions plates take; infinity determines it by one run.
        vectorize_particles: draw them all in one run.
        max_iarange_nesting, strict_enumeration_warning, ignore_jit_warnings, jit_options, retain_graph: of Pyro's own
            machinery; they have no use here.
    """

    bound: ClassVar[type[su.infer.ELBO]] = su.infer.Trace_ELBO

    def __init__(
        self,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        max_iarange_nesting: int | None = None,
        vectorize_particles: bool = False,
        strict_enumeration_warning: bool = True,
        ignore_jit_warnings: bool = False,
        jit_options: Mapping[str, Any] | None = None,
        retain_graph: bool | None = None,
        tail_adaptive_beta: float = -1.0,
    ) -> None:
        nesting = max_plate_nesting if max_iarange_nesting is None else max_iarange_nesting
        self.num_particles, self.vectorize_particles, self.max_plate_nesting = num_particles, vectorize_particles, nesting
        self.sursum = self._made()

    def _made(self) -> su.infer.ELBO:
        return self.bound(**self._settings())

    def _settings(self) -> dict[str, Any]:
        nesting = None if math.isinf(self.max_plate_nesting) else int(self.max_plate_nesting)
        return {
            "num_particles": self.num_particles,
            "vectorize_particles": self.vectorize_particles,
            "max_plate_nesting": nesting,
        }

    def __call__(self, model: Program, guide: Program) -> ELBOModule:
        """The loss of a model and a guide as a module, whose parameters are those that they read."""
        return ELBOModule(model, guide, self)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """The loss, with the gradient by the store's leaves."""
        loss: Tensor = self.sursum.differentiable_loss(as_program(model), as_program(guide), *args, **kwargs)
        return loss

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The loss as a number."""
        with torch.no_grad():
            return float(self.sursum.loss(as_program(model), as_program(guide), *args, **kwargs))

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The loss as a number; its gradients are added to those of the store's leaves."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach())

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The traces of a model and of a guide at one draw of the guide, scored."""
        drawn = poutine.trace(guide).get_trace(*args, **kwargs)
        scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args, **kwargs)
        for trace in (scored, drawn):
            trace.compute_log_prob()
        return scored, drawn

    def _get_traces(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
        for _ in range(self.num_particles):
            yield self._get_trace(model, guide, args, kwargs)


class ELBOModule(nn.Module):
    """The loss of a model and a guide as a function of their arguments, for a torch optimiser.

    Modules among model and guide are submodules; call it once before `parameters()`, which then has also what the store has.
    """

    def __init__(self, model: Program, guide: Program, elbo: ELBO) -> None:
        super().__init__()
        self.model, self.guide, self.elbo = model, guide, elbo
        self._reads = Reads()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        with self._reads as reads:
            loss = self.elbo.differentiable_loss(self.model, self.guide, *args, **kwargs)
        self._reads.names |= reads.names
        return loss

    def named_parameters(  # type: ignore[override]
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The parameters of the modules, and those of the store that were read."""
        seen: set[int] = set()
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            seen.add(id(parameter))
            yield name, parameter
        for name in self._reads.names:
            leaf = STORE.leaves.get(name)
            if leaf is not None and id(leaf) not in seen:
                yield name, leaf


class Trace_ELBO(ELBO):
    """The evidence lower bound: `sursum.infer.Trace_ELBO`."""


class JitTrace_ELBO(Trace_ELBO):
    """`Trace_ELBO`: steps are compiled wherever they can be."""


class TraceGraph_ELBO(ELBO):
    """The evidence lower bound; what a site without differentiable draws costs is what depends on it, by plates."""


class JitTraceGraph_ELBO(TraceGraph_ELBO):
    """`TraceGraph_ELBO`."""


class TraceMeanField_ELBO(ELBO):
    """The evidence lower bound with divergences in closed form: `sursum.infer.TraceMeanField_ELBO`."""

    bound = su.infer.TraceMeanField_ELBO


class JitTraceMeanField_ELBO(TraceMeanField_ELBO):
    """`TraceMeanField_ELBO`."""


class RenyiELBO(ELBO):
    """The bound of order α: `sursum.infer.RenyiELBO`."""

    bound = su.infer.RenyiELBO

    def __init__(
        self,
        alpha: float = 0.0,
        num_particles: int = 2,
        max_plate_nesting: float = math.inf,
        max_iarange_nesting: int | None = None,
        vectorize_particles: bool = False,
        strict_enumeration_warning: bool = True,
    ) -> None:
        if alpha == 1:
            raise OptionError("`alpha` is 1: for that order use Trace_ELBO.")
        self.alpha = alpha
        super().__init__(num_particles, max_plate_nesting, max_iarange_nesting, vectorize_particles)

    def _made(self) -> su.infer.ELBO:
        return su.infer.RenyiELBO(self.alpha, **self._settings())

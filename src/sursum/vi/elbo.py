"""`ELBO`: the common base of all bounds of variational inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sursum.common.settings import settle, whole_number
from sursum.common.user_frame import warn
from sursum.core.messages import Frame, Sample
from sursum.core.trace import Trace
from sursum.errors import EngineWarning, SursumError, VariationalError
from sursum.handlers import plate
from sursum.vi.particle import Pair, Program, needs_score, pair

PARTICLES = "num_particles_vectorized"
_FOR_BATCHES = "Write them to support batching, as for plates (a lifted network does not), or leave vectorize_particles out."


@dataclass(frozen=True)
class ELBO:
    """A bound on the evidence, estimated with draws of the guide; its negative is the loss.

    A subclass implements the log weight of one particle (`log_weight`) and how particles are combined (`join`, `order`).

    Args:
        num_particles: draws of the guide per estimate.
        vectorize_particles: draw them all in one run, in a plate outside all others; the program must then support
            batching, as for plates; if it does not, `SVI` draws them one after another, with a note. The native
            engine loops over particles in C and does not need this.
        max_plate_nesting: how many dimensions the program's plates take; None determines it by one run.
    """

    num_particles: int = field(default=1, kw_only=True)
    vectorize_particles: bool = field(default=False, kw_only=True)
    max_plate_nesting: int | None = field(default=None, kw_only=True)

    averages: ClassVar[bool] = False  # whether discrete sites of the guide are averaged over

    def __post_init__(self) -> None:
        particles = whole_number("num_particles", self.num_particles, 1, VariationalError, "1 is usual")
        settle(self, {"num_particles": particles})
        if self.max_plate_nesting is not None:
            remedy = "leave it out to determine it by one run"
            nesting = whole_number("max_plate_nesting", self.max_plate_nesting, 0, VariationalError, remedy)
            settle(self, {"max_plate_nesting": nesting})

    # What a subclass implements.

    @property
    def order(self) -> float:
        """α: particles are combined as :math:`\\tfrac{1}{1-α} \\log \\tfrac1K \\sum_k w_k^{1-α}`; 1 is the mean of log w."""
        return 1.0

    def log_weight(self, pair: Pair, keep: int | None) -> Tensor:
        """log w of a pair's particle, (); or of all its particles, (K,), if `keep` is their dimension."""
        return sum_terms(pair.log_p.values(), keep) - sum_terms(pair.log_q.values(), keep)

    def check(self, guide: Trace) -> None:
        """Raise if this bound cannot be used with the guide."""

    def score_terms(self, pairs: Sequence[Pair], keep: int | None, baselines: Baselines) -> Tensor | float:
        """Terms of value zero whose gradient is that of the draws that cannot be differentiated."""
        raise NotImplementedError

    # Estimates.

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """The negative bound, a scalar whose gradient is an unbiased estimate of the bound's. Parameters come from the
        `ParamStore` around it."""
        return self.estimate(model, guide, args, kwargs, {})

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound, estimated once."""
        with torch.no_grad():
            return float(self.estimate(model, guide, args, kwargs, {}))

    def estimate(
        self, model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any], baselines: Baselines
    ) -> Tensor:
        """Like `differentiable_loss`; `baselines` holds the running averages of score-function terms, and is updated.

        Raises:
            VariationalError: the loss is not finite; names the site. The programs take no batch of particles.
            GuideError: guide and model do not fit.
        """
        return self._estimate(model, guide, args, kwargs, baselines, check=True)

    def weigh(
        self, model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any], baselines: Baselines
    ) -> Tensor:
        """Like `estimate`, without looking at the numbers: a capture may not."""
        return self._estimate(model, guide, args, kwargs, baselines, check=False)

    def _estimate(
        self,
        model: Program,
        guide: Program,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        baselines: Baselines,
        *,
        check: bool,
    ) -> Tensor:
        pairs, keep = self._pairs(model, guide, args, kwargs)
        log_weights = [self.log_weight(one, keep) for one in pairs]
        stacked = log_weights[0].reshape(-1) if keep is not None else torch.stack(log_weights)
        bound = join(stacked, self.order)
        for one in pairs if check else ():
            one.check_finite(bound)
        loss = -bound
        if any(needs_score(site) for site in pairs[0].guide.stochastic.values()):
            self.check(pairs[0].guide)
            loss = loss - self.score_terms(pairs, keep, baselines)
        return loss

    def _pairs(
        self, model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Pair], int | None]:
        if not self.vectorize_particles or self.num_particles == 1:
            return [pair(model, guide, args, kwargs, averages=self.averages) for _ in range(self.num_particles)], None
        nesting = self.max_plate_nesting
        if nesting is None:
            with torch.no_grad():
                nesting = deepest(pair(model, guide, args, kwargs, averages=self.averages))
        dim = -1 - nesting
        try:
            with _particles(PARTICLES, self.num_particles, dim=dim):
                return [pair(model, guide, args, kwargs, averages=self.averages)], dim
        except (RuntimeError, IndexError) as error:
            if isinstance(error, SursumError):
                raise
            pair(model, guide, args, kwargs, averages=self.averages)  # an error here as well is not caused by batching
            raise VariationalError(
                f"the programs do not take a batch of {self.num_particles} particles: {error}. {_FOR_BATCHES}"
            ) from error


class _particles(plate):
    """A plate around the whole program, whose copies share the data."""

    @property
    def frame(self) -> Frame:
        return replace(super().frame, repeats=True)


def batch(loss: ELBO, model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ELBO:
    """`loss`, or the same with particles drawn one after another if the programs do not support a batch of them.

    Warns:
        EngineWarning: they do not; says why.
    """
    if not loss.vectorize_particles or loss.num_particles == 1:
        return loss
    try:
        loss._pairs(model, guide, args, kwargs)
    except SursumError as error:
        reason = error.__cause__ if isinstance(error, VariationalError) and error.__cause__ is not None else error
        alone = replace(loss, vectorize_particles=False)
        alone._pairs(model, guide, args, kwargs)  # an error here as well is not caused by batching
        warn(
            f"the {loss.num_particles} particles are drawn one after another: the programs do not take a batch of them "
            f"({reason}). {_FOR_BATCHES}",
            EngineWarning,
        )
        return alone
    return loss


Baselines = dict[str, Tensor]


def join(log_weights: Tensor, order: float) -> Tensor:
    """The bound of order α from log weights (K,)."""
    if order == 1.0:
        return log_weights.mean()
    power = 1.0 - order
    count = torch.log(torch.tensor(float(len(log_weights)), dtype=log_weights.dtype))
    return (torch.logsumexp(power * log_weights, 0) - count) / power


def sum_terms(terms: Any, keep: int | None) -> Tensor:
    """The sum of all elements of `terms`; with `keep`, one sum per index of that dimension, (K,)."""
    total: Tensor | None = None
    for term in terms:
        part = term.sum() if keep is None else _by_particle(term, keep)
        total = part if total is None else total + part
    return torch.zeros(()) if total is None else total


def _by_particle(term: Tensor, keep: int) -> Tensor:
    """A term summed over all dimensions but `keep`; one that lacks it is the same for every particle."""
    if term.dim() < -keep:
        return term.sum()
    others = [dim for dim in range(-term.dim(), 0) if dim != keep]
    return term.sum(others) if others else term


def deepest(pair: Pair) -> int:
    """How many dimensions the plates and batches of two traces take, including those of data beyond their distribution."""
    sites = [site for t in (pair.model, pair.guide) for site in t.values()]
    frames = [-frame.dim for site in sites for frame in site.plates if frame.dim]
    drawn = [site for site in sites if isinstance(site, Sample)]
    batches = [int(max(len(site.fn.batch_shape), site.value.dim() - len(site.fn.event_shape))) for site in drawn]
    return max([0, *frames, *batches])

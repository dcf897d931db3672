"""Draw a `Posterior` from a fitted guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import in_double
from sursum.common.progress import Display, NoProgress, ProgressState
from sursum.common.snapshot import snapshot_of
from sursum.compiler.capture.capture import capture
from sursum.compiler.function import batch
from sursum.core.calling import Program, valued
from sursum.core.labels import Labels, labels_by_plate
from sursum.core.messages import Deterministic, Sample
from sursum.density.coordinate_names import CoordinateNames
from sursum.density.layout import observed_values, plate_lengths, site_dims
from sursum.distributions.bijections import bijection
from sursum.distributions.supports import support_of
from sursum.draws.psis import pareto_k
from sursum.errors import CaptureError
from sursum.handlers import ParamStore, seed
from sursum.handlers.enumerate.enumerated import SUMMED
from sursum.posterior.assemble import Subject, assemble_independent
from sursum.posterior.posterior import Posterior
from sursum.training import seeds
from sursum.training.noise import Noise, block
from sursum.vi.particle import Pair, is_settled, must_be_eager, pair
from sursum.vi.pushforward import PlacedDelta, Pushforward

_CHUNK = 1000
UNSEEN = NoProgress()
_LOG_P, _LOG_Q, _LOG_JACOBIAN = "/log_p", "/log_q", "/log_jacobian"
#: From this number of latent values on draws are in the program's own precision.
_LARGE = 1_000_000


@dataclass(frozen=True)
class Parts:
    """The terms of this rank where each has its own rows, and what adds columns up over all ranks."""

    programs: tuple[Callable[..., Any], Callable[..., Any]]
    total: Callable[[dict[str, Tensor]], dict[str, Tensor]]


def draw_posterior(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    store: ParamStore,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    number: int,
    num_samples: int,
    parts: Parts | None = None,
    labels: Sequence[Labels] = (),
    display: Display = UNSEEN,
) -> Posterior:
    """`num_samples` independent draws of the guide as one chain; `number` is the seed.

    Args:
        parts: where each rank has its own rows.
        labels: what the arguments were labelled by.
        display: where to show how many there are.

    Warns:
        DiagnosticWarning: the Pareto k of the importance weights is above 0.7.
    """
    fixed = _detach(store)

    def one() -> Pair:
        return pair(*(parts.programs if parts else (model, guide)), args, kwargs)

    with valued(), fixed, seed(rng_seed=seeds.derive(number, seeds.DRAW, 0)):
        first = one()
    count = sum(site.value.numel() for site in _latents(first).values())
    program = Program(snapshot(store)(model), snapshot_of(tuple(args)), snapshot_of(dict(kwargs)))
    if count > _LARGE:  # in the program's own precision: double takes twice the time and the memory
        whole = _whole(_one_by_one(one, fixed, number, num_samples, display, wide=False), parts)
        return assemble(first, whole, program, labels)
    with in_double():
        with valued(), fixed, seed(rng_seed=seeds.derive(number, seeds.DRAW, 0)):
            first = one()
        columns = None if must_be_eager(first) else _draw_captured(one, fixed, number, num_samples, display)
        whole = _whole(columns or _one_by_one(one, fixed, number, num_samples, display), parts)
        return assemble(first, whole, program, labels)


def _whole(columns: dict[str, Tensor], parts: Parts | None) -> dict[str, Tensor]:
    """The columns with the log densities of all ranks together."""
    return columns if parts is None else columns | parts.total({name: columns[name] for name in (_LOG_P, _LOG_Q)})


def _detach(store: ParamStore) -> ParamStore:
    """The same values, of which no gradient is asked."""
    other = ParamStore(double=store.double)
    other.sites = store.sites
    other.unconstrained = {name: leaf.detach() for name, leaf in store.unconstrained.items()}
    return other


def _one_by_one(
    one: Callable[[], Pair], store: ParamStore, number: int, num_samples: int, display: Display, *, wide: bool = True
) -> dict[str, Tensor]:
    """Draws by name, running the programs for each; in double precision if `wide`."""
    columns: dict[str, Tensor] = {}
    with valued(), store:
        for k in range(num_samples):
            with seed(rng_seed=seeds.derive(number, seeds.DRAW, k)):
                row = _row(one(), wide=wide)
            for key, value in row.items():
                if key not in columns:  # a posterior's real numbers are doubles
                    dtype = torch.float64 if value.is_floating_point() else value.dtype
                    columns[key] = torch.empty((num_samples, *value.shape), dtype=dtype)
                columns[key][k] = value.detach()
            display.update(lambda k=k: _drawn(k + 1, num_samples))  # type: ignore[misc]
    return columns


def _drawn(done: int, total: int) -> ProgressState:
    return ProgressState(done, total, (f"{done}/{total} draws",))


def _draw_captured(
    one: Callable[[], Pair], store: ParamStore, number: int, num_samples: int, display: Display
) -> dict[str, Tensor] | None:
    """The same in double precision, by mapping the captured graph of one draw over all; None if it cannot be captured."""
    counting = Noise()
    try:
        with valued(), store, counting:
            names = list(_row(one()))
    except CaptureError:
        return None

    def row(noise: Tensor) -> tuple[Tensor, ...]:
        with valued(), store, Noise(noise):
            return tuple(value.detach() for value in _row(one()).values())

    rows = block(counting.kinds, max(num_samples, 2), seeds.derive(number, seeds.DRAW, 0))
    if not rows.shape[1]:
        return None
    try:
        replay = batch(capture(row, (rows[0], rows[1]), gradient=False))
        parts = []
        for chunk in rows[:num_samples].split(_CHUNK):
            parts.append(replay(chunk))
            display.update(lambda: _drawn(min(len(parts) * _CHUNK, num_samples), num_samples))
    except CaptureError:
        return None
    return {name: torch.cat(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}


def _row(drawn: Pair, *, wide: bool = True) -> dict[str, Tensor]:
    """One draw: sites under their names, and other results under keys that no site can have."""
    row = {name: _double(site.value) if wide else site.value for name, site in _sites(drawn).items()}
    free, log_jacobian = _coordinates(drawn)
    log_p = sum((term.sum().double() for term in drawn.log_p.values()), torch.zeros((), dtype=torch.float64))
    log_q = sum((term.sum().double() for term in drawn.log_q.values()), torch.zeros((), dtype=torch.float64))
    q = torch.cat([*(value.double().reshape(-1) for value in free.values()), torch.zeros(0, dtype=torch.float64)])
    return row | {"": q, _LOG_P: log_p, _LOG_Q: log_q, _LOG_JACOBIAN: log_jacobian}


def _latents(drawn: Pair) -> dict[str, Sample]:
    return {name: site for name, site in drawn.model.stochastic.items() if not is_settled(site)}


def _sites(drawn: Pair) -> dict[str, Sample | Deterministic]:
    """The latent sites, then those that follow from them: deterministic ones, and those with all mass at a point."""
    found = {
        name: site
        for name, site in drawn.model.items()
        if (isinstance(site, Deterministic) and isinstance(site.value, Tensor) and not _of_discrete(site, drawn))
        or (isinstance(site, Sample) and not site.is_observed and not _is_apart(site))
    }
    return {**_latents(drawn), **found}


def _is_apart(site: Sample) -> bool:
    """Whether a latent site has no draws: the indices of a plate, or a discrete site that is summed out."""
    return bool(site.infer.get("is_subsample") or site.infer.get(SUMMED))


def _of_discrete(site: Deterministic, drawn: Pair) -> bool:
    """Whether a deterministic site depends on a discrete one that is summed out."""
    plain = None if drawn.plain is None else drawn.plain.get(site.name)
    return plain is not None and torch.as_tensor(plain.value).shape != torch.as_tensor(site.value).shape


def _coordinates(drawn: Pair) -> tuple[dict[str, Tensor], Tensor]:
    """The unconstrained coordinates of every continuous latent site, and their total log-Jacobian."""
    free: dict[str, Tensor] = {}
    total = torch.zeros((), dtype=torch.float64)
    for name, site in _latents(drawn).items():
        support = support_of(site.fn)
        if support.is_discrete:
            continue
        onto = bijection(support)
        fn = drawn.guide[name].fn if name in drawn.guide else None  # type: ignore[attr-defined]
        known = fn.free if isinstance(fn, (PlacedDelta, Pushforward)) else None
        inner = onto.inv(site.value) if known is None else known
        total = total + onto.log_abs_det_jacobian(inner, site.value).sum().double()
        free[name] = inner.reshape(onto.inverse_shape(site.value.shape))
    return free, total


def snapshot(store: ParamStore) -> ParamStore:
    """A store with the current values, which later steps do not change."""
    copy = ParamStore(double=store.double)
    copy.sites.update(store.sites)
    copy.unconstrained.update({name: leaf.detach().clone() for name, leaf in store.unconstrained.items()})
    return copy


def assemble(first: Pair, columns: Mapping[str, Tensor], program: Program, labels: Sequence[Labels] = ()) -> Posterior:
    """The posterior of columns of draws, (draw, …), as `_row` names them."""
    free, _ = _coordinates(first)
    plain = first.plain or first.model
    subject = Subject(
        latents=tuple(_latents(first)),
        coordinates=CoordinateNames({name: tuple(value.shape) for name, value in free.items()}),
        dims=site_dims(plain),
        observed=observed_values(plain),
        program=program,
        coords=labels_by_plate(labels, plate_lengths(plain)),
    )
    sites = {name: columns[name] for name in _sites(first)}
    log_p, log_q = columns[_LOG_P], columns[_LOG_Q]
    stats = {"lp": (log_p + columns[_LOG_JACOBIAN]).numpy(), "log_weight": (log_p - log_q).numpy()}
    return assemble_independent(subject, sites, stats, columns[""].numpy(), pareto_k=pareto_k(stats["log_weight"]))


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value

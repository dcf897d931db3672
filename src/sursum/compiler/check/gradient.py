"""Check that the gradient of a density is its derivative: a backward may be written by hand, and wrong."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.tables import Table, html_table
from sursum.common.user_frame import warn
from sursum.compiler.capture.capture import is_written
from sursum.compiler.check.slopes import Run, SlopePoint
from sursum.density.layout import Latent
from sursum.density.log_density import LogDensity
from sursum.errors import DensityError, GradientWarning

Array = NDArray[np.float64]
Replayed = Callable[[Tensor], Sequence[Tensor]]

COLUMNS = ("site", "by the gradient", "by differences", "relative error", "line")
_SHOWN = 3
#: Features of torch that create such a function.
_OF_TORCH = {"BackwardHookFunction": "a hook on the backward of a module"}


@dataclass(frozen=True)
class SiteSlope:
    """The slope of the log density along a random direction of one site's coordinates, at the worst of all points.

    `claimed` is by the gradient and `measured` by differences of the log density, NaN if these are inconclusive; `error` is
    their difference relative to the larger one.
    """

    site: str
    line: str | None
    claimed: float
    measured: float
    error: float
    wrong: bool

    @property
    def cells(self) -> tuple[str, ...]:
        told = np.isfinite(self.measured)
        measured, error = (f"{self.measured:.6g}", f"{self.error:.1e}") if told else ("cannot tell", "")
        return self.site, f"{self.claimed:.6g}", measured, error + (" WRONG" if self.wrong else ""), self.line or ""


@dataclass(frozen=True)
class GradientCheck:
    """The gradient of a density compared with differences of its values, by site: to be printed, or read as `rows`."""

    rows: tuple[SiteSlope, ...]
    num_points: int
    causes: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The sites whose gradient is not the derivative."""
        return tuple(row.site for row in self.rows if row.wrong)

    def passed(self) -> bool:
        """Whether the gradient is the derivative, as far as differences can tell."""
        return not self.wrong

    def __str__(self) -> str:
        return f"{self._verdict()}\n\n{Table([COLUMNS, *(row.cells for row in self.rows)])}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._verdict())}</p>{html_table(COLUMNS, (row.cells for row in self.rows))}"

    def _verdict(self) -> str:
        where = f"at {self.num_points} point{'s' if self.num_points > 1 else ''}"
        if self.passed():
            return f"passed: the gradient is the derivative of the log density, {where}."
        named = ", ".join(map(repr, self.wrong))
        return f"FAILED: the gradient is not the derivative of the log density by {named}, {where}. {_advice(self.causes)}"


def check_gradient(density: LogDensity, run: Run, replay: Replayed, points: Iterable[Array]) -> GradientCheck:
    """Compare the gradient with differences, site by site, at all points at which the log density is finite.

    Raises:
        DensityError: it is not finite at any of them.
    """
    near = [point for point in (SlopePoint(run, replay, q) for q in points) if point.finite]
    if not near:
        raise DensityError("the log density and its gradient are finite at none of the points. Check it at others, by `at`.")
    rng = np.random.default_rng(3)
    rows = tuple(_worst(latent, near, rng) for latent in density.latents)
    return GradientCheck(rows, len(near), _causes(density, near[0].q) if any(row.wrong for row in rows) else ())


def warn_of_gradient(density: LogDensity, run: Run, replay: Replayed, points: Iterable[Tensor], known: Replayed) -> None:
    """Warn if the gradient is not the derivative: a quick check at each point, and a thorough one where that fails.

    Args:
        density: for the names of sites.
        run: value and gradient.
        replay: the same by torch's operators.
        points: where to compare.
        known: a cached version of `replay`.

    Warns:
        GradientWarning: it is not.
    """
    rng = np.random.default_rng(3)
    for q in points:
        value, gradient = known(q)
        point = SlopePoint(run, replay, q.numpy(), (float(value), gradient.numpy()))
        along = point.direction(rng)
        if not (point.finite and point.is_suspect(along)):
            continue
        whole = point.slope(along)
        if not whole.wrong:
            continue
        rows = [row for row in (_worst(latent, [point], rng) for latent in density.latents) if row.wrong]
        first = max(rows, key=lambda row: row.error) if rows else None
        shown = whole if first is None else first
        by = "" if first is None else f" by {_name_rows(rows)}"
        of = "" if first is None else f" of {first.site!r}" if len(rows) > 1 else " of the site"
        warn(
            f"the gradient of the log density is not its derivative{by}: along a random direction{of} its slope is "
            f"{shown.claimed:.6g} by the gradient and {shown.measured:.6g} by differences of the log density. "
            f"{_advice(_causes(density, point.q))} "
            "Until then NUTS is slow, though still correct, and a fit ends at a wrong point. "
            "`check()` of the compiled density has every site.",
            GradientWarning,
        )
        return


def _worst(latent: Latent, points: Sequence[SlopePoint], rng: np.random.Generator) -> SiteSlope:
    slopes = [point.slope(point.direction(rng, latent.start, latent.stop)) for point in points]
    worst = max(slopes, key=lambda slope: (slope.wrong, -1.0 if np.isnan(slope.error) else slope.error))
    return SiteSlope(latent.name, latent.where, worst.claimed, worst.measured, worst.error, worst.wrong)


def _name_rows(rows: Sequence[SiteSlope]) -> str:
    names = [f"{row.site!r}" + (f" ({row.line})" if row.line else "") for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"site{'s' if len(rows) > 1 else ''} {', '.join(names)}{more}"


def _advice(causes: Sequence[str]) -> str:
    if causes:
        return f"The likely cause is the program's own derivative, in {', '.join(causes)}: correct it."
    return (
        "The likely cause is a `detach`, a hook that changes gradients, or a `backward` written by hand: "
        "leave it out of the program, or correct it."
    )


def _causes(density: LogDensity, q: Array) -> tuple[str, ...]:
    """The `torch.autograd.Function`s between q and the log density whose backward is the program's own, and hooks."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            value = density(torch.from_numpy(q.copy()).requires_grad_())
    except Exception:
        return ()  # only affects a name in a message
    found: dict[str, None] = {}
    seen: set[object] = set()
    nodes = [value.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if is_written(node):
            name = type(node).__name__.removesuffix("Backward")
            found[_OF_TORCH.get(name, name)] = None
        nodes.extend(following for following, _ in node.next_functions)
    return tuple(found)

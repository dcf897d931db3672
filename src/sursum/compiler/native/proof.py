"""The proof: no density is sampled before its C has agreed with the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.compiler.native.library.library import Doubles, NativeFunction
from sursum.compiler.native.rounding import rounding
from sursum.errors import CompileError

#: |a − b| ≤ TOLERANCE · max(1, ‖b‖∞)
TOLERANCE = 1e-10
#: … or ≤ ALLOWANCE times what rounding does to b, where that is more: a nearly singular matrix loses digits in any order.
ALLOWANCE = 10.0


class ProofError(CompileError):
    """The C of a density and its graph disagree: a fault of ours."""


Replayed = Callable[[Tensor], Sequence[Tensor]]


def prove(native: NativeFunction, replay: Replayed, points: Iterable[Any], *, known: Replayed | None = None) -> int:
    """Compares value and gradient with the graph's replay, at every point: :math:`|a - b| ≤ 10^{-10} \\max(1, ‖b‖_∞)`,
    infinite where that is infinite, NaN where that is NaN, −∞ where a guard fails there. Where they are further apart, but
    no further than ten times what rounding does to the replay itself (see `rounding`), double precision cannot tell; nor
    where rounding decides whether there is a number, as in a matrix of which a last digit decides whether it has a factor.

    A gradient counts where the log density is finite: nobody looks at it elsewhere.

    Arguments:
        native: the C.
        replay: of the graph; run anew, with other roundings, where the two differ.
        points: where they are compared.
        known: gives what the replay gives, and may remember it.

    Returns:
        At how many of the points the log density is finite.

    Raises:
        ProofError: they disagree; the message has the point.
    """
    finite = 0
    for k, point in enumerate(points):
        q = torch.as_tensor(point, dtype=torch.float64).numpy().copy()
        value, grad = native.value_and_grad(q)
        outputs = (known or replay)(torch.from_numpy(q.copy()))
        wanted_value, wanted_grad = (t.detach().to(torch.float64).numpy() for t in outputs)
        pairs = [("log density", np.array(value), wanted_value)]
        if np.isfinite(wanted_value):
            finite += 1
            pairs.append(("gradient", grad, wanted_grad))
        if any(disagreement(found, wanted) for _, found, wanted in pairs):
            blurs = rounding(replay, torch.from_numpy(q.copy()))
            if not np.isfinite(blurs[0]).all():
                continue  # rounding decides whether there is a number at all
            for (what, found, wanted), blur in zip(pairs, blurs, strict=False):
                _compare(native, k, what, found, wanted, blur)
    return finite


def disagreement(found: Doubles, wanted: Doubles, blur: Doubles | None = None) -> str | None:
    """Where and by how much two arrays disagree, or None. `blur` is what rounding does to the second one.

    Example:
        >>> disagreement(np.array([1.0, np.inf]), np.array([1.0 + 1e-12, np.inf])) is None
        True
        >>> disagreement(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
        'component 1 is nan, expected 2.0'
    """
    found, wanted = np.atleast_1d(found), np.atleast_1d(wanted)
    usual = np.isfinite(wanted)
    scale = max(1.0, float(np.abs(wanted[usual]).max())) if usual.any() else 1.0
    allowed = TOLERANCE * scale
    if blur is not None and np.isfinite(blur).all():
        allowed = max(allowed, ALLOWANCE * float(blur.max()))
    with np.errstate(invalid="ignore"):
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        good = np.where(usual, np.abs(found - wanted) <= allowed, same)
    if good.all():
        return None
    bad = tuple(int(i) for i in np.argwhere(~good)[0])
    place = f"component {', '.join(map(str, bad))}" if found.size > 1 else "it"
    return f"{place} is {found[bad]}, expected {wanted[bad]}"


def _compare(native: NativeFunction, k: int, what: str, found: Doubles, wanted: Doubles, blur: Doubles) -> None:
    wrong = disagreement(found, wanted, blur)
    if wrong:
        raise ProofError(
            f"{native.title}: the compiled {what} disagrees with the captured graph at proof point {k}: {wrong}. "
            "This is a fault of sursum's native engine: please report it; the torch engine is right"
        )

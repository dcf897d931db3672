"""The proof: no function is used before its C has agreed with the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.compiler.native.library.library import Doubles, NativeFunction
from sursum.compiler.native.rounding import fails_steadily, rounding
from sursum.errors import CompileError, DensityError

#: |a − b| ≤ TOLERANCE · max(1, ‖b‖∞)
TOLERANCE = 1e-10
#: … or ≤ ALLOWANCE times what rounding does to b, where that is more: a nearly singular matrix loses digits in any order.
ALLOWANCE = 10.0


class ProofError(CompileError):
    """The C of a function and its graph disagree: a fault of ours."""


Replayed = Callable[[Tensor], Sequence[Tensor]]


def prove(
    native: NativeFunction,
    replay: Replayed,
    points: Iterable[Any],
    outputs: Sequence[str] = ("log density", "gradient"),
    *,
    known: Replayed | None = None,
) -> int:
    """Compares every output with the graph's replay, at every point: :math:`|a - b| ≤ 10^{-10} \\max(1, ‖b‖_∞)`, infinite
    where that is infinite, NaN where that is NaN; where a guard fails there, one fails in the C as well. Where they are further
    apart, but no further than ten times what rounding does to the replay itself (see `rounding`), double precision cannot tell;
    nor where rounding decides whether there is a number, as in a matrix of which a last digit decides whether it has a factor.

    The outputs after the first are its derivatives, and count where it is finite: nobody looks at them elsewhere.

    Arguments:
        native: the C.
        replay: of the graph; run again, with other roundings, where the two differ.
        points: where they are compared.
        outputs: what they are called in a message.
        known: gives what the replay gives, and may remember it.

    Returns:
        At how many of the points the first output is finite.

    Raises:
        ProofError: they disagree; the message has the point.
    """
    finite = 0
    for k, point in enumerate(points):
        q = torch.as_tensor(point, dtype=torch.float64).numpy().copy()
        found = native.outputs(q)
        try:
            wanted = _numbers(known or replay, q)
        except torch.linalg.LinAlgError:
            continue
        except DensityError:
            if native.holds(q) and fails_steadily(replay, torch.from_numpy(q)):
                raise _error(native, "function", k, "it has values where a check of arguments fails") from None
            continue
        usable = bool(np.isfinite(wanted[0]).all())
        finite += usable
        pairs = list(zip(outputs, found, wanted, strict=True))[: None if usable else 1]
        if any(disagreement(mine, theirs) for _, mine, theirs in pairs):
            try:
                wanted = _numbers(replay, q)  # what is known may come of many points at once, and be rounded otherwise
                blurs = rounding(replay, torch.from_numpy(q.copy()))
            except (DensityError, torch.linalg.LinAlgError):
                continue  # rounding decides whether it runs at all
            if not np.isfinite(blurs[0]).all():
                continue  # rounding decides whether there is a number at all
            for (what, mine, _), theirs, blur in zip(pairs, wanted, blurs, strict=False):
                wrong = disagreement(mine, theirs, blur)
                if wrong:
                    raise _error(native, what, k, wrong)
    return finite


def _numbers(run: Replayed, q: Doubles) -> list[Doubles]:
    return [output.detach().to(torch.float64).numpy() for output in run(torch.from_numpy(q.copy()))]


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


def _error(native: NativeFunction, what: str, k: int, wrong: str) -> ProofError:
    return ProofError(
        f"{native.title}: the compiled {what} disagrees with the captured graph at proof point {k}: {wrong}. "
        "This is a fault of sursum's native engine: please report it; the torch engine is right"
    )

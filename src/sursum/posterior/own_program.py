"""The program of a posterior, for methods that run it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.core.calling import Program, refuse_shadowed
from sursum.distributions.randomness import drawing_from
from sursum.draws.draws import Draws
from sursum.errors import PredictionError
from sursum.predict.at_draw import AtDraw
from sursum.predict.linearised import Linearised

_INSTEAD = {
    "predict": "su.infer.Predictive(model, posterior)(…)",
    "log_likelihood": "su.infer.log_likelihood(model, posterior, …)",
    "log_prior": "su.infer.log_prior(model, posterior, …)",
    "reprior": "fit su.reprior(model, prior)",
}


def program_for(
    verb: str,
    program: Program | None,
    latents: Sequence[str],
    draws: Draws,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Program:
    """The program with these arguments or, without any, with those of the fit.

    Raises:
        PredictionError: there is no program, or draws of a latent site were not kept.
    """
    if program is None:
        raise PredictionError(
            f"this posterior has no program to {verb} with: it was loaded from a file, or made by hand, and files contain "
            f"only draws. Give the program: {_INSTEAD[verb]}."
        )
    for name in latents:
        if name not in draws:
            raise PredictionError(
                f"the draws of latent site {name!r} were not kept, but {verb} needs those of all latent sites. "
                "Leave `keep` out, or include them."
            )
    return Program(program.model, args, dict(kwargs or {})) if args or kwargs else program


def linearise(model: Callable[..., Any], mode: Mapping[str, Tensor] | None) -> Linearised:
    """The program with networks that are linear in their weights around a mode.

    Raises:
        PredictionError: there is no mode.
    """
    if mode is None:
        raise PredictionError(
            "`linearised` is for posteriors with a mode, those of `Laplace`, and this one has none: it was drawn "
            "otherwise, or loaded from a file."
        )
    return Linearised(model, mode=mode)


def refuse_shared(program: Program, verb: str, options: Mapping[str, Any], instead: str) -> None:
    """Raise where an option is given that the program has as well: the method cannot tell whose it is."""
    given = [name for name, value in options.items() if value is not None]
    refuse_shadowed(program.model, verb, given, f"Write {instead}, which keeps them apart")


def run_at_draw(program: Program, values: Mapping[str, Tensor]) -> None:
    """One execution at one draw; sites without a value are drawn, from a separate generator."""
    with drawing_from(torch.Generator().manual_seed(0)), AtDraw(values=values, draw=lambda site: site.run().value):
        program()

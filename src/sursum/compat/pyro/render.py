"""`render_model`: the picture of a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sursum as su
from sursum.compat.pyro.running import as_program
from sursum.errors import OptionError


def render_model(
    model: Callable[..., Any] | Sequence[Callable[..., Any]],
    model_args: Sequence[Any] | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    filename: str | os.PathLike[str] | None = None,
    render_distributions: bool = False,
    render_params: bool = False,
    render_deterministic: bool = False,
) -> su.Rendering:
    """A picture of a program: its sites, what depends on what, its plates, its distributions.

    Args:
        model: the program.
        model_args, model_kwargs: what it is called with.
        filename: where to save the picture.
        render_distributions, render_params, render_deterministic: these are always shown.
    """
    if not callable(model):
        raise OptionError("render_model draws one program: call it once for each of several.")
    picture = su.render(as_program(model), *(model_args or ()), **(model_kwargs or {}))
    if filename is not None:
        picture.save(os.fspath(filename))
    return picture

"""`AtDraw`: the handler that runs a program at one draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.precision import default_dtype
from sursum.core.messages import Param, Sample, Site, Step
from sursum.core.runtime import handler, required
from sursum.core.validation import check_shape
from sursum.density.answering import Answering
from sursum.distributions.rebuild import floating_dtype, tensors
from sursum.distributions.shapes import broadcast_shapes
from sursum.errors import ObservationError, PredictionError
from sursum.predict.vectorise import Draw


@handler
class AtDraw(Answering):
    """Gives sites the values of one draw and, if `draw` is given, draws all others that are not observed.

    With `replicate` observed sites are drawn too, in the shape of the data. Plates are not subsampled.
    """

    values: Mapping[str, Tensor] = required()
    draw: Draw | None = None
    replicate: bool = False

    drawn: list[str] = field(init=False, repr=False, default_factory=list)

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and not site.infer.get("is_subsample"):
            if site.name in self.values:
                site = site.but(is_observed=False, value=None)
            elif site.is_observed and self.replicate:
                site = _shape_as_data(site)
        elif isinstance(site, Param) and site.name in self.values:
            like = site.init
            value = self.values[site.name]
            site = site.but(value=value if like is None else value.to(dtype=like.dtype, device=like.device))
        return super().handle(site)

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        value = None if writes else self.values.get(name)  # in training mode a layer goes by the batch, and says so
        return None if value is None else value.to(dtype=own.dtype, device=own.device)

    def knows(self, site: Sample) -> bool:
        return True

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Tensor | None:
        return self.values.get(site.name)

    def settle(self, site: Sample, answer: Tensor | None) -> Sample:
        return site.but(value=self._find_draw(site)) if answer is None else _give(site, answer)

    def subsample(self, site: Sample) -> Any:
        return self.outside(site.but(value=torch.arange(site.fn.size)))

    def _find_draw(self, site: Sample) -> Tensor:
        if self.draw is None:
            raise PredictionError(
                f"site {site} is neither observed nor among the posterior samples, so the likelihood at them is not "
                "defined. Call the program with its data, and use the program that was sampled."
            )
        if site.name not in self.drawn:
            self.drawn.append(site.name)
        return self.draw(site)


def _shape_as_data(site: Sample) -> Sample:
    """An observed site, to be drawn instead. Its distribution is broadcast to the data, as for scoring."""
    check_shape(site)
    fn, value = site.fn, site.value
    site = site.but(is_observed=False, value=None)
    if not isinstance(fn, Distribution):
        return site
    batch = broadcast_shapes(fn.batch_shape, value.shape[: value.dim() - len(fn.event_shape)])
    if batch == fn.batch_shape:
        return site
    try:
        return site.but(fn=fn.expand(batch))
    except NotImplementedError as error:
        raise PredictionError(
            f"site {site} was observed with shape {tuple(value.shape)}, its distribution has {tuple(fn.batch_shape)}, and "
            f"{type(fn).__name__} cannot be expanded: {error}. Put the site in a plate, or give the distribution that shape."
        ) from error


def _give(site: Sample, value: Tensor) -> Sample:
    """`site` with its own draw, in the dtype and on the device of the program."""
    like = floating_dtype(site.fn) if site.init is None or not site.init.is_floating_point() else site.init.dtype
    if value.is_floating_point():
        value = value.to(like or default_dtype())
    there = site.init if site.init is not None else next(tensors(site.fn), None)
    site = site.but(value=value if there is None else value.to(there.device))
    try:
        check_shape(site)
    except ObservationError as error:
        raise PredictionError(
            f"{error} The draws have a different shape than the site with the current arguments. A site that belongs to the "
            f"old data is redrawn if its draws are left out: Predictive(model, {{all sites but {site.name!r}}})."
        ) from error
    return site

"""`Predictive`: predictions of a program, from its prior or at draws of its posterior."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sursum.common.batches import rows_of
from sursum.common.patterns import suggestion
from sursum.common.precision import in_double, widen
from sursum.common.progress import SOON, Display, display_for
from sursum.common.reprs import call_text
from sursum.common.settings import settle, whole_number
from sursum.common.user_frame import warn
from sursum.core.calling import refuse_coroutines, run_program
from sursum.core.messages import Deterministic, Param
from sursum.density.dtype_errors import explain_torch_errors
from sursum.distributions.randomness import global_seed
from sursum.errors import ObservationWarning, PredictionError
from sursum.handlers import trace
from sursum.io.lazy_draws import shape_of
from sursum.predict.at_draw import AtDraw
from sursum.predict.data_loaders import batches, generator_left_alone, join
from sursum.predict.given_draws import GivenDraws, Sampled, two_dimensions
from sursum.predict.prediction import Prediction
from sursum.predict.stream import Stream
from sursum.predict.vectorise import Draw, Run, at_draws

NUM_SAMPLES = 1000

PREDICTED = ("posterior_predictive", "predictions")
"""ArviZ's names for predictions from a posterior: of the observed data, and of other data."""


@dataclass(frozen=True, repr=False)
class Predictive:
    r"""Predictions of a program: from its prior, or from draws of its posterior.

    .. math:: \tilde y^{(s)} \sim p(\tilde y \mid z^{(s)}), \qquad z^{(s)} \sim p(z \mid y) \text{ or } p(z)

    Sites that have draws get them; sites that the program observes with the given arguments keep their data, so that a
    forecast continues from them; every other site is drawn, and deterministic sites are recomputed. Plates are not subsampled.
    All draws are evaluated at once where the program can be mapped, in chunks of bounded memory; the result is the same.

    Args:
        model: the program, the one that was sampled or a different one with the same site names.
        posterior_samples: a `Posterior`, or a mapping from names of sites (or parameters) to draws; None predicts from
            the prior.
        num_samples: the number of draws from the prior, 1000 by default. With posterior samples there is one each.
        seed: an integer of at least 0; the same seed gives the same predictions. None draws one from torch's global
            generator, which is otherwise left alone.
        chunk: how many draws to evaluate at once; None chooses by the memory of one.
        replicate: whether observed sites are drawn as well: replicated data, in the shape of the data. None does so
            if the argument is a `DataLoader`, which gives the inputs at which to predict.
        sites: names of the sites to keep; None keeps all that are drawn, observed or deterministic.
        batch_ndims: how many leading dimensions of the mapping's tensors count draws: 1 by default; a `Posterior` has 2.
        store: the store of a run. Predictions are written there as they are made, in bounded memory; the result is
            read from there lazily. After a kill, repeating the call continues from what was written.
        progress: whether to show it; None shows it on a terminal or in a notebook, from the second second on.
        group: their name in the store: "posterior_predictive" by default, or "predictions" for those of other inputs.
            Predictions from the prior are divided into `prior` and `prior_predictive`.

    Raises:
        PredictionError: draws that do not fit the program, or one another.
        StorageError: the store is not one of a run, or has that group already.

    Warns:
        UnusedSiteWarning: draws of a site that the program does not have.
        ObservationWarning: nothing was drawn, as everything is observed; a prediction has fewer dimensions than the data.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(x, y=None):
        ...     slope = su.sample("slope", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(x)):
        ...         su.sample("y", dist.Normal(slope * x, 0.1), obs=y)
        >>> x = torch.linspace(0.0, 1.0, 5)
        >>> su.infer.Predictive(model, num_samples=100, seed=0)(x)
        <Prediction: 100 draws of slope (), y (5,)>
        >>> su.infer.Predictive(model, {"slope": torch.full((400,), 2.0)}, seed=0)(x).mean().round(decimals=1)
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000], dtype=torch.float64)
    """

    model: Callable[..., Any]
    posterior_samples: Sampled | Mapping[str, Tensor] | None = None
    num_samples: int | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    chunk: int | None = field(default=None, kw_only=True)
    replicate: bool | None = field(default=None, kw_only=True)
    sites: Iterable[str] | None = field(default=None, kw_only=True)
    batch_ndims: int | None = field(default=None, kw_only=True)
    store: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    group: str | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise PredictionError(f"`model` is {self.model!r}, but must be a program, a callable: Predictive(model, …).")
        refuse_coroutines(self.model)
        for name, least in (("num_samples", 1), ("chunk", 1), ("seed", 0)):
            settle(self, {name: optional_number(name, getattr(self, name), least)})
        if self.group is not None and (self.store is None or self.posterior_samples is None or self.group not in PREDICTED):
            raise PredictionError(
                f"`group` is {self.group!r}, but must be {' or '.join(map(repr, PREDICTED))}, with a `store` and posterior "
                "samples: it names predictions in a store. Those from the prior are named `prior` and `prior_predictive`."
            )
        if self.posterior_samples is None:
            return
        draws = GivenDraws.of(self.posterior_samples, self.batch_ndims)
        if self.num_samples not in (None, draws.count):
            raise PredictionError(
                f"`num_samples` is {self.num_samples}, but there are {draws.count} posterior samples. Leave it out: each "
                "of them gives one prediction."
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Prediction:
        """Predict with these arguments of the program; pass None for data to be predicted.

        If the first argument is a `DataLoader`, the program is called with each of its batches, in order, or with its elements
        if a batch is a tuple; sites with one row for each row of a batch are joined. Random draws depend on the batches, as
        every batch has its own random streams: the same seed and batches give the same draws.

        Raises:
            PredictionError: draws that do not match the program with these arguments; a site that differs between batches
                and has no rows to join.
            Exception: any exception of the program.
        """
        if self.store is not None and args and isinstance(args[0], DataLoader):
            raise PredictionError(
                "a data loader cannot be combined with `store`, where the whole result of a draw is written at once. Give the "
                "inputs as one tensor, or leave `store` out."
            )
        draws = self._draws()
        stream = None if self.store is None else Stream(self.store, self._table(), *two_dimensions(draws.shape))
        if stream is not None:
            seed = stream.seed(self.seed, global_seed)
            return self._predict(args, kwargs, (seed,), draws, stream)
        seed = global_seed() if self.seed is None else self.seed
        if args and isinstance(args[0], DataLoader):
            every = replace(self, replicate=True if self.replicate is None else self.replicate)
            with generator_left_alone(self.seed is not None):
                found = [(rows_of(b), every._predict((*b, *args[1:]), kwargs, (seed, i), draws)) for i, b in batches(args[0])]
            return join(found)
        return self._predict(args, kwargs, (seed,), draws)

    def _draws(self) -> GivenDraws:
        if self.posterior_samples is None:
            return GivenDraws({}, torch.Size([self.num_samples or NUM_SAMPLES]))
        return GivenDraws.of(self.posterior_samples, self.batch_ndims)

    def _table(self) -> str:
        """The name of the predictions in a store."""
        return "prior" if self.posterior_samples is None else self.group or PREDICTED[0]

    def _predict(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        seed: tuple[int, ...],
        draws: GivenDraws,
        stream: Stream | None = None,
    ) -> Prediction:
        wanted = None if self.sites is None else list(self.sites)
        drawn: dict[str, None] = {}
        given: dict[str, None] = {}
        met: dict[str, None] = {}

        def run(values: Mapping[str, Tensor], draw: Draw) -> dict[str, Tensor]:
            with (
                in_double(),
                AtDraw(values=values, draw=draw, replicate=bool(self.replicate)) as answers,
                trace() as recorder,
                explain_torch_errors(lambda: recorder.trace, self.model, args, kwargs),
            ):
                run_program(self.model, args, kwargs)
            found = recorder.trace
            met.update(dict.fromkeys(found))
            drawn.update(dict.fromkeys(name for name in answers.drawn if wanted is None or name in wanted))
            missing = [name for name in wanted or () if name not in found]
            if missing:
                known = [name for name, site in found.items() if not isinstance(site, Param)]
                raise PredictionError(
                    f"`sites` names {missing[0]!r}, which does not exist in the program.{suggestion(missing[0], known)}"
                )
            kept = wanted or [
                n for n, s in found.items() if n in answers.drawn or n in found.observed or isinstance(s, Deterministic)
            ]
            given.update(dict.fromkeys(name for name in found.observed if name in kept))
            return {name: widen(torch.as_tensor(found[name].value)) for name in kept}

        display = display_for(self.progress, SOON)
        try:
            sites = self._sites_at(run, draws, seed, stream, display)
        finally:
            display.close()
        draws.announce_unused(met)
        if given and not drawn:
            _announce_given(list(given))
        shapes = {name: tuple(shape_of(sites, name))[len(draws.shape) :] for name in drawn if name in sites}
        _announce_smaller(shapes, getattr(self.posterior_samples, "observed", {}))
        return Prediction(sites, len(draws.shape), tuple(drawn))

    def _sites_at(
        self, run: Run, draws: GivenDraws, seed: tuple[int, ...], stream: Stream | None, display: Display
    ) -> Mapping[str, Tensor]:
        """The results at all draws, in memory or in the store."""
        if stream is not None:
            prior = self.posterior_samples is None
            placed = (lambda name: "prior_predictive" if name in stream.observed else "prior") if prior else None
            stored = stream.fill(run, draws.values, placed=placed, seed=seed, chunk=self.chunk, display=display)
            return stored.only(stored, flat=len(draws.shape) == 1)
        results = at_draws(run, draws.values, draws.count, seed=seed, chunk=self.chunk, display=display)
        return {name: value.unflatten(0, draws.shape) for name, value in results.items()}


def _announce_given(names: Sequence[str]) -> None:
    listed = ", ".join(map(repr, names))
    warn(
        f"nothing was drawn: {listed} {'is' if len(names) == 1 else 'are'} observed with these arguments, and observed "
        "sites keep their data. Leave the data out of the call to predict them, or request replicated data: replicate=True.",
        ObservationWarning,
    )


def _announce_smaller(shapes: Mapping[str, tuple[int, ...]], observed: Mapping[str, Tensor]) -> None:
    """Warn if data had dimensions that the program does not have without them."""
    for name, shape in shapes.items():
        data = tuple(observed[name].shape) if name in observed else ()
        if len(shape) < len(data):
            warn(
                f"site {name!r} was observed with shape {data}, but is predicted with shape {shape}: only the data "
                "determine its size. Put the site in a plate.",
                ObservationWarning,
            )


def optional_number(name: str, value: Any, least: int) -> int | None:
    """None, or an integer of at least `least`.

    Raises:
        PredictionError: it is neither.
    """
    return None if value is None else whole_number(name, value, least, PredictionError, "leave it out for the default")

"""`Predictive`: predictions of a program, from its prior or at draws of its posterior."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.data import DataLoader

from sursum.common.patterns import suggestion
from sursum.common.precision import default_dtype, in_double, widen
from sursum.common.reprs import call_text
from sursum.common.settings import settle, whole_number
from sursum.common.user_frame import warn
from sursum.core.calling import refuse_coroutines, run_program
from sursum.core.messages import Deterministic, Param, Sample, Site, Step
from sursum.core.runtime import handler, required
from sursum.core.validation import check_shape
from sursum.density.answering import Answering
from sursum.density.dtype_errors import explain_torch_errors
from sursum.distributions.randomness import global_seed
from sursum.distributions.rebuild import floating_dtype, tensors
from sursum.distributions.shapes import broadcast_shapes
from sursum.errors import ObservationError, ObservationWarning, PredictionError, UnusedSiteWarning
from sursum.handlers import trace
from sursum.io.lazy_draws import Rows, StoredArray, StoredSites, shape_of
from sursum.predict.data_loaders import batches, generator_left_alone, join, rows
from sursum.predict.prediction import Prediction
from sursum.predict.stream import Stream
from sursum.predict.vectorise import Draw, Sliceable, at_draws

NUM_SAMPLES = 1000

PREDICTED = ("posterior_predictive", "predictions")
"""ArviZ's names for predictions from a posterior: of the observed data, and of other data."""


@runtime_checkable
class Sampled(Protocol):
    """What is needed of a `Posterior` here: draws of (chain, draw, *shape), and the names of the latent sites."""

    @property
    def latents(self) -> tuple[str, ...]: ...

    def __getitem__(self, name: str, /) -> Tensor: ...

    def __iter__(self) -> Any: ...


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
        group: their name in the store: "posterior_predictive" by default, or "predictions" for those of other inputs.
            Predictions from the prior are divided into `prior` and `prior_predictive`.

    Raises:
        PredictionError: draws that do not fit the program, or one another.
        StorageError: the store is none of a run, or has that group already.

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
                found = [(rows(b), every._predict((*b, *args[1:]), kwargs, (seed, i), draws)) for i, b in batches(args[0])]
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

        if stream is not None:
            prior = self.posterior_samples is None
            placed = (lambda name: "prior_predictive" if name in stream.observed else "prior") if prior else None
            stored = stream.fill(run, draws.values, placed=placed, seed=seed, chunk=self.chunk)
            sites: Mapping[str, Tensor] = stored.only(stored, flat=len(draws.shape) == 1)
        else:
            results = at_draws(run, draws.values, draws.count, seed=seed, chunk=self.chunk)
            sites = {name: value.unflatten(0, draws.shape) for name, value in results.items()}
        draws.announce_unused(met)
        if given and not drawn:
            _announce_given(list(given))
        shapes = {name: tuple(shape_of(sites, name))[len(draws.shape) :] for name in drawn if name in sites}
        _announce_smaller(shapes, getattr(self.posterior_samples, "observed", {}))
        return Prediction(sites, len(draws.shape), tuple(drawn))


@dataclass(frozen=True)
class GivenDraws:
    """Draws with their leading dimensions flattened into one: `values`, each (count, *shape)."""

    values: Mapping[str, Sliceable]
    shape: torch.Size

    @property
    def count(self) -> int:
        return self.shape.numel()

    @classmethod
    def of(cls, samples: Any, batch_ndims: int | None) -> GivenDraws:
        """The draws of a posterior's latent sites, or of everything in a mapping.

        Raises:
            PredictionError: no draws, or sites with different numbers of them.
        """
        if isinstance(samples, Sampled):
            names, leading = samples.latents or tuple(samples), 2
        elif isinstance(samples, Mapping):
            names, leading = tuple(samples), 1
        else:
            raise PredictionError(
                f"the posterior samples are a {type(samples).__name__}. Give a Posterior, or a mapping from names of sites "
                "to tensors whose leading dimension counts the draws."
            )
        leading = leading if batch_ndims is None else batch_ndims
        sites = getattr(samples, "sites", None)
        stored = sites.arrays if isinstance(sites, StoredSites) and not sites.flat and leading == 2 else {}
        values = {name: stored[name] if name in stored else torch.as_tensor(samples[name]) for name in names}
        if not values:
            raise PredictionError("the posterior samples are empty. Leave them out to predict from the prior.")
        shape = torch.Size(next(iter(values.values())).shape[:leading])
        for name, value in values.items():
            if len(value.shape) < leading or value.shape[:leading] != shape:
                raise PredictionError(
                    f"the posterior samples of site {name!r} have shape {tuple(value.shape)}, but the first "
                    f"{leading} dimensions of {next(iter(values))!r}, which count the draws, are {tuple(shape)}. "
                    "Give every site the same draws; `batch_ndims` is the number of leading dimensions that count them."
                )
        if not shape.numel():
            raise PredictionError(f"there are no draws: the first {leading} dimensions of the samples are {tuple(shape)}.")
        flat = {n: Rows(v) if isinstance(v, StoredArray) else v.flatten(0, leading - 1) for n, v in values.items()}
        return cls(flat, shape)

    def announce_unused(self, met: Iterable[str]) -> None:
        """Warn about draws of sites that the program does not have: its other sites were drawn without them."""
        met = list(met)
        for name in self.values:
            if name not in met:
                warn(
                    f"the draws of {name!r} were not used: the program reached no site of that name.{suggestion(name, met)}",
                    UnusedSiteWarning,
                )


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


def two_dimensions(shape: torch.Size) -> tuple[int, int]:
    """The number of chains, and of draws per chain, for draws with these leading dimensions."""
    return (1, shape[0]) if len(shape) == 1 else (shape[:-1].numel(), shape[-1])


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

    def knows(self, site: Sample) -> bool:
        return True

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Tensor | None:
        return self.values.get(site.name)

    def settle(self, site: Sample, answer: Tensor | None) -> Sample:
        return site.but(value=self._drawn(site)) if answer is None else _give(site, answer)

    def subsample(self, site: Sample) -> Any:
        return self.outside(site.but(value=torch.arange(site.fn.size)))

    def _drawn(self, site: Sample) -> Tensor:
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


def optional_number(name: str, value: Any, least: int) -> int | None:
    """None, or an integer of at least `least`.

    Raises:
        PredictionError: it is neither.
    """
    return None if value is None else whole_number(name, value, least, PredictionError, "leave it out for the default")

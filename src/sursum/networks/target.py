r"""The log density of a program, estimated from batches, as a function of one vector of unconstrained coordinates.

With subsampled plates, or a batch of B of N rows of a data loader, each term of the data is scaled by N / B, so that the
gradient is an unbiased estimate of that of the log density of all data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.batches import rows_of
from sursum.common.fingerprint import fingerprint
from sursum.common.user_frame import warn
from sursum.core.calling import Program, as_whole, run_program
from sursum.core.labels import labels_by_plate, labels_of
from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.density.bypassed_module import watch_originals
from sursum.density.coordinate_names import CoordinateNames
from sursum.density.dtype_errors import explain_torch_errors
from sursum.density.layout import observed_values, plate_lengths, site_dims
from sursum.density.networks import network_weights
from sursum.density.unobserved import announce_unobserved, find_unobserved
from sursum.distributed.division import Division, division_of
from sursum.distributed.gradients import Gradients, check_sum, together
from sursum.distributed.group import SAME_DATA, RankGroup, shown_data
from sursum.errors import CaptureError, DensityError, HeldParameterWarning, SamplingError, ShardError
from sursum.handlers import lift, seed, trace
from sursum.handlers.buffers import Averaging, Buffers
from sursum.networks.coordinates import Coordinates
from sursum.optimise.fit import Everything
from sursum.optimise.fit_result import with_buffers
from sursum.optimise.torch_loop import Ascent
from sursum.posterior.assemble import Subject
from sursum.posterior.init import Init, buffers_by_name, check_names, values_by_name
from sursum.training import Graded, TrainingStep
from sursum.training.loader import Batches, count_rows, describe, is_loader
from sursum.training.packed import Packed, packed
from sursum.training.seeds import SET_UP, STEP, derive
from sursum.training.work import Work, in_c


@dataclass(frozen=True)
class Chain:
    """What a chain has to itself: its seed, its batches, and what layers in training mode have written in it."""

    rng_seed: int
    take: Callable[[], tuple[Any, ...]]
    buffers: dict[str, Tensor]


class Target:
    """A program and its data, whose latent sites are one vector.

    What layers in training mode write, such as the running averages of batch norm, is the state of a run, `buffers`, and
    never in the user's network.

    Args:
        model: the program.
        args, kwargs: its arguments; a data loader as the first of them gives batches.
        init: where the latent sites start: values by name. Others start at the program's own values, or at 0.
        rng_seed: of the first run.
        title: the method, for warnings.
        engine: "native", "torch" or "eager"; None: C by the fixed rule of `training.work`, otherwise the captured operators
            where the program can be captured.
        num_steps: how many steps are to be taken.
        parameters: whether parameters are coordinates too, with a flat prior and no Jacobian.
        divides: whether the method is run by all ranks together, where the program is divided over ranks.

    Raises:
        DensityError: there is no latent site, or a plate of latent sites with a data loader.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        init: Init = None,
        rng_seed: int = 0,
        title: str,
        engine: str | None = None,
        num_steps: int = 0,
        parameters: bool = False,
        divides: bool = False,
    ) -> None:
        self.model, self.kwargs, self.title = model, dict(kwargs), title
        self._divides = divides
        self._everything = Everything() if parameters else None
        model = with_buffers(model, buffers_by_name(init, np.random.default_rng(rng_seed)))
        self._program = model if self._everything is None else lift(model, self._everything)
        self.division: Division | None = None
        self.gradients: Gradients | None = None
        self.loader = args[0] if args and is_loader(args[0]) else None
        self.rest = args[1:] if self.loader is not None else args
        self.rows = None if self.loader is None else count_rows(self.loader)
        if self.loader is not None and self.rows is None:
            raise DensityError(
                f"{title} needs to know how many rows the data have, by which the terms of a batch are scaled, and the data "
                "loader does not say. Give one whose dataset has a length."
            )
        first = args if self.loader is None else (*Batches(self.loader, rng_seed).take(), *self.rest)
        values = values_by_name(init, np.random.default_rng(rng_seed))
        self._ascent = Ascent(values=values)
        passive = Buffers(live=False)
        with seed(rng_seed=derive(rng_seed, SET_UP, 0)), torch.inference_mode(False), torch.enable_grad():
            with watch_originals() as originals, as_whole(self.model), passive as kept, Work() as work:
                found, _ = self._run(self._ascent, first, self.kwargs)
            originals.check(found)
        check_names(init, tuple(found))
        self.first, self.trace = first, found
        self.leaves = {name: leaf.detach() for name, leaf in self._ascent.leaves.items()}
        self._buffers = {name: value.detach().clone() for name, value in kept.held.items()}
        if not self.leaves:
            raise DensityError(
                f"the program has no latent site, so there is nothing for {title} to draw. Lift its parameters: "
                "su.lift(model, prior)."
            )
        announce_unobserved(find_unobserved(found))
        self._announce_held(found)
        self._check_loader(found)
        self.shapes = {name: tuple(leaf.shape) for name, leaf in self.leaves.items()}
        self.subsampled = any(frame.length != frame.size for site in found.values() for frame in site.plates)
        self.step = TrainingStep(self._loss, engine=None if engine == "native" else engine, title=title)
        self._divide(first, rng_seed)
        self.coordinates = Coordinates(self.leaves, self._ascent)
        self._packed: Packed | None = None
        if engine == "native" or (engine is None and self.loader is None and in_c(work, self.leaves, num_steps)):
            self._packed = self._compiled(engine)

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of a run: alone, or as the first rank."""
        return self.gradients is None or self.gradients.group.rank == 0

    @property
    def engine(self) -> str:
        """What computes the gradients."""
        return self.step.engine if self._packed is None else "native"

    @cached_property
    def data(self) -> str:
        """A fingerprint of the data, by which a checkpoint knows them again: of the arguments, and of what is known of those of
        a loader. Empty where each rank has rows of its own, and one file is for all."""
        if self.division is not None and self.division.places is None:
            return ""
        given = None if self.loader is None else describe(self.loader, self.first)
        return fingerprint([self.rows, given, self.rest, self.kwargs])

    def batches(self, rng_seed: int, taken: int = 0) -> Callable[[], tuple[Any, ...]]:
        """A function that gives the arguments of the next step, after those that were `taken` earlier."""
        if self.loader is None:
            return lambda: self.first
        source = Batches(self.loader, rng_seed, taken)
        return lambda: (*source.take(), *self.rest)

    def buffers(self) -> dict[str, Tensor]:
        """What layers in training mode write, as it is at the start of a run."""
        return {name: value.clone() for name, value in self._buffers.items()}

    def chain(self, rng_seed: int, taken: int = 0) -> Chain:
        """A chain at its start, or with the batches after those that were `taken` earlier."""
        return Chain(rng_seed, self.batches(rng_seed, taken), self.buffers())

    def buffers_at(self, values: Mapping[str, Tensor], buffers: Mapping[str, Tensor], rng_seed: int) -> dict[str, Tensor]:
        """The buffers of networks with other weights, from those of a run: the averages of normalising layers over one epoch.

        Args:
            values: the unconstrained coordinates by site.
        """
        held = {name: value.clone() for name, value in buffers.items()}
        take = self.batches(rng_seed)
        for number in range(self._epoch):
            step_seed = derive(rng_seed, STEP, number)
            with torch.no_grad(), self.step.seeded(step_seed, values), Buffers(held=held), Averaging(first=not number):
                self._run(Ascent(leaves=dict(values)), take(), self.kwargs)
        return held

    def at_points(self, q: Tensor, chains: Sequence[Chain], number: int, *, at_once: bool) -> tuple[Tensor, Tensor]:
        """Estimates of the log densities and of their gradients at points q, (chain, n), each from a batch of its own.

        The buffers of the chains are updated.

        Raises:
            CaptureError: with `at_once`, the step draws numbers, or cannot be mapped.
        """
        seeds = [derive(chain.rng_seed, STEP, number) for chain in chains]
        if self._packed is not None:
            with self._explain():
                graded = [self._packed.graded(row, one) for row, one in zip(q.double().numpy(), seeds, strict=True)]
            slopes = torch.from_numpy(np.stack([slope for _, slope in graded])).to(q.dtype)
            return -torch.tensor([loss for loss, _ in graded], dtype=torch.float64), -slopes
        if not at_once:
            found = [
                self.graded(self.coordinates.views(row), chain.take(), one, chain.buffers)
                for row, chain, one in zip(q, chains, seeds, strict=True)
            ]
            rows = [self.coordinates.vector(one.gradients) for one in found]
            return torch.stack([-one.loss for one in found]), -(rows[0][None] if len(rows) == 1 else torch.stack(rows))
        batches = [
            self.step.prepare(self.leaves, chain.take(), self.kwargs, seed=one, state=chain.buffers)
            for chain, one in zip(chains, seeds, strict=True)
        ]
        if any(batch is None for batch in batches):
            raise CaptureError(f"the program is not captured: {self.step.why}")
        shapes = {batch.key for batch in batches if batch is not None}
        if len(shapes) > 1:
            raise CaptureError("the batches of the chains have different shapes in one step")
        held = {name: torch.stack([chain.buffers[name] for chain in chains]) for name in self._buffers}
        with self._explain():
            at = self.step.at_all(
                [batch for batch in batches if batch is not None], self.coordinates.views(q), seeds=seeds, state=held
            )
        for name, values in held.items():
            for chain, value in zip(chains, values, strict=True):
                chain.buffers[name].copy_(value)
        return -at.loss, -torch.cat([value.reshape(len(q), -1) for value in at.gradients.values()], -1)

    def graded(
        self, values: Mapping[str, Tensor], args: tuple[Any, ...], step_seed: int, buffers: Mapping[str, Tensor]
    ) -> Graded:
        """The negative log density and its gradient, by site; the buffers are updated."""
        if self._packed is not None:
            with self._explain():
                loss, slope = self._packed.graded(self.coordinates.vector(values).double().numpy(), step_seed)
            return Graded(torch.tensor(loss, dtype=torch.float64), self.coordinates.views(torch.from_numpy(slope)))
        # A capture needs tensors that share no memory, as views of one vector do.
        batch = self.step.prepare(self.leaves, args, self.kwargs, seed=step_seed, state=buffers)
        over = self.gradients
        with self._explain():
            if batch is None:
                found = self.step.run(values, args, self.kwargs, seed=step_seed, state=buffers)
            else:
                ready = None if over is None else over.ready
                found = self.step.on(batch, values, seed=step_seed, state=buffers, ready=ready)
        if over is None:
            return found
        loss, slopes = over.total(float(found.loss), found.gradients)
        return Graded(found.loss.new_tensor(loss), slopes)

    def _compiled(self, engine: str | None) -> Packed | None:
        """The gradient in C; None where there is none, and it was not asked for."""
        try:
            if self.loader is not None or self._buffers or self.gradients is not None:
                raise CaptureError(
                    "engine='native' takes no data loader, no layers in training mode that update their buffers, and no "
                    "program that is divided over ranks. Leave `engine` out."
                )
            run = lambda trained, _: self._loss(trained, {}, self.first, self.kwargs)
            found = packed(run, self.leaves, None, engine, f"log density for {self.title}")
        except CaptureError:
            if engine is not None:
                raise
            return None
        return None if found.function.native is None else found

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Say that a step is too large, where the log density is not defined any more."""
        try:
            yield
        except DensityError as error:
            raise SamplingError(
                f"{self.title} left the parameters at which the log density is defined: {error} The step size, or the learning "
                "rate, is too large for the gradients: lower it."
            ) from error

    def agree(self, q: Tensor) -> None:
        """Over ranks, whose processors may round differently: take the point of rank 0."""
        if self.gradients is not None:
            # Rank 0 as well: a site that is narrower than the vector is rounded to its dtype on the way.
            q.copy_(self.coordinates.vector(self.gradients.leading(self.coordinates.views(q))))

    def _divide(self, args: tuple[Any, ...], rng_seed: int) -> None:
        """Over ranks: that they are about to do the same, and the terms that this one has.

        Raises:
            ShardError: a rank has a different program or other data, or the program cannot be divided.
        """
        division = division_of(self.model, self.trace, args, self.kwargs)
        if division is None:
            return
        if not self._divides:
            raise ShardError(
                f"{self.title} does not divide the rows of a program over ranks. Give it the program itself, with all its rows."
            )
        group = RankGroup()
        shapes = {name: tuple(leaf.shape) for name, leaf in self.leaves.items()}
        group.compare({"program": repr(self.model), "set of unknowns": shapes, "seed": rng_seed})
        if division.places is not None:
            group.compare({"data": shown_data(args, self.kwargs)}, SAME_DATA)
        self.gradients = Gradients(self.leaves)
        with together(lambda: self.gradients):
            self.leaves = self.gradients.leading(self.leaves)
            whole = self.step.run(self.leaves, args, self.kwargs, seed=rng_seed, state=self.buffers()).loss
            self.division = division
            part = float(self.step.run(self.leaves, args, self.kwargs, seed=rng_seed, state=self.buffers()).loss)
            if division.places is not None:
                check_sum(self.gradients, part, whole)

    def check_finite(self, q: Tensor) -> None:
        """That a point consists of numbers.

        Raises:
            SamplingError: it does not.
        """
        if not bool(torch.isfinite(q).all()):
            raise SamplingError(
                f"{self.title} left the numbers: the step size, or the learning rate, is too large for the gradients. Lower it."
            )

    def subject(self) -> Subject:
        """What a posterior tells of the program."""
        partial = self.subsampled or self.loader is not None
        dims = {name: names for name, names in site_dims(self.trace).items() if name in self.leaves}
        return Subject(
            tuple(self.leaves),
            CoordinateNames(self.shapes),
            {name: names for name, names in dims.items() if len(names) <= len(self.shapes[name])},
            {} if partial else observed_values(self.trace),
            Program(self.model, self.first, self.kwargs),
            self.engine,
            {} if self.loader is not None else labels_by_plate(labels_of(self.rest, self.kwargs), plate_lengths(self.trace)),
        )

    @property
    def _epoch(self) -> int:
        """How many batches have all of the data."""
        if self.rows is not None:
            return max(1, math.ceil(self.rows / max(rows_of(self.first) or 1, 1)))
        frames = [frame for site in self.trace.values() for frame in site.plates]
        return max((math.ceil(frame.size / max(frame.length, 1)) for frame in frames), default=1)

    @property
    def networks(self) -> frozenset[str]:
        """The latent sites that are weights of networks."""
        return network_weights(self.trace)

    def _loss(
        self, trained: Mapping[str, Tensor], state: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        with Buffers(held=dict(state)):
            _, total = self._run(Ascent(leaves=dict(trained)), args, kwargs)
        return -total

    def _run(self, ascent: Ascent, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Trace, Tensor]:
        known = len(ascent.leaves)
        said = explain_torch_errors(lambda: recorder.trace, self._program, tuple(args), dict(kwargs))
        program = self._program if self.division is None else self.division.model(self._program)
        with ascent as running, trace() as recorder, said:
            run_program(program, args, kwargs)
        found = recorder.trace
        if known and len(running.leaves) != known:
            new = list(running.leaves)[known]
            raise DensityError(
                f"latent site {found[new]} was not there when the program was first run. All steps need the same."
            )
        if self._everything is not None:
            kept = {name: term for name, term in running.jacobians.items() if self._everything.has_jacobian(term[0])}
            running.jacobians = kept
        jacobian = running.log_jacobian() if self.division is None or self.division.leads else torch.zeros(())
        if self.rows is None:
            return found, found.log_prob_sum() + jacobian
        latent = found.log_prob_sum(lambda site: isinstance(site, Sample) and not site.is_observed)
        data = found.log_prob_sum(lambda site: not (isinstance(site, Sample) and not site.is_observed))
        return found, latent + jacobian + data * (self.rows / max(rows_of(args) or 1, 1))

    def _announce_held(self, found: Trace) -> None:
        held = [site.name for site in found.params.values() if not site.frozen]
        if held:
            one = len(held) == 1
            warn(
                f"{'parameter' if one else 'parameters'} {', '.join(map(repr, held[:5]))}{' …' if len(held) > 5 else ''} "
                f"{'is' if one else 'are'} not lifted, and held at the current value. Give a prior with lift, or write "
                "sample for param, to make the posterior account for it.",
                HeldParameterWarning,
            )

    def _check_loader(self, found: Trace) -> None:
        local = [name for name in self.leaves if found[name].plates] if self.loader is not None else []
        if local:
            raise DensityError(
                f"the latent site {found[local[0]]} is in a plate, and a data loader gives other rows at every step, so that "
                "its elements have no place. Give the data at once, with a plate that is subsampled."
            )

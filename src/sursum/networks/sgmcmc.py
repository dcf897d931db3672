"""`SGMCMC`: chains of stochastic-gradient dynamics."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

import numpy as np
import torch

from sursum.common.other_libraries import answers
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, real_number, settle, whole_number
from sursum.common.user_frame import warn
from sursum.compiler.engine import DENSITY_ENGINES, check_engine
from sursum.core.calling import refuse_shadowed
from sursum.distributed.division import seed_of_all
from sursum.distributed.gradients import together
from sursum.distributed.group import RankEnded
from sursum.distributions.randomness import global_seed
from sursum.draws.diagnostics import Evidence, Hints, diagnose_mixing
from sursum.draws.ess_rhat import mixing
from sursum.errors import CaptureError, DiagnosticWarning, SamplingError
from sursum.io.files import interpreting
from sursum.networks.chains import Chains
from sursum.networks.dynamics import SGHMC, SGLD, SGNHT
from sursum.networks.target import Target
from sursum.posterior.assemble import assemble, draws_of, stack_buffers
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior
from sursum.training.checkpoint import (
    State,
    check_checkpoint,
    check_same_data,
    check_same_settings,
    engine_of,
    read_state,
    write_state,
)
from sursum.training.seeds import NOISE, derive

KIND = "sursum SGMCMC"

TOGETHER = 200_000
"""Up to this number of unknowns chains take their steps together."""


@answers(
    warmup_steps="num_warmup",
    num_burnin="num_warmup",
    burn_in="num_warmup",
    thin="thinning",
    random_seed="seed",
    rng_seed="seed",
    rng_key="a seed is a whole number here: `seed=0`",
    chains="num_chains",
    chain_method="`together=True` or `together=False`",
    num_cycles="cycles",
    lr="`step_size` of the dynamics: `SGLD(model, 0.01)`",
)
@dataclass(frozen=True, repr=False)
class SGMCMC:
    r"""Draw from a posterior with noisy gradients, from batches of the data: for networks and data of any size.

    A step takes a batch: of a subsampled plate, or of a data loader that is the first argument of `run`; with all data at once
    it is a step of Langevin dynamics. It is captured once for each shape of the batch and run without handlers, in the
    program's own dtype and on its device. There is no Metropolis correction: the draws have a bias that falls with the step
    size (see the dynamics). The running averages of batch norm belong to a chain, and each draw has those of its time.

    With `cycles` the step size starts again in every cycle and falls as a cosine,
    :math:`h_k = \tfrac h2 (1 + \cos \pi k / K)` for step k of K: the first part of a cycle moves without noise to
    another mode, and the rest draws there (Zhang et al. 2020).

    Args:
        dynamics: `SGLD`, `SGHMC` or `SGNHT`.
        num_samples: draws of each chain.
        num_warmup: steps before the first draw, in which the preconditioner is found.
        thinning: one draw is kept of this many steps.
        num_chains: chains, from different jitters around the start.
        together: whether the chains take each step in one pass of torch, mapped over them, or run one after another; None takes
            them together up to 200,000 unknowns, where torch takes longer for an operator than for its numbers. Their
            draws are the same either way, up to rounding.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        init: where chains start, as for `MCMC`; the trained weights otherwise.
        jitter: the width of U(-jitter, jitter), added to the start of every chain, in unconstrained coordinates.
        cycles: the number of cycles after the warm-up.
        exploration: the share of a cycle without noise.
        engine: what computes the gradients. "native": C; "torch": the captured operators; "eager": the program itself. None
            chooses by a fixed rule, and the posterior says which it was: C where chains are run one by one, the program is
            small, its data are no loader and there are at least a thousand steps, otherwise the captured operators where it
            can be captured.
        checkpoint: a file that `run` writes every `checkpoint_every` steps of the chains, and at the end; `resume` goes on from
            it. It has the draws so far.
        checkpoint_every: steps between checkpoints.

    Raises:
        SamplingError: an invalid setting.

    References:
        Ma, Chen, Fox (2015), A complete recipe for stochastic gradient MCMC, NeurIPS.
        Zhang et al. (2020), Cyclical stochastic gradient MCMC for Bayesian deep learning, ICLR.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 10.0))
        ...     with su.plate("data", len(y), subsample_size=20) as rows:
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y[rows])
        >>> y = 3.0 + torch.randn(200, generator=torch.Generator().manual_seed(0))
        >>> dynamics = su.infer.SGHMC(model, 0.02, friction=14.0)
        >>> posterior = su.infer.SGMCMC(dynamics, num_samples=300, num_chains=1, thinning=5, seed=0).run(y)
        >>> abs(float(posterior["mu"].mean() - y.mean())) < 0.1
        True
    """

    dynamics: SGLD | SGHMC | SGNHT
    num_samples: int = field(default=1000, kw_only=True)
    num_warmup: int = field(default=1000, kw_only=True)
    thinning: int = field(default=1, kw_only=True)
    num_chains: int = field(default=4, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    init: Init = field(default=None, kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    cycles: int | None = field(default=None, kw_only=True)
    exploration: float = field(default=0.8, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    together: bool | None = field(default=None, kw_only=True)
    checkpoint: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    checkpoint_every: int = field(default=1000, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        kind = "SGLD(…), SGHMC(…) or SGNHT(…)"
        check_setting(
            "dynamics", isinstance(self.dynamics, (SGLD, SGHMC, SGNHT)), self.dynamics, kind, SamplingError, "give one of them"
        )
        whole = {
            name: whole_number(name, getattr(self, name), least, SamplingError, f"{usual} is usual")
            for name, least, usual in (
                ("num_samples", 1, 1000),
                ("num_warmup", 0, 1000),
                ("thinning", 1, 1),
                ("num_chains", 1, 4),
            )
        }
        settle(self, {**whole, "seed": optional_seed(self.seed, SamplingError)})
        if self.cycles is not None:
            cycles = whole_number("cycles", self.cycles, 1, SamplingError, "leave it out for a constant step size")
            check_setting(
                "cycles", self.num_samples % cycles == 0, cycles, f"a divisor of {self.num_samples} draws", SamplingError,
                "each cycle gives as many",
            )  # fmt: skip
            settle(self, {"cycles": cycles})
        real_number("exploration", self.exploration, SamplingError, "0.8 is usual", least=0, below=1)
        real_number("jitter", self.jitter, SamplingError, "0 starts at the trained weights", least=0)
        whether = "True, False or None"
        check_setting("together", self.together in (None, True, False), self.together, whether, SamplingError, "leave it out")
        check_engine(self.engine, SamplingError, DENSITY_ENGINES)
        settle(self, {"checkpoint_every": check_checkpoint(self.checkpoint, self.checkpoint_every, SamplingError)})

    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Draw with these arguments of the program. The first may be a data loader, whose batches are the program's.

        Returns:
            The draws, with ``stats["lp"]``, the estimates of the log density from the batches.

        Raises:
            SamplingError: a chain left the numbers: its step size is too large.

        Warns:
            DiagnosticWarning: R-hat or effective sample sizes say that the chains have not mixed.
            HeldParameterWarning: parameters that are not lifted are held.
        """
        return self._run(args, kwargs, None)

    def resume(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Posterior:
        """Go on with a run that has written `checkpoint`: the draws are bit for bit those of a run that was not cut short.

        Args:
            path: the file.
            args, kwargs: arguments of the program, the same as before.

        Raises:
            StorageError: the file is truncated, damaged, of a different kind, or of another program.
            SamplingError: the run had other settings, another engine, or other data. Of a loader the data are compared that a
                `TensorDataset` or a list holds, and of others how many rows there are, and of what shape.
        """
        refuse_shadowed(self.dynamics.model, "resume", ["path"])
        return self._run(args, kwargs, read_state(path, KIND))

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], state: State | None) -> Posterior:
        engine = self.engine
        if state is None:
            own = global_seed() if self.seed is None else self.seed
        else:
            with interpreting(state.source, f"a {KIND} file"):
                check_same_settings(state, self._settings(), SamplingError)
                own, engine = int(state.note["seed"]), engine_of(state, engine, SamplingError)
        rng_seed = seed_of_all(self.dynamics.model, own)
        title = type(self.dynamics).__name__
        model = self.dynamics.model
        steps = sum(1 for _ in self._plan())  # in C one chain after another, which gains nothing over all in one pass of torch
        target = Target(
            model,
            args,
            kwargs,
            init=self.init,
            rng_seed=rng_seed,
            title=title,
            engine=engine,
            num_steps=steps if self.num_chains == 1 or self.together is False else 0,
            divides=True,
        )
        streams = [derive(rng_seed, NOISE, chain) for chain in range(self.num_chains)]
        with together(lambda: target.gradients):
            at_once = self._at_once(target)
            blocks = self._blocks(target, [streams] if at_once else [[one] for one in streams], at_once, rng_seed, state)
        q = torch.cat([block.draws for block in blocks])
        stats = {"lp": np.concatenate([block.values for block in blocks])}
        sites = target.coordinates.sites(q)
        subject = target.subject()
        found = draws_of(sites, stats, q.double().cpu().numpy())
        mixed = {name: mixing(found.sites[name].cpu().numpy()) for name in subject.latents}
        evidence = Evidence(mixed, stats, found.unconstrained, subject.coordinates, Hints(target.networks))
        said = diagnose_mixing(evidence)
        for text in said:
            warn(text, DiagnosticWarning)
        return assemble(
            subject, found, warnings=said, buffers=stack_buffers([rows for block in blocks for rows in block.buffers])
        )

    def _at_once(self, target: Target) -> bool:
        """Whether the chains take their steps in one pass."""
        if self.num_chains == 1 or self.together is False:
            return False
        if target.gradients is not None:  # over ranks, which add the gradients of one chain up
            return False
        if target.engine == "native":
            if self.together:
                raise SamplingError("the chains cannot take their steps together in C. Leave `together` out, or `engine`.")
            return False
        if self.together is None and target.coordinates.dim > TOGETHER:
            return False
        chains = [target.chain(derive(0, NOISE, chain)) for chain in range(self.num_chains)]
        try:
            target.at_points(target.coordinates.vector().repeat(self.num_chains, 1), chains, 0, at_once=True)
        except CaptureError as error:
            if self.together:
                raise SamplingError(f"the chains cannot take their steps together: {error}. Leave `together` out.") from error
            return False
        return True

    def _blocks(
        self, target: Target, streams: Sequence[Sequence[int]], at_once: bool, rng_seed: int, state: State | None
    ) -> list[Chains]:
        """The chains at their end: those of a block take their steps together, and the blocks one after another."""
        saved, blocks = list[State](), list[Chains]()
        if state is not None:
            with interpreting(state.source, f"a {KIND} file"):
                check_same_settings(state, self._shape(target, at_once), SamplingError)
                check_same_data(state, target.data, SamplingError)
                saved = [State(state.note[str(k)], state.within(f"{k}/")) for k in range(int(state.note["blocks"]))]

        def save() -> None:
            if self.checkpoint is not None and target.writes:
                settings = {**self._settings(), **self._shape(target, at_once), "engine": target.engine}
                _save(self.checkpoint, {"settings": settings, "data": target.data, "seed": rng_seed}, blocks)

        for k, one in enumerate(streams):
            within = None if k >= len(saved) else saved[k]
            options: Any = {"num_samples": self.num_samples, "jitter": self.jitter, "at_once": at_once}
            chains = Chains(target, self.dynamics, one, **options, taken=0 if within is None else int(within.note["steps"]))
            if state is not None and within is not None:
                with interpreting(state.source, f"a {KIND} file of this program"):
                    chains.restore(within)
            blocks.append(chains)
            try:
                for number, (h, noisy, place) in enumerate(islice(self._plan(), chains.steps, None), chains.steps):
                    chains.step(h, noisy=noisy, warming=number < self.num_warmup, place=place)
                    if (number + 1) % self.checkpoint_every == 0:
                        save()
            except RankEnded:
                save()
                raise
        save()
        return blocks

    def _shape(self, target: Target, at_once: bool) -> dict[str, Any]:
        """The same, as far as it depends on the program."""
        return {"together": at_once, "sites": {name: list(shape) for name, shape in target.shapes.items()}}

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the one that was cut short."""
        found = {one.name: getattr(self.dynamics, one.name) for one in fields(self.dynamics) if one.name != "model"}
        names = ("num_samples", "num_warmup", "thinning", "num_chains", "jitter", "cycles", "exploration")
        found |= {name: getattr(self, name) for name in names}
        plain = {name: float(value) if isinstance(value, np.floating) else value for name, value in found.items()}
        return {"dynamics": type(self.dynamics).__name__, **plain}

    def _plan(self) -> Iterator[tuple[float, bool, int | None]]:
        """For each step its size, whether it has noise, and which draw it is."""
        h = self.dynamics.step_size
        for _ in range(self.num_warmup):
            yield h, True, None
        if self.cycles is None:
            for step in range(1, self.num_samples * self.thinning + 1):
                yield h, True, step // self.thinning - 1 if step % self.thinning == 0 else None
            return
        each = self.num_samples // self.cycles
        drawing = each * self.thinning
        length = math.ceil(drawing / (1.0 - self.exploration))
        for cycle in range(self.cycles):
            for k in range(length):
                size = 0.5 * h * (1.0 + math.cos(math.pi * k / length))
                step = k - (length - drawing) + 1
                keep = step > 0 and step % self.thinning == 0
                yield size, step > 0, cycle * each + step // self.thinning - 1 if keep else None


def _save(path: str | os.PathLike[str], note: Mapping[str, Any], blocks: Sequence[Chains]) -> None:
    """Write all chains that have begun."""
    states = [block.state() for block in blocks]
    whole = {**note, "blocks": len(blocks), **{str(k): one.note for k, one in enumerate(states)}}
    tensors = {f"{k}/{name}": tensor for k, one in enumerate(states) for name, tensor in one.tensors.items()}
    write_state(path, KIND, State(whole, tensors), SamplingError)

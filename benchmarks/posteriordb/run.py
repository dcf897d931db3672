"""Runs and verdicts: sample until fit to be judged, judge together, and give what is beyond the bound a second run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

import sursum as su
from benchmarks.posteriordb import latent, regressions, series
from benchmarks.posteriordb.case import WARMUP, Case
from benchmarks.posteriordb.rule import Judgement, bound, judge, scalars
from sursum.draws.ess_rhat import mixing
from sursum.mcmc.seeds import chain_seed
from sursum.mcmc.start import find_start

CASES: list[Case] = sorted([*regressions.CASES, *series.CASES, *latent.CASES], key=lambda case: case.name)

MORE = 4
"""How many times the draws a second run has, and how many times more those of a run that is not fit to be judged."""


@dataclass(frozen=True)
class Work:
    """What draws took: leapfrog steps of a draw, and the smallest bulk ESS of the unconstrained coordinates."""

    steps: float
    ess: float
    draws: int

    @classmethod
    def of(cls, q: np.ndarray, steps: np.ndarray) -> Work:
        """Of draws (chain, draw, n) and the steps of each, (chain, draw)."""
        return cls(float(np.mean(steps)), float(mixing(q).ess_bulk.min()), steps.size)

    def __str__(self) -> str:
        return f"{self.steps:.1f} | {1000.0 * self.ess / (self.steps * self.draws):.2f}"


@dataclass(frozen=True)
class Verdict:
    """One posterior's run: how it was judged, what it took, the bound on its scores, and whether it took a second run.

    `peer` is what a run of the same length took by nutpie.
    """

    case: Case
    judgement: Judgement
    dim: int
    draws: int
    seconds: float
    work: Work
    peer: Work | None = None
    limit: float = 0.0
    runs: int = 1

    @property
    def within(self) -> bool:
        """Whether every score is within the bound."""
        return abs(self.judgement.worst[1]) <= self.limit

    @property
    def agrees(self) -> bool:
        """Whether the run is fit to be judged, and within the bound."""
        return self.within and not self.judgement.unfit


def judge_together(cases: Sequence[Case], *, seed: int, say: Callable[[str], None] = lambda text: None) -> list[Verdict]:
    """Sample every posterior and judge all of them by one bound; those beyond it are run once more."""
    first = [_fit(case, seed, case.draws, say) for case in cases]
    limit = bound(sum(len(verdict.judgement.scores) for verdict in first))
    verdicts = [replace(verdict, limit=limit) for verdict in first]
    return [verdict if verdict.within else _second(verdict, seed + 1, say) for verdict in verdicts]


def beside(verdict: Verdict, seed: int) -> Verdict:
    """The same, with the run by nutpie."""
    from benchmarks import nutpie_chain  # which imports nutpie

    density: Any = su.compile(verdict.case.lifted, *verdict.case.called_with(), engine="native")
    found = []
    for k in range(4):
        source = chain_seed(seed, k)
        start = find_start(density.density, density.value_and_grad, source.start)
        found.append(nutpie_chain.sample(density, start, source.sampler, WARMUP, verdict.draws, verdict.case.target_accept))
    q, steps = np.stack([chain.q for chain in found]), np.stack([chain.steps for chain in found])
    return replace(verdict, peer=Work.of(q[:, WARMUP:], steps[:, WARMUP:]))


def _second(first: Verdict, seed: int, say: Callable[[str], None]) -> Verdict:
    again = _fit(first.case, seed, MORE * first.draws, say)
    return replace(again, limit=first.limit, runs=2)


def _fit(case: Case, seed: int, draws: int, say: Callable[[str], None]) -> Verdict:
    """A run that is fit to be judged; one of more draws where the first is not."""
    verdict = _run(case, seed, draws, say)
    return _run(case, seed, MORE * draws, say) if verdict.judgement.unfit else verdict


def _run(case: Case, seed: int, draws: int, say: Callable[[str], None]) -> Verdict:
    started = time.perf_counter()
    posterior = case.sample(seed, draws)
    seconds = time.perf_counter() - started
    known = case.load()
    share = float(posterior.stats["diverging"].mean())
    judgement = judge(scalars(posterior, known["parameters"]), known["reference"], share)
    work = Work.of(np.asarray(posterior.unconstrained), posterior.stats["n_steps"])
    verdict = Verdict(case, judgement, posterior.unconstrained.shape[2], draws, seconds, work)
    (name, figure), z = judgement.worst
    say(f"{case.name}: 4 × {draws} draws in {seconds:.1f} s, z {z:.2f} ({figure} of {name}) {'; '.join(judgement.unfit)}")
    return verdict


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a markdown table."""
    count = sum(len(verdict.judgement.scores) for verdict in verdicts)
    lines = [
        "| posterior | verdict | greatest \\|z\\| | of | unknowns | draws | smallest ESS | largest R-hat | divergent "
        "| steps a draw | ESS/1000 gradients | nutpie: steps | ESS/1000 gradients |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for verdict in verdicts:
        judgement = verdict.judgement
        (name, figure), z = judgement.worst
        word = "agrees" if verdict.agrees else "not fit to be judged" if judgement.unfit else "**disagrees**"
        again = ", in its second run" if verdict.runs == 2 else ""
        lines.append(
            f"| {verdict.case.name} | {word}{again} | {abs(z):.2f} | {figure} of `{name}` | {verdict.dim} "
            f"| 4 × {verdict.draws} | {judgement.ess:.0f} | {judgement.r_hat:.4f} | {judgement.divergent:.2%} "
            f"| {verdict.work} | {verdict.peer or '– | –'} |"
        )
    packages = ["sursum", "torch", "numpy"] + ["nutpie"] * any(verdict.peer for verdict in verdicts)
    used = ", ".join(f"{name} {version(name)}" for name in packages)
    lines += [
        "",
        f"{count} scores, judged together: the bound on |z| is {bound(count):.2f}. {datetime.now(UTC):%d %B %Y}; {used}.",
    ]
    return "\n".join(lines) + "\n"

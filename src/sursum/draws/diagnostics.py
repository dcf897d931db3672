"""Report problems of a run in plain words: one or two sentences for each, naming the worst site.

The thresholds are the standard ones: Vehtari et al. (2021) for R-hat and effective sample sizes,
Betancourt (2016) for E-BFMI. A run without problems gets no message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sursum.draws.correlation import stretched
from sursum.draws.ess_rhat import Mixing, e_bfmi
from sursum.draws.header import words, words_by_name
from sursum.io.lazy_draws import StoredArray

R_HAT = 1.01
ESS_PER_CHAIN = 100
E_BFMI = 0.3
SEPARATE = 1.5
"""An R-hat above which chains hardly overlap."""
LONG, STRETCHED = 60, 100.0
"""Steps of a mean trajectory, and a ratio of variances along directions, for which another metric pays."""

PART = 1 << 15
"""Numbers that are looked at in one go."""

_UNIDENTIFIED = (
    "It is a weight of a network, and those are not identified: units can be permuted and signs flipped without any "
    "change in what the network computes. Judge the run by predictions, `posterior.predict(x).summary()`, or by both, "
    "`posterior.summary(predictions=posterior.predict(x))`."
)


@dataclass(frozen=True)
class Hints:
    """What is known of the program and the sampler, so that a warning can name what helps.

    `networks` are the latent sites that are weights of layered networks; `scales` names, for latent sites that are scales,
    the sites that `LocScaleReparam` would non-centre; `low_rank` is whether the sampler adapted to correlations, and
    `walnuts` whether its steps become smaller where the density needs it.
    """

    networks: frozenset[str] = frozenset()
    scales: Mapping[str, Sequence[str]] = field(default_factory=dict)
    low_rank: bool = False
    walnuts: bool = False

    def note(self) -> dict[str, Any]:
        """The same as JSON has it."""
        scales = {name: list(sites) for name, sites in self.scales.items()}
        return {"networks": sorted(self.networks), "scales": scales, "low_rank": self.low_rank, "walnuts": self.walnuts}

    @classmethod
    def read(cls, note: Any) -> Self:
        """The hints of a note; those that it lacks are empty.

        Example:
            >>> Hints.read(Hints(frozenset(["w"]), {"tau": ("theta",)}).note())
            Hints(networks=frozenset({'w'}), scales={'tau': ('theta',)}, low_rank=False, walnuts=False)
        """
        note = note if isinstance(note, Mapping) else {}
        return cls(
            frozenset(words(note.get("networks", ()))),
            words_by_name(note.get("scales", {})),
            bool(note.get("low_rank", False)),
            bool(note.get("walnuts", False)),
        )


NO_HINTS = Hints()


@dataclass(frozen=True)
class Evidence:
    """The input of the diagnostics.

    `mixing` is that of the latent sites, by name; `stats` are those of the sampler, each (chain, draw); `unconstrained` are
    the draws of q, (chain, draw, n), and `coordinates` the names of its coordinates.
    """

    mixing: Mapping[str, Mixing]
    stats: Mapping[str, NDArray[Any]]
    unconstrained: NDArray[np.float64]
    coordinates: Sequence[str]
    hints: Hints = field(default_factory=Hints)

    @cached_property
    def correlated(self) -> str:
        """Where trajectories are long for strong correlations, the site that is concerned most; else empty."""
        steps = self.stats.get("n_steps")
        if self.hints.low_rank or steps is None or not steps.size or np.mean(steps) < LONG:
            return ""
        ratio, site = stretched(np.asarray(self.unconstrained), self.coordinates)
        return site if ratio >= STRETCHED else ""


def diagnose(evidence: Evidence) -> tuple[str, ...]:
    """The warnings about a run, in order of importance; empty if there are no problems.

    Quantities for which a diagnostic is undefined (a constant, a single chain, fewer than four draws) are skipped.
    """
    checks = (_divergences, _r_hat, _ess, _tree_depth, _energy)
    found = tuple(text for check in checks for text in check(evidence))
    return found if any("metric=" in text for text in found) else (*found, *_long_trajectories(evidence))


def diagnose_mixing(evidence: Evidence) -> tuple[str, ...]:
    """The warnings about R-hat and effective sample sizes alone, for chains without trajectories."""
    return (*_r_hat(evidence), *_ess(evidence))


def element_name(site: str, index: tuple[int, ...]) -> str:
    """The name of one element of a site.

    Example:
        >>> element_name("theta", (3, 0)), element_name("tau", ())
        ('theta[3, 0]', 'tau')
    """
    return f"{site}[{', '.join(map(str, index))}]" if index else site


def _divergences(evidence: Evidence) -> Iterator[str]:
    diverging = evidence.stats["diverging"].astype(bool)
    count = int(diverging.sum())
    if count:
        site, side = _locate_divergences(evidence, diverging)
        where = f", most of them at {side} values of `{site}`" if site else ""
        helps = _non_centring(evidence, site) if side == "low" or not site else ""
        neck = side == "low" and not evidence.hints.walnuts
        yield (
            f"{count} of {diverging.size} draws ended in a divergence{where}: part of the posterior may be missing. "
            + (f"{helps} Or raise `target_accept`." if helps else "Raise `target_accept`, or reparametrise (`su.reparam`).")
            + (" Or sample with `WALNUTS(model)`, whose steps become smaller there." if neck else "")
        )


def _locate_divergences(evidence: Evidence, diverging: NDArray[np.bool_]) -> tuple[str, str]:
    """Where the divergences are, if they cluster: the coordinate in which they stand out most, and its side."""
    draws = evidence.unconstrained
    if diverging.all() or draws.shape[2] == 0:
        return "", ""
    total, there = np.zeros(draws.shape[2]), np.zeros(draws.shape[2])
    for part, begin in _parts(draws):
        total += part.sum(axis=(0, 1))
        there += part[diverging[:, begin : begin + part.shape[1]]].sum(axis=0)
    mean, squares = total / diverging.size, np.zeros(draws.shape[2])
    for part, _ in _parts(draws):
        off = (part - mean).reshape(-1, len(mean))
        squares += np.einsum("dn,dn->n", off, off)
    spread = np.sqrt(squares / diverging.size)
    shift = (there / diverging.sum() - mean) / np.where(spread > 0, spread, np.inf)
    shift = np.nan_to_num(shift)
    worst = int(np.abs(shift).argmax())
    # The mean of k independent draws deviates by 1/√k standard deviations; four times that is not chance.
    if abs(shift[worst]) < max(0.5, 4.0 / np.sqrt(diverging.sum())):
        return "", ""
    return evidence.coordinates[worst], "low" if shift[worst] < 0 else "high"


def _parts(draws: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Draws of every chain in parts, and the number of the first: as many as a cache holds, or a store's chunk."""
    if isinstance(draws, StoredArray):
        begin = 0
        for part in draws.blocks():
            yield part, begin
            begin += part.shape[1]
        return
    step = max(1, PART // max(1, draws.shape[0] * draws.shape[2]))
    for begin in range(0, draws.shape[1], step):
        yield draws[:, begin : begin + step], begin


def _r_hat(evidence: Evidence) -> Iterator[str]:
    for mixing, is_network in _apart(evidence):
        found = _worst({name: found.r_hat for name, found in mixing.items()}, np.argmax)
        if found is None or found[1] <= R_HAT:
            continue
        name, value = found
        shown = f"{value:.4f}" if value < 1.1 else f"{value:.3g}"
        yield (
            f"R-hat of `{name}` is {shown}, above {R_HAT}: the chains do not agree on it. "
            + (
                _UNIDENTIFIED
                if is_network
                else "Until they do, trust none of its summaries. "
                + (
                    _helps(evidence, name)
                    or _switching(name, value)
                    or "Run longer (`num_warmup`, `num_samples`), or reparametrise."
                )
            )
        )


def _switching(name: str, r_hat: float) -> str:
    """What helps elements that chains have in different orders; nothing for one number, or where chains nearly agree."""
    site, bracket, _ = name.partition("[")
    if r_hat <= SEPARATE or not bracket:
        return ""
    return (
        f"So far apart, each chain is in a mode of its own. Where the elements of `{site}` can change places, as components "
        "of a mixture can (label switching), longer runs do not help: put in order what tells them apart, such as their means, "
        "`dist.Sorted(prior, n)`, or a param with `constraints.ordered`. Otherwise run longer, or reparametrise."
    )


def _ess(evidence: Evidence) -> Iterator[str]:
    for mixing, is_network in _apart(evidence):
        bulk = _worst({name: found.ess_bulk for name, found in mixing.items()}, np.argmin)
        tail = _worst({name: found.ess_tail for name, found in mixing.items()}, np.argmin)
        if bulk is None or tail is None:
            continue
        wanted = ESS_PER_CHAIN * len(evidence.unconstrained)
        kind, (name, value) = min(("bulk", bulk), ("tail", tail), key=lambda found: found[1][1])
        if value < wanted:
            yield (
                f"The {kind} effective sample size of `{name}` is {value:.0f}, below {wanted} ({ESS_PER_CHAIN} per chain): "
                "its summaries are imprecise. "
                + (_UNIDENTIFIED if is_network else _helps(evidence, name) or "Draw more samples, or reparametrise.")
            )


def _apart(evidence: Evidence) -> Iterator[tuple[Mapping[str, Mixing], bool]]:
    """Sites that are meaningful by themselves, then the weights of networks."""
    for is_network in (False, True):
        yield (
            {name: one for name, one in evidence.mixing.items() if (name in evidence.hints.networks) is is_network},
            is_network,
        )


def _tree_depth(evidence: Evidence) -> Iterator[str]:
    reached = evidence.stats["reached_max_treedepth"].astype(bool)
    count = int(reached.sum())
    if count:
        depth = int(evidence.stats["tree_depth"].max())
        yield (
            f"{count} of {reached.size} draws reached the maximum tree depth, {depth}: the draws are valid but slow. "
            + (_metric(evidence) or "Raise `max_tree_depth`, or reparametrise so that the sites are less correlated.")
        )


def _long_trajectories(evidence: Evidence) -> Iterator[str]:
    if evidence.correlated:
        mean = float(np.mean(evidence.stats["n_steps"]))
        yield f"A draw takes {mean:.0f} steps on average: the draws are valid but slow. {_metric(evidence)}"


def _helps(evidence: Evidence, name: str) -> str:
    """What helps a quantity that mixes slowly, if that is known."""
    return " ".join(text for text in (_metric(evidence), _non_centring(evidence, name) if name else "") if text)


def _metric(evidence: Evidence) -> str:
    site = evidence.correlated
    return f"The coordinates of `{site}` are strongly correlated: sample with `NUTS(model, metric='dense')`." if site else ""


def _non_centring(evidence: Evidence, name: str) -> str:
    """The advice to non-centre what the site of an element scales; for no element, what any site scales."""
    site, scales = name.partition("[")[0], evidence.hints.scales
    scaled = list(dict.fromkeys(s for scale in ([site] if name else scales) for s in scales.get(scale, ())))
    if not scaled:
        return ""
    what = ", ".join(f'"{s}": su.handlers.LocScaleReparam(0.0)' for s in scaled)
    scale = site or next(scale for scale in scales if scales[scale])
    said = " and ".join(f"`{s}`" for s in scaled)
    return f"`{scale}` is the scale of {said}: draw in units of it, `su.reparam(model, {{{what}}})`."


def _energy(evidence: Evidence) -> Iterator[str]:
    fractions = e_bfmi(evidence.stats["energy"])
    if np.isfinite(fractions).any() and (low := float(np.nanmin(fractions))) < E_BFMI:
        chain = int(np.nanargmin(fractions))
        yield (
            f"E-BFMI of chain {chain} is {low:.2g}, below {E_BFMI}: the chain moves slowly between regions of "
            "different density, and tails may be missing. "
            + (_non_centring(evidence, "") or "Reparametrise hierarchical sites (`su.reparam`).")
        )


def _worst(values: Mapping[str, NDArray[np.float64]], arg: Any) -> tuple[str, float] | None:
    """The element that `arg` (argmax or argmin) selects among all sites, and its value; NaN is skipped."""
    found: list[tuple[str, float]] = []
    for name, array in values.items():
        known = ~np.isnan(array)
        if known.any():
            flat = np.flatnonzero(known)
            place = int(flat[arg(array.ravel()[flat])])
            index = tuple(int(i) for i in np.unravel_index(place, array.shape))
            found.append((element_name(name, index), float(array.ravel()[place])))
    return found[int(arg([value for _, value in found]))] if found else None

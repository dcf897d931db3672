"""Find latent sites that affect nothing but their own prior."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.core.messages import Deterministic, Sample
from sursum.core.trace import Trace
from sursum.density.unconstrain import Placed
from sursum.errors import UnusedSiteWarning
from sursum.handlers.enumerate.held import is_held

#: How far sites are perturbed, in unconstrained coordinates.
_MOVES = (0.3, 1.0, 1.0, 3.0, 3.0, 10.0)


def find_unconnected(
    found: Trace, scores: Mapping[str, Tensor], leaves: Mapping[str, Tensor], run: Callable[[Placed], Trace]
) -> list[str]:
    """The names in `leaves`, a free tensor for every latent site, that affect no data: their posterior is their prior.

    A site is connected if a term of `found` other than its own prior depends on it: a likelihood, or the prior of a site
    that is itself connected. So the scale of a group's prior is unconnected if the group is. One traversal of the autograd
    graph computes the set of leaves that each node depends on, as bits. A value used as an index, or in a comparison, has
    an effect without a gradient: such a site is perturbed, to see what changes.

    Args:
        found: an execution.
        scores: its log densities, by site.
        leaves: what it was computed from.
        run: executes the program once more.
    """
    terms = _terms(found, scores)
    bit = {id(leaf): 1 << i for i, leaf in enumerate(leaves.values())}
    own = {name: 1 << i for i, name in enumerate(leaves)}
    known: dict[Any, int] = {}
    needs = {name: reach(term, bit, known) & ~own.get(name, 0) for name, term in terms.items()}
    # What discrete coordinates affect may be the same for all of their values here, and not elsewhere.
    held = sum(own[name] for name in leaves if is_held(found[name]))
    lonely = _lonely(needs, own, held)
    if lonely and not _find_changed(terms, leaves, lonely, run) <= set(lonely):  # one of them, or several
        for name in lonely:
            for other in _find_changed(terms, leaves, [name], run) - {name}:
                needs[other] |= own[name]
        return _lonely(needs, own, held)
    return lonely


def announce_unconnected(lonely: Sequence[str]) -> None:
    """Warn of latent sites that `find_unconnected` has found."""
    if lonely:
        one = len(lonely) == 1
        warn(
            f"the latent {'site' if one else 'sites'} {', '.join(map(repr, lonely))} {'affects' if one else 'affect'} "
            "nothing but the prior: the posterior will equal it. Check that the program uses the value.",
            UnusedSiteWarning,
        )


def _find_changed(
    terms: Mapping[str, Tensor], leaves: Mapping[str, Tensor], names: Sequence[str], run: Callable[[Placed], Trace]
) -> set[str]:
    """The terms that change when the sites `names` are perturbed, by a little or by much, and all others are fixed."""
    rng = np.random.default_rng(0)
    changed: set[str] = set()
    for reach in _MOVES:
        at = dict(leaves)
        for name in names:
            away = rng.uniform(-reach, reach, tuple(leaves[name].shape))
            at[name] = leaves[name] + torch.as_tensor(away, dtype=leaves[name].dtype)

        def choose(site: Sample, free_shape: torch.Size, onto: Any, at: Mapping[str, Tensor] = at) -> Tensor:
            return at[site.name]

        with contextlib.suppress(ValueError, torch.linalg.LinAlgError), torch.no_grad():
            again = run(Placed(choose=choose))
            moved = _terms(again, again.log_prob())
            changed |= {name for name, term in moved.items() if name in terms and not _equal(term, terms[name])}
    return changed


def _terms(found: Trace, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything that a site may affect: log densities, and the values of deterministic sites."""
    terms = dict(scores)
    for name, site in found.items():
        if isinstance(site, Deterministic) and isinstance(site.value, Tensor):
            terms[name] = site.value
    return terms


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _lonely(needs: Mapping[str, int], own: Mapping[str, int], connected: int = 0) -> list[str]:
    """The names that no term needs, except terms of names that themselves are not needed, nor among those `connected`."""
    for name, bits in needs.items():
        connected |= 0 if name in own else bits
    while True:
        further = connected
        for name, bits in needs.items():
            if own.get(name, 0) & connected:
                further |= bits
        if further == connected:
            return [name for name in own if not own[name] & connected]
        connected = further


def last_sites(terms: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> list[str]:
    """The names in `leaves`, a free tensor for every latent site, that depend on another and on which no other depends; if
    there are none, those on which no other depends; `terms` are the log densities."""
    bit = {id(leaf): 1 << i for i, leaf in enumerate(leaves.values())}
    own = {name: 1 << i for i, name in enumerate(leaves)}
    known: dict[Any, int] = {}
    needs = {name: reach(term, bit, known) & ~own.get(name, 0) for name, term in terms.items()}
    needed = 0
    for bits in needs.values():
        needed |= bits
    last = [name for name in leaves if not own[name] & needed]
    return [name for name in last if needs.get(name)] or last


def reach(term: Tensor, bit: Mapping[int, int], known: dict[Any, int]) -> int:
    """The leaves on which a term depends, as the sum of their bits; `known` are those of autograd's nodes met before."""
    if term.grad_fn is None:
        return bit.get(id(term), 0)
    root = term.grad_fn
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, children_done = stack.pop()
        if node in known and not children_done:
            continue
        children = [child for child, _ in node.next_functions if child is not None]
        if children_done:
            variable = getattr(node, "variable", None)
            bits = 0 if variable is None else bit.get(id(variable), 0)
            for child in children:
                bits |= known[child]
            known[node] = bits
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in children if child not in known)
    return known[root]

"""Which latent sites reach anything but their own prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sursum.messages import Deterministic
from sursum.trace import Trace


def unconnected(found: Trace, leaves: Mapping[str, Tensor]) -> list[str]:
    """The names in `leaves`, a free tensor for every latent site, that no data reach: their posterior is their prior.

    A site is connected if a term of `found` other than its own prior depends on it, one of data or the prior of a site
    that is connected itself: the scale of a group's prior is as lonely as the group. One walk over the autograd graph
    carries the set of leaves that each node reaches, as bits.
    """
    with torch.enable_grad():
        terms: dict[str, Tensor] = dict(found.log_prob())
    for name, site in found.items():
        if isinstance(site, Deterministic) and isinstance(site.value, Tensor):
            terms[name] = site.value
    bit = {id(leaf): 1 << i for i, leaf in enumerate(leaves.values())}
    own = {name: 1 << i for i, name in enumerate(leaves)}
    known: dict[Any, int] = {}
    needs = {name: _reach(term, bit, known) & ~own.get(name, 0) for name, term in terms.items()}
    connected = 0
    for name, bits in needs.items():
        connected |= 0 if name in own else bits
    while True:
        further = connected
        for name, bits in needs.items():
            if own.get(name, 0) & connected:
                further |= bits
        if further == connected:
            return [name for name in leaves if not own[name] & connected]
        connected = further


def last_sites(found: Trace, leaves: Mapping[str, Tensor]) -> list[str]:
    """The names in `leaves`, a free tensor for every latent site, that depend on another and on which no other depends; where
    none does, those on which no other depends."""
    with torch.enable_grad():
        terms = found.log_prob()
    bit = {id(leaf): 1 << i for i, leaf in enumerate(leaves.values())}
    own = {name: 1 << i for i, name in enumerate(leaves)}
    known: dict[Any, int] = {}
    needs = {name: _reach(term, bit, known) & ~own.get(name, 0) for name, term in terms.items()}
    needed = 0
    for bits in needs.values():
        needed |= bits
    last = [name for name in leaves if not own[name] & needed]
    return [name for name in last if needs.get(name)] or last


def _reach(term: Tensor, bit: Mapping[int, int], known: dict[Any, int]) -> int:
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

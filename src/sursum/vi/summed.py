"""Discrete sites under a bound: those of the model alone are summed out, those of the guide are averaged over exactly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sursum.core.trace import Trace
from sursum.errors import VariationalError
from sursum.handlers.enumerate.elimination import marginalise
from sursum.handlers.enumerate.enumerated import Enumerated
from sursum.handlers.enumerate.potentials import Potential, Variable, impossible

Terms = dict[str, Tensor]


def repeated(found: Trace) -> frozenset[int]:
    """The dimensions along which a whole program is repeated."""
    return frozenset(frame.dim for site in found.values() for frame in site.plates if frame.repeats and frame.dim is not None)


def refuse_states(in_guide: Enumerated) -> None:
    """Raise VariationalError for a guide that has enumerated sites in a scan."""
    if in_guide.patterns:
        raise VariationalError(
            "discrete sites of a guide cannot be enumerated in a scan: an average over the states of all steps is not a sum "
            "over one. Leave them out of the guide: sites of the model alone are summed out, also in a scan. Or write the loop "
            "in Python, `for t in su.markov(range(n)):`, in the guide and in the model, with a site of its own in each step."
        )


def summed_terms(found: Trace, at: Enumerated | None) -> Terms:
    """The log densities of a trace by site, what depends on discrete sites summed over their values.

    A sum is entered under the first of its sites.
    """
    if at is None:
        return found.log_prob()
    terms = _others(found, at)
    for one in at.left(apart=repeated(found)):
        _add(terms, one.names[0], impossible(_scale(one, one.value)))
    return terms


def averaged_terms(model: Trace, in_model: Enumerated | None, guide: Trace, in_guide: Enumerated | None) -> tuple[Terms, Terms]:
    r"""The log densities of model and guide by site, :math:`E_q[\log p]` and :math:`E_q[\log q]`, by exact sums.

    Discrete sites of the model alone are summed out before. A term that depends on some of the guide's is averaged over them,
    with their joint probabilities in the guide.
    """
    if in_guide is None:
        return summed_terms(model, in_model), guide.log_prob()
    given = frozenset(variable for variable, _ in in_guide.variables)
    own = {v: one for v in given for one in in_guide.terms if one.names == (v.site,)}
    log_q = _others(guide, in_guide)
    for one in in_guide.terms:
        _add(log_q, one.names[0], _average(one, own))
    if in_model is None:
        return model.log_prob(), log_q
    log_p = _others(model, in_model)
    for one in in_model.left(given, repeated(model)):
        _add(log_p, one.names[0], impossible(_average(one, own)))
    return log_p, log_q


def _others(found: Trace, at: Enumerated) -> Terms:
    return found.log_prob(lambda site: site.name not in at.summed)


def _average(one: Potential, own: Mapping[Variable, Potential]) -> Tensor:
    """The mean of a term over the discrete sites of the guide that it depends on."""
    value = one.value if one.counted is None else torch.where(one.counted, one.value, torch.zeros_like(one.value))
    if not one.variables:
        return _scale(one, value)
    needed, todo = set[Variable](), list(one.variables)
    while todo:
        variable = todo.pop()
        if variable not in needed:
            needed.add(variable)
            todo.extend(own[variable].variables)
    log_weights = marginalise([own[variable] for variable in needed], one.variables)
    return _scale(one, (log_weights.exp() * value).sum(tuple(range(len(one.variables)))))


def _scale(one: Potential, value: Tensor) -> Tensor:
    for dim, scale in one.plates.items():
        if dim in one.dims:
            value = value * scale
    return value * one.scale if isinstance(one.scale, Tensor) or one.scale != 1.0 else value


def _add(terms: Terms, name: str, value: Tensor) -> None:
    terms[name] = terms[name] + value if name in terms else value

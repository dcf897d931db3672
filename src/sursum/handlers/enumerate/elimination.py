"""Tensor variable elimination: sum discrete variables out of a product of terms, in log space, plate by plate.

References:
    Obermeyer, Bingham, Jankowiak, Phan, Chiu, Pradhan, Rush, Goodman, "Tensor variable elimination for plated factor graphs"
    (2019), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sursum.errors import DensityError
from sursum.handlers.enumerate.potentials import LARGEST_TABLE, Potential, Variable, impossible

#: Sums a table over leading dimensions, in log space.
Reduce = Callable[[Tensor, Sequence[Variable]], Tensor]


def log_sum(table: Tensor, variables: Sequence[Variable]) -> Tensor:
    """log Σ exp over the leading dimensions, those of `variables`."""
    return torch.logsumexp(table, tuple(range(len(variables))))


def eliminate(
    terms: Iterable[Potential],
    keep: frozenset[Variable] = frozenset(),
    apart: frozenset[int] = frozenset(),
    *,
    pointwise: bool = False,
    reduce: Reduce = log_sum,
    named: Mapping[int, str] | None = None,
) -> list[Potential]:
    """The terms with every variable summed out but those to `keep`.

    A variable in plates is summed out for each of their elements, where only terms in the same plates depend on it; what is
    left is then multiplied over the plates that none of the variables left is in.

    Args:
        keep: variables that remain.
        apart: dimensions that are not multiplied over.
        pointwise: whether what depends on no variable any more is not multiplied over its plates.
        reduce: how a variable is summed out.
        named: what messages call a dimension.

    Raises:
        DensityError: a table would be too large, plates entangle variables, scales differ within a sum.
    """
    named = named or {}
    pending, done = list(terms), list[Potential]()
    for one in pending:
        _check_inside(one, named)
    while pending:
        dims = max((one.dims for one in pending), key=lambda dims: (len(dims), sorted(dims)))
        here = [one for one in pending if one.dims == dims]
        pending = [one for one in pending if one.dims != dims]
        local = {v for one in here for v in one.variables if v.dims == dims and v not in keep}
        for group in _group_connected(here, local):
            left = _sum_out(group, local, reduce, named)
            for one in left:
                outer = (dims & apart).union(*(v.dims for v in one.variables))
                outer = dims if pointwise and not one.variables else outer
                if outer == dims and any(v not in keep for v in one.variables):
                    raise _entangled(one, dims, named)
                moved = _over_plates(one, dims - outer)
                settled = all(v in keep for v in moved.variables)
                (done if settled else pending).append(moved)
    return done


def marginalise(terms: Iterable[Potential], keep: Iterable[Variable]) -> Tensor:
    """The log of the product of the terms, summed over all variables but those to `keep`, element by element of the plates.

    Returns:
        A table with a dimension for each of `keep`, sorted, and those of the plates.
    """
    terms, kept = list(terms), sorted(keep)
    left = _sum_out(terms, union_of(terms) - set(kept), log_sum, {})
    return product(left, kept)


def total(terms: Sequence[Potential]) -> Tensor:
    """The sum of terms that depend on nothing any more."""
    value = torch.zeros(())
    for one in terms:
        value = value + (one.value * one.scale if isinstance(one.scale, Tensor) or one.scale != 1.0 else one.value).sum()
    return impossible(value)


def _group_connected(terms: Sequence[Potential], variables: set[Variable]) -> list[list[Potential]]:
    """The terms in groups that share none of the `variables`."""
    groups: list[tuple[set[Variable], list[Potential]]] = []
    for one in terms:
        mine, members = {v for v in one.variables if v in variables}, [one]
        apart = []
        for group in groups:
            if mine.isdisjoint(group[0]):
                apart.append(group)
            else:
                mine, members = mine | group[0], [*group[1], *members]
        groups = [*apart, (mine, members)]
    return [members for _, members in groups]


def _sum_out(terms: Sequence[Potential], local: set[Variable], reduce: Reduce, named: Mapping[int, str]) -> list[Potential]:
    """The terms with their `local` variables summed out: each time the one with the smallest table.

    So tables are those of opt_einsum's greedy path or smaller, in nearly every product; its paths contract two factors at a
    time, and here all that depend on a variable are multiplied at once.
    """
    live = dict(enumerate(terms))
    users: dict[Variable, set[int]] = {}
    for number, one in live.items():
        for v in one.variables:
            users.setdefault(v, set()).add(number)
    order = {v: place for place, v in enumerate(users)}

    def cost(variable: Variable) -> int:
        return _size({v for number in users[variable] for v in live[number].variables})

    costs = {v: cost(v) for v in users if v in local}
    while costs:
        first = min(costs, key=lambda v: (costs[v], order[v]))
        bucket = sorted(users[first])
        joint = union_of(live[number] for number in bucket)
        gone = sorted(v for v in joint if v in costs and users[v] <= users[first])
        left = sorted(v for v in joint if v not in gone)
        parts = [live.pop(number) for number in bucket]
        _check_size(parts, joint, named)
        names = tuple(dict.fromkeys(name for one in parts for name in one.names))
        scales = {dim: scale for one in parts for dim, scale in one.plates.items()}
        table = reduce(product(parts, [*gone, *left]), gone)
        made = max(bucket) if not live else max(max(bucket), *live) + 1
        live[made] = Potential(table, tuple(left), _common_scale(parts), names, scales)
        for v in gone:
            del costs[v], users[v]
        for v in left:
            users[v] = (users[v] - set(bucket)) | {made}
        costs.update((v, cost(v)) for v in left if v in costs)
    return list(live.values())


def union_of(terms: Iterable[Potential]) -> set[Variable]:
    """The variables that any of the terms depends on."""
    return {v for one in terms for v in one.variables}


def product(terms: Sequence[Potential], variables: Sequence[Variable]) -> Tensor:
    """The log of the terms' product, over `variables`; the smallest are multiplied first."""
    tables = sorted((one.over(variables) for one in terms), key=lambda table: table.numel())
    result = tables[0]
    for table in tables[1:]:
        result = result + table
    return result


def _over_plates(one: Potential, dims: frozenset[int]) -> Potential:
    """The product over the elements of these dimensions, the elements that are present representing all."""
    if not dims:
        return one
    value, scale = one.value, one.scale
    if isinstance(scale, Tensor) and scale.dim():
        value, scale = value * scale, 1.0
    value = value.sum(tuple(sorted(dims)), keepdim=True)
    for dim in dims & one.plates.keys():
        value = value * one.plates[dim]
    return replace(one, value=value, scale=scale, plates={d: s for d, s in one.plates.items() if d not in dims})


def _size(variables: Iterable[Variable]) -> int:
    size = 1
    for variable in variables:
        size *= variable.size
    return size


def _check_size(terms: Sequence[Potential], variables: set[Variable], named: Mapping[int, str]) -> None:
    shape = torch.broadcast_shapes(*(one.value.shape[len(one.variables) :] for one in terms))
    size = _size(variables) * shape.numel()
    if size > LARGEST_TABLE:
        raise too_large(sorted(variables), shape, size, named)


def too_large(variables: Sequence[Variable], shape: torch.Size, size: int, named: Mapping[int, str]) -> DensityError:
    """The error for a table of `size` numbers."""
    many = " × ".join(f"{v.size} values of {v.site!r}" for v in variables)
    inside = "".join(
        f" × {length} elements of {named.get(dim, f'dimension {dim}')}"
        for dim, length in zip(range(-len(shape), 0), shape, strict=True)
        if length != 1
    )
    return DensityError(
        f"summing out the discrete sites needs a table of {size:,} numbers, {many}{inside}; at most {LARGEST_TABLE:,} are "
        "allowed. Sites that depend on one another through many others need large tables: let fewer sites depend on each "
        "other, put independent ones into a plate, write a loop in time as su.scan or with su.markov, or give sites fewer "
        "values."
    )


def _check_inside(one: Potential, named: Mapping[int, str]) -> None:
    """Check that a term is in all plates of the variables that it depends on."""
    for variable in one.variables:
        missing = variable.dims - one.dims
        if missing:
            where = ", ".join(named.get(dim, f"dimension {dim}") for dim in sorted(missing))
            raise DensityError(
                f"the terms of {_list(one.names)} depend on the discrete site {variable.site!r}, which is in {where}, "
                "and are not in it themselves: they depend on the values in all elements of the plate together, which "
                "cannot be summed "
                "out one by one. Put them into the plate, or move the discrete site out of it."
            )


def _entangled(one: Potential, dims: frozenset[int], named: Mapping[int, str]) -> DensityError:
    several = "; ".join(
        f"{v.site!r} in {', '.join(named.get(dim, f'dimension {dim}') for dim in sorted(v.dims)) or 'no plate'}"
        for v in one.variables
    )
    where = ", ".join(named.get(dim, f"dimension {dim}") for dim in sorted(dims))
    return DensityError(
        f"the discrete sites {several} cannot be summed out: {_list(one.names)} in {where} let every element of one plate "
        "depend on every element of another, which takes time exponential in their sizes. Let them depend on a site "
        "in both plates, or write one of the plates as a few sites of different names."
    )


def _common_scale(terms: Sequence[Potential]) -> Tensor | float:
    """The scale that all terms of a sum have."""
    first = terms[0].scale
    for one in terms[1:]:
        if one.scale is not first and not _equal(one.scale, first):
            names = _list(tuple(dict.fromkeys(name for each in terms for name in each.names)))
            raise DensityError(
                f"the sites {names} are summed together, and `scale` multiplies their log densities by different factors: the "
                "factor of the sum is not defined. Put all of them, the discrete sites as well, into the `scale`."
            )
    return first


def _equal(one: Tensor | float, other: Tensor | float) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        first, second = torch.as_tensor(one), torch.as_tensor(other)
        return first.shape == second.shape and bool((first == second).all())
    return one == other


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))

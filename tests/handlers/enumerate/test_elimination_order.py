"""The order in which variables are summed out: tables beside those of opt_einsum's paths, on random products."""

from __future__ import annotations

import random

import pytest
import torch

from sursum.handlers.enumerate.elimination import eliminate, log_sum
from sursum.handlers.enumerate.potentials import Potential, Variable

NAMES = "abcdefgh"


def product(seed):
    """The names of the variables of each factor, and how many values each variable has."""
    generator = random.Random(seed)
    names = NAMES[: generator.randint(3, 8)]
    sizes = {name: generator.randint(2, 4) for name in names}
    count = generator.randint(len(names) - 1, 8)
    widths = [min(len(names), generator.choice([1, 2, 2, 2, 3])) for _ in range(count)]
    factors = list(dict.fromkeys(tuple(sorted(generator.sample(names, width))) for width in widths))
    return factors, {name: sizes[name] for factor in factors for name in factor}


def largest_table(factors, sizes):
    """The most numbers of a table that is summed here."""
    variables = {name: Variable(name, name, size, frozenset(), -1 - NAMES.index(name)) for name, size in sizes.items()}
    terms = [Potential(torch.zeros([sizes[n] for n in names]), tuple(variables[n] for n in names)) for names in factors]
    found = [1]

    def reduce(table, summed):
        found.append(table.numel())
        return log_sum(table, summed)

    assert not any(one.variables for one in eliminate(terms, reduce=reduce))
    return max(found)


def largest_of_path(path, factors, sizes):
    """The most numbers of a product of two factors along a path of opt_einsum."""
    left, largest = [set(names) for names in factors], 1
    for step in path:
        both = set().union(*(left.pop(k) for k in sorted(step, reverse=True)))
        largest = max(largest, torch.Size(sizes[name] for name in both).numel())
        left.append({name for name in both if any(name in other for other in left)})
    return largest


@pytest.mark.parametrize(("how", "count"), [("greedy", 80), ("optimal", 40)])
def test_tables_are_no_larger_than_opt_einsums(how, count):
    """At most three products have a larger one, by half at most; all others have the same or a smaller one."""
    opt_einsum = pytest.importorskip("opt_einsum")
    ratios = []
    for seed in range(count):
        factors, sizes = product(seed)
        equation = f"{','.join(map(''.join, factors))}->"
        shapes = [tuple(sizes[name] for name in names) for names in factors]
        path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=how)
        ratios.append(largest_table(factors, sizes) / largest_of_path(path, factors, sizes))
    assert sum(ratio > 1 for ratio in ratios) <= 3
    assert max(ratios) <= 1.5
    assert sum(ratio < 1 for ratio in ratios) > 0.15 * count

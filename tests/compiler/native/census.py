"""A census of ATen operators: which ones the densities of what people write consist of, and how many the C engine knows.

Run it with ``python -m tests.compiler.native.census``.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.compiler.native.densities import CONSTRAINTS, DISTRIBUTIONS, NETWORKS, constrained, latent, network, observed

import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.check.points import points_of
from sursum.compiler.graph.graph import Graph
from sursum.compiler.native.lower import lowering
from sursum.compiler.native.unsupported import UnsupportedOperator
from sursum.compiler.passes import optimise
from sursum.density.log_density import LogDensity

Make = Callable[[], Callable[[], Any]]


def continuous(name: str) -> bool:
    """Whether a distribution can be that of an unknown."""
    count, make, _ = DISTRIBUTIONS[name]
    example = make(dist.Normal(0.0, 1.0).mean.new_zeros(count).double())
    return not example.support.is_discrete and not isinstance(example, dist.Delta)


def programs() -> dict[str, Make]:
    """Every distribution, observed and as an unknown; every constraint; every network."""
    found: dict[str, Make] = {}
    for name, (_, _, value) in DISTRIBUTIONS.items():
        if value is not None:
            found[f"{name}, observed"] = partial(observed, name)
        if continuous(name):
            found[f"{name}, unknown"] = partial(latent, name)
    found |= {f"support {name}": partial(constrained, name) for name in CONSTRAINTS}
    return found | {f"network {name}": partial(network, name) for name in NETWORKS}


def graph(program: Callable[[], Any]) -> Graph:
    """Value and gradient of a program, as they are compiled."""
    density = LogDensity(program, (), {})
    return optimise(capture(density, points_of(density), gradient=True))


@dataclass
class Census:
    """How often each operator occurs, how often without C, and in which programs then."""

    found: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    where: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def share(self) -> float:
        """Of all occurrences, those that the native engine lowers."""
        return 1 - self.missing.total() / self.found.total()

    def add(self, name: str, seen: Graph) -> None:
        """Counts the operators of one density."""
        for node in seen.nodes:
            operator = str(node.op)
            self.found[operator] += 1
            try:
                lowering(node)
            except UnsupportedOperator:
                self.missing[operator] += 1
                self.where[operator].append(name)


def count() -> Census:
    """The census of all programs."""
    census = Census()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in programs().items():
            census.add(name, graph(make()))
    return census


def main() -> None:
    """Prints the census as a table."""
    census = count()
    total = census.found.total()
    print(f"{len(programs())} densities, {len(census.found)} distinct operators, {total} occurrences")
    print(f"lowered to C: {len(census.found) - len(census.missing)} operators, {100 * census.share:.2f} % of occurrences\n")
    print("| operator | occurrences | C |\n|---|---:|---|")
    for operator, times in census.found.most_common():
        left = f"no: {', '.join(sorted(set(census.where[operator])))}" if operator in census.missing else "yes"
        print(f"| {operator} | {times} | {left} |")


if __name__ == "__main__":
    main()

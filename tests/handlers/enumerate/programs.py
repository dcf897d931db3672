"""Random programs with discrete sites, and their exact log density by a sum over all assignments."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import in_double

SIZES = {"a": 2, "b": 3}
DIMS = {"a": -1, "b": -2}


@dataclass(frozen=True)
class Site:
    name: str
    size: int
    plates: tuple[str, ...]
    parents: tuple[str, ...]
    family: str


class RandomProgram:
    """A program drawn from a seed: discrete sites in plates, some of which depend on others, and observations of them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.sites: list[Site] = []
        for number in range(rng.integers(1, 5)):
            plates = tuple(p for p in "ab" if rng.random() < 0.35)
            able = [site for site in self.sites if set(site.plates) <= set(plates)]
            parents = tuple(site.name for site in able if rng.random() < 0.6)
            family = str(rng.choice(["categorical", "bernoulli", "one_hot", "binomial"]))
            size = 2 if family == "bernoulli" else int(rng.integers(2, 4))
            self.sites.append(Site(f"z{number}", size, plates, parents, family))
        self.observed: list[Site] = []
        for number in range(rng.integers(1, 4)):
            plates = tuple(p for p in "ab" if rng.random() < 0.5)
            able = [site for site in self.sites if set(site.plates) <= set(plates)]
            parents = tuple(site.name for site in able if rng.random() < 0.7)
            self.observed.append(Site(f"y{number}", 0, plates, parents, str(rng.choice(["normal", "masked", "factor"]))))
        self.tables = {
            site.name: torch.as_tensor(rng.normal(size=(*(self[p].size for p in site.parents), max(site.size, 1))))
            for site in (*self.sites, *self.observed)
        }
        self.data = {site.name: torch.as_tensor(rng.normal(size=self.shape(site))) for site in self.observed}
        self.masks = {site.name: torch.as_tensor(rng.random(self.shape(site)) < 0.5) for site in self.observed}

    def __getitem__(self, name: str) -> Site:
        return next(site for site in self.sites if site.name == name)

    def shape(self, site: Site) -> tuple[int, ...]:
        """The batch shape of a site."""
        if "b" in site.plates:
            return (SIZES["b"], SIZES["a"] if "a" in site.plates else 1)
        return tuple(SIZES[p] for p in site.plates)

    def __call__(self) -> None:
        w = su.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        values: dict[str, torch.Tensor] = {}

        def looked_up(site: Site) -> torch.Tensor:
            table = self.tables[site.name] * w[len(site.name + site.family) % 3]
            return su.ops.vindex(table)[(*(values[p] for p in site.parents), slice(None))] if site.parents else table

        for site in self.sites:
            with self.inside(site):
                drawn = su.sample(site.name, self.prior(site, looked_up(site)))
                values[site.name] = drawn.argmax(-1) if site.family == "one_hot" else drawn.long()
        for site in self.observed:
            loc = looked_up(site)[..., 0]
            with self.inside(site):
                if site.family == "factor":
                    su.factor(
                        site.name, (loc * self.data[site.name]).expand(torch.broadcast_shapes(loc.shape, self.shape(site)))
                    )
                elif site.family == "masked":
                    with su.mask(mask=self.masks[site.name]):
                        su.sample(site.name, dist.Normal(loc, 1.0), obs=self.data[site.name])
                else:
                    su.sample(site.name, dist.Normal(loc, 1.0), obs=self.data[site.name])

    @staticmethod
    def prior(site: Site, logits: torch.Tensor) -> dist.Distribution:
        if site.family == "bernoulli":
            return dist.Bernoulli(logits=logits[..., 0])
        if site.family == "one_hot":
            return dist.OneHotCategorical(logits=logits)
        if site.family == "binomial":
            return dist.Binomial(site.size - 1, logits=logits[..., 0])
        return dist.Categorical(logits=logits)

    def inside(self, site: Site):
        """The plates of a site, entered."""
        from contextlib import ExitStack

        stack = ExitStack()
        for name in reversed(site.plates):
            stack.enter_context(su.plate(name, SIZES[name], dim=DIMS[name]))
        return stack

    def assignments(self) -> int:
        """How many there are."""
        count = 1
        for site in self.sites:
            count *= site.size ** int(np.prod(self.shape(site), dtype=int))
        return count

    @in_double()
    def exact(self, w: torch.Tensor) -> tuple[torch.Tensor, list[tuple[dict[str, torch.Tensor], torch.Tensor]]]:
        """log p(w, y), and the log joint density of every assignment."""
        spaces = []
        for site in self.sites:
            elements = int(np.prod(self.shape(site), dtype=int))
            spaces.append(list(itertools.product(range(site.size), repeat=elements)))
        found = []
        for choice in itertools.product(*spaces):
            given = {"w": w}
            for site, index in zip(self.sites, choice, strict=True):
                value = torch.tensor(index).reshape(self.shape(site))
                if site.family == "one_hot":
                    value = torch.nn.functional.one_hot(value, site.size)
                given[site.name] = value if site.family == "categorical" else value.double()
            with su.trace() as t:
                su.condition(self, data=given)()
            found.append((given, t.trace.log_prob_sum()))
        return torch.logsumexp(torch.stack([term for _, term in found]), 0), found

    def entangled(self) -> bool:
        """Whether two sites, each in a plate of its own, depend on one another through something in both plates."""
        groups: list[set[str]] = []
        for site in (*self.sites, *self.observed):
            if set(site.plates) != {"a", "b"}:
                continue
            joint = {*site.parents, *([site.name] if site.size else [])}
            for group in [group for group in groups if any(set(self[n].plates) == {"a", "b"} for n in group & joint)]:
                groups.remove(group)
                joint |= group
            groups.append(joint)
        return any({("a",), ("b",)} <= {self[name].plates for name in group} for group in groups)

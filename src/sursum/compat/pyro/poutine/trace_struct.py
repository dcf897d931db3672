"""`Trace` with Pyro's surface: nodes that are dictionaries, and their log densities in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from sursum.compat.pyro.poutine.nodes import Node, node_of, node_of_plate, plates_of
from sursum.errors import SiteError
from sursum.handlers import Factor, Sample, Site

Filter = Callable[[str, Any], bool]


def _all(name: str, node: Any) -> bool:
    return True


class Trace:
    """The record of an execution, by site name: ``trace.nodes["x"]["value"]``, ``trace.log_prob_sum()``.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> model = lambda: pyro.sample("z", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0)) + 1
        >>> trace = pyro.poutine.trace(model).get_trace()
        >>> list(trace.nodes), trace.nodes["_RETURN"]["value"], round(float(trace.log_prob_sum()), 4)
        (['_INPUT', 'z', '_RETURN'], tensor(1.), -0.9189)
    """

    def __init__(self, graph_type: str = "flat") -> None:
        if graph_type not in ("flat", "dense"):
            raise SiteError(f"a trace has the graph type 'flat' or 'dense', not {graph_type!r}.")
        self.graph_type = graph_type
        self.nodes: OrderedDict[str, Any] = OrderedDict()
        self._edges: dict[str, dict[str, None]] = {}
        self._back: dict[str, dict[str, None]] = {}

    # The graph.

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def edges(self) -> list[tuple[str, str]]:
        return [(one, other) for one, others in self._edges.items() for other in others]

    def add_node(self, site_name: str, **kwargs: Any) -> None:
        """Add a site with these keys.

        Raises:
            SiteError: there is a different one of that name.
        """
        known = self.nodes.get(site_name)
        if known is not None and (kwargs.get("type") != known.get("type") or kwargs.get("type") == "sample"):
            raise SiteError(f"two sites are named {site_name!r}. Give each site of an execution a different name.")
        node = Node(kwargs)
        self.nodes[site_name] = node
        self._edges.setdefault(site_name, {})
        self._back.setdefault(site_name, {})

    def add_site(self, site: Site) -> None:
        """Add a site of sursum's, after the plates that it is in."""
        for frame in plates_of(site):
            if frame.name not in self.nodes:
                self._put(frame.name, node_of_plate(frame))
        self._put(site.name, node_of(site))

    def _put(self, name: str, node: Node) -> None:
        self.nodes[name] = node
        self._edges.setdefault(name, {})
        self._back.setdefault(name, {})

    def add_edge(self, site1: str, site2: str) -> None:
        for site in (site1, site2):
            if site not in self.nodes:
                self.add_node(site)
        self._edges.setdefault(site1, {})[site2] = None
        self._back.setdefault(site2, {})[site1] = None

    def remove_node(self, site_name: str) -> None:
        self.nodes.pop(site_name)
        for other in self._back.pop(site_name, {}):
            self._edges[other].pop(site_name)
        for other in self._edges.pop(site_name, {}):
            self._back[other].pop(site_name)

    def predecessors(self, site_name: str) -> set[str]:
        return set(self._back[site_name])

    def successors(self, site_name: str) -> set[str]:
        return set(self._edges[site_name])

    def topological_sort(self, reverse: bool = False) -> list[str]:
        """The names, each after those that its edges come from."""
        done: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in done:
                for other in self._back.get(name, {}):
                    visit(other)
                done[name] = None

        for name in self.nodes:
            visit(name)
        order = list(done)
        return order[::-1] if reverse else order

    def copy(self) -> Trace:
        """A copy whose nodes may be changed."""
        made = Trace(self.graph_type)
        for name, node in self.nodes.items():
            copied = Node(node)
            copied.site = getattr(node, "site", None)
            made.nodes[name] = copied
        made._edges = {name: dict(found) for name, found in self._edges.items()}
        made._back = {name: dict(found) for name, found in self._back.items()}
        return made

    # Views.

    def _names(self, keep: Callable[[Any], bool]) -> list[str]:
        return [name for name, node in self.nodes.items() if keep(node)]

    @property
    def stochastic_nodes(self) -> list[str]:
        return self._names(lambda node: node["type"] == "sample" and not node["is_observed"])

    @property
    def observation_nodes(self) -> list[str]:
        return self._names(lambda node: node["type"] == "sample" and node["is_observed"])

    @property
    def param_nodes(self) -> list[str]:
        return self._names(lambda node: node["type"] == "param")

    @property
    def reparameterized_nodes(self) -> list[str]:
        return [name for name in self.stochastic_nodes if getattr(self.nodes[name]["fn"], "has_rsample", False)]

    @property
    def nonreparam_stochastic_nodes(self) -> list[str]:
        return [name for name in self.stochastic_nodes if not getattr(self.nodes[name]["fn"], "has_rsample", False)]

    def iter_stochastic_nodes(self) -> Iterator[tuple[str, Any]]:
        yield from ((name, self.nodes[name]) for name in self.stochastic_nodes)

    # Densities.

    def compute_log_prob(self, site_filter: Filter = _all) -> None:
        """Write ``log_prob``, ``unscaled_log_prob`` and ``log_prob_sum`` into the scored nodes."""
        for name, node in self.nodes.items():
            if node["type"] == "sample" and site_filter(name, node) and "log_prob" not in node:
                bare = _score(node, scaled=False)
                term = _score(node, scaled=True)
                node |= {"log_prob": term, "unscaled_log_prob": bare, "log_prob_sum": term.sum()}

    def log_prob_sum(self, site_filter: Filter = _all) -> Tensor:
        """The joint log density of the nodes that the filter keeps."""
        total: Any = 0.0
        for name, node in self.nodes.items():
            if node["type"] == "sample" and site_filter(name, node):
                if "log_prob_sum" not in node:
                    node["log_prob_sum"] = _score(node, scaled=True).sum()
                total = total + node["log_prob_sum"]
        return total  # type: ignore[no-any-return]

    def compute_score_parts(self) -> None:
        """Like `compute_log_prob`; here there is nothing else to compute."""
        self.compute_log_prob()

    def detach_(self) -> None:
        """Detach every value, in place."""
        for node in self.nodes.values():
            if node["type"] == "sample" and isinstance(node["value"], Tensor):
                node["value"] = node["value"].detach()
                node.site = None

    def format_shapes(self, title: str = "Trace Shapes:", last_site: str | None = None) -> str:
        """A table of shapes: batch and event of each distribution, of each value, and of the log density if computed."""
        rows = [title]
        for name, node in self.nodes.items():
            if node["type"] in ("sample", "param"):
                fn, value = node.get("fn"), node["value"]
                own = tuple(value.shape) if isinstance(value, Tensor) else ()
                if isinstance(fn, Distribution):
                    rows.append(f"{name:>20} dist  {tuple(fn.batch_shape)} | {tuple(fn.event_shape)}")
                rows.append(f"{name:>20} value {own}")
                if "log_prob" in node:
                    rows.append(f"{name:>20} log_prob {tuple(node['log_prob'].shape)}")
            if name == last_site:
                break
        return "\n".join(rows)

    def symbolize_dims(self, plate_to_symbol: Any = None) -> None:
        """Nothing: dimensions have no symbols here."""

    def pack_tensors(self, plate_to_symbol: Any = None) -> None:
        """Nothing: tensors are not packed here."""


def _score(node: Any, scaled: bool) -> Tensor:
    site = getattr(node, "site", None)
    if site is None or not isinstance(site, (Sample, Factor)):
        site = Sample(name=node["name"], fn=node["fn"], value=node["value"], scale=node["scale"], mask=node["mask"])
    if isinstance(site, Sample):
        site = site.but(fn=node["fn"], value=node["value"], scale=node["scale"], mask=node["mask"])
        site = site.but(is_observed=node.get("is_observed", False))
    return (site if scaled else site.but(scale=1.0)).log_prob()

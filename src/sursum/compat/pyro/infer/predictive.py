"""`Predictive`, with Pyro's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

import sursum as su
from sursum.compat.pyro import poutine
from sursum.compat.pyro.running import Program, as_program
from sursum.errors import PredictionError

RETURN = "_RETURN"


class Predictive(nn.Module):
    """Draws of what a model predicts: from its prior, at draws of its posterior, or at draws of a guide.

    Args:
        model: the program.
        posterior_samples: draws by site name, along a leading dimension.
        guide: a program to draw the latent sites from, instead of `posterior_samples`.
        num_samples: how many; with posterior samples there is one each.
        return_sites: the sites to return, ``"_RETURN"`` for what the model returns; by default those that were not given.
        parallel: has no use: draws are evaluated together wherever the program allows it.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> model = lambda: pyro.sample("y", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        >>> {name: value.shape for name, value in Predictive(model, {"mu": torch.zeros(3)})().items()}
        {'y': torch.Size([3])}
    """

    def __init__(
        self,
        model: Callable[..., Any],
        posterior_samples: Mapping[str, Tensor] | None = None,
        guide: Callable[..., Any] | None = None,
        num_samples: int | None = None,
        return_sites: Sequence[str] = (),
        parallel: bool = False,
    ) -> None:
        super().__init__()
        if posterior_samples and guide is not None:
            raise PredictionError("give `posterior_samples` or `guide`, not both: draws come from the one or the other.")
        if not posterior_samples and num_samples is None:
            raise PredictionError("without posterior samples `num_samples` says how many draws there are: give it.")
        self.model, self.guide = model, guide
        self.posterior_samples = dict(posterior_samples or {})
        sizes = {len(value) for value in self.posterior_samples.values()}
        if len(sizes) > 1:
            raise PredictionError(
                f"the posterior samples are of different numbers of draws, {sorted(sizes)}: give as many of each."
            )
        self.num_samples = num_samples if not sizes else sizes.pop()
        self.return_sites, self.parallel = return_sites, parallel
        self._batches: dict[str, int] = {}

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw, for the program with these arguments."""
        given, kept = self.posterior_samples, {}
        if self.guide is not None:
            given = self._from_guide(args, kwargs)
            kept = given
        wanted = self._choose(given, args, kwargs)
        drawn = [name for name in wanted if name not in kept]
        found = kept | _predict(_with_return(self.model), given, self.num_samples, drawn, args, kwargs)
        return {name: _pad(found[name], self._batches.get(name)) for name in wanted}

    def call(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Another name of `forward`."""
        return self.forward(*args, **kwargs)

    def get_samples(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Another name of `forward`."""
        return self.forward(*args, **kwargs)

    def _from_guide(self, args: Any, kwargs: Any) -> dict[str, Tensor]:
        """Draws of the guide's sites."""
        assert self.guide is not None
        trace = poutine.trace(self.guide).get_trace(*args, **kwargs)
        names = [n for n, node in trace.iter_stochastic_nodes() if not {"is_auxiliary", "is_subsample"} & node["infer"].keys()]
        return _predict(as_program(self.guide), {}, self.num_samples, names, args, kwargs)

    def _choose(self, given: Mapping[str, Tensor], args: Any, kwargs: Any) -> list[str]:
        with su.block(), torch.no_grad():
            trace = poutine.trace(_at_first(self.model, given)).get_trace(*args, **kwargs)
        nesting = _nesting(trace)
        self._batches = {
            name: nesting - len(node["fn"].batch_shape)
            for name, node in trace.nodes.items()
            if node["type"] == "sample" and not poutine.util.site_is_subsample(node)
        }
        if self.return_sites:
            return list(self.return_sites)
        # What a guide drew is returned as well.
        held = set(given) if self.guide is None else set()
        nodes = [(name, node) for name, node in trace.nodes.items() if node["type"] == "sample"]
        return [
            name
            for name, node in nodes
            if name not in held and not poutine.util.site_is_subsample(node) and not poutine.util.site_is_factor(node)
        ]

    def get_vectorized_trace(self, *args: Any, **kwargs: Any) -> Any:
        """A trace of the model with all draws at once, in a plate outside all others."""
        given = self._from_guide(args, kwargs) if self.guide is not None else self.posterior_samples
        with su.block():
            first = poutine.trace(_at_first(self.model, given)).get_trace(*args, **kwargs)
        nesting, count = _nesting(first), self.num_samples
        assert count is not None

        def batched(*args: Any, **kwargs: Any) -> Any:
            with su.plate("_num_predictive_samples", count, dim=-nesting - 1):
                return self.model(*args, **kwargs)

        wide = {}
        for name, value in given.items():
            events = len(first.nodes[name]["fn"].event_shape) if name in first else 0
            rest = value.shape[1:]
            batch = len(rest) - events
            wide[name] = value.reshape((len(value),) + (1,) * (nesting - batch) + rest)
        return poutine.trace(su.condition(batched, data=wide)).get_trace(*args, **kwargs)


def _nesting(trace: Any) -> int:
    """How many dimensions the plates of a trace take."""
    frames = (frame for node in trace.nodes.values() for frame in node.get("cond_indep_stack", ()))
    deepest: int = max([0, *(-frame.dim for frame in frames if frame.dim is not None)])
    return deepest


def _pad(value: Tensor, missing: int | None) -> Tensor:
    """Draws with dimensions of size 1 for the plates that the site is not in, as Pyro gives them."""
    return value if not missing or missing < 0 else value.reshape(len(value), *(1,) * missing, *value.shape[1:])


def _at_first(model: Callable[..., Any], given: Mapping[str, Tensor]) -> Any:
    return poutine.condition(model, data={name: value[0] for name, value in given.items()})


def _with_return(model: Callable[..., Any]) -> Callable[..., Any]:
    """A program that records what it returns."""

    @wraps(model.forward if isinstance(model, nn.Module) else model)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = model(*args, **kwargs)
        if isinstance(result, (Tensor, int, float)):
            su.deterministic(RETURN, torch.as_tensor(result))
        return result

    return Program(recorded)


def _predict(
    program: Callable[..., Any],
    given: Mapping[str, Tensor],
    count: int | None,
    wanted: Sequence[str],
    args: Any,
    kwargs: Any,
) -> dict[str, Tensor]:
    if not wanted:
        return {}
    draws = dict(given) or None
    dtype = torch.get_default_dtype()
    predictive = su.infer.Predictive(program, draws, num_samples=None if draws else count, sites=list(wanted), progress=False)
    found = predictive(*args, **kwargs)
    return {name: found[name].to(dtype) if found[name].is_floating_point() else found[name] for name in wanted}

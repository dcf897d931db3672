"""Summaries of draws, and a model's potential energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

import sursum as su
from sursum.compat.pyro import poutine
from sursum.compat.pyro.ops import stats
from sursum.compat.pyro.running import as_program


def summary(samples: Mapping[str, Tensor], prob: float = 0.9, group_by_chain: bool = True) -> dict[str, dict[str, Tensor]]:
    """Mean, standard deviation, median, interval, effective sample size and R-hat of every site."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in samples.items():
        chains = value if group_by_chain else value.unsqueeze(0)
        flat = chains.flatten(0, 1)
        low, high = stats.hpdi(flat, prob)
        found[name] = {
            "mean": flat.mean(0),
            "std": flat.std(0),
            "median": flat.median(0).values,
            f"{50 * (1 - prob):.1f}%": low,
            f"{50 * (1 + prob):.1f}%": high,
            "n_eff": stats.effective_sample_size(chains, chain_dim=0, sample_dim=1),
            "r_hat": stats.split_gelman_rubin(chains, chain_dim=0, sample_dim=1),
        }
    return found


def diagnostics_of(samples: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Effective sample size and R-hat of draws (chain, draw, …)."""
    return {
        name: {
            "n_eff": stats.effective_sample_size(value, chain_dim=0, sample_dim=1),
            "r_hat": stats.split_gelman_rubin(value, chain_dim=0, sample_dim=1),
        }
        for name, value in samples.items()
    }


def print_table(found: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Print a summary, one line for each element of a site."""
    if not found:
        return
    columns = list(next(iter(found.values())))
    lines: list[tuple[str, list[float]]] = []
    for name, row in found.items():
        shape = next(iter(row.values())).shape
        for index in (
            torch.cartesian_prod(*(torch.arange(n) for n in shape)).reshape(-1, len(shape)).tolist() if shape else [[]]
        ):
            label = f"{name}[{','.join(map(str, index))}]" if index else name
            lines.append((label, [float(value[tuple(index)]) for value in row.values()]))
    width = max(len(label) for label, _ in lines) + 2
    print(" " * width + "".join(f"{column:>10}" for column in columns))
    for label, values in lines:
        print(f"{label:>{width}}" + "".join(f"{value:10.2f}" for value in values))


def initialize_model(
    model: Callable[..., Any],
    model_args: Sequence[Any] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    transforms: Mapping[str, Any] | None = None,
    max_plate_nesting: int | None = None,
    jit_compile: bool = False,
    jit_options: Mapping[str, Any] | None = None,
    skip_jit_warnings: bool = False,
    num_chains: int = 1,
    init_strategy: Callable[..., Any] | None = None,
    initial_params: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Callable[[Mapping[str, Tensor]], Tensor], dict[str, Any], Any]:
    """A model's initial unconstrained values, its potential energy at such values, its transforms, and a trace of it.

    Returns:
        Values by site name (of several chains along a leading dimension); a function from values to −log p, with the
        log-Jacobians; the transforms from supports to Rⁿ, by site name; the trace.
    """
    program = as_program(model)
    trace = poutine.trace(program).get_trace(*model_args, **(model_kwargs or {}))
    sites = {n: node for n, node in trace.iter_stochastic_nodes() if not poutine.util.site_is_subsample(node)}
    onto = {name: biject_to(node["fn"].support) for name, node in sites.items()}

    def potential(params: Mapping[str, Tensor]) -> Tensor:
        values = {name: onto[name](params[name]) for name in onto}
        with su.block():  # a sampler runs this in a program of its own
            held = poutine.trace(su.substitute(program, data=values)).get_trace(*model_args, **(model_kwargs or {}))
        total = held.log_prob_sum()
        for name, value in values.items():
            total = total + onto[name].log_abs_det_jacobian(params[name], value).sum()
        return -total

    def start() -> dict[str, Tensor]:
        if init_strategy is not None:
            return {name: onto[name].inv(torch.as_tensor(init_strategy(node.site))).detach() for name, node in sites.items()}
        return {
            name: torch.empty_like(onto[name].inv(node["value"])).uniform_(-2.0, 2.0).detach() for name, node in sites.items()
        }

    if initial_params is None:
        each = [start() for _ in range(num_chains)]
        initial_params = each[0] if num_chains == 1 else {name: torch.stack([one[name] for one in each]) for name in onto}
    return dict(initial_params), potential, {name: one.inv for name, one in onto.items()}, trace

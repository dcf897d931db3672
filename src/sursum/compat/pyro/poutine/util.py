"""Predicates of sites, and small tools of handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sursum as su


class NonlocalExit(Exception):
    """Raised by `escape` to leave a program at a site."""

    def __init__(self, site: Any, *args: Any) -> None:
        super().__init__(site, *args)
        self.site = site

    def reset_stack(self) -> None:
        """Nothing: the stack of handlers unwinds by itself."""


def site_is_subsample(site: Any) -> bool:
    """Whether a node has the indices of a plate."""
    infer = site.get("infer") or {}
    return site["type"] == "sample" and bool(infer.get("is_subsample"))


def site_is_factor(site: Any) -> bool:
    """Whether a node is a factor."""
    return type(site.get("fn")).__name__ == "Unit" or site["type"] == "factor"


def site_is_deterministic(site: Any) -> bool:
    """Whether a node is deterministic."""
    return site["type"] == "deterministic" or bool((site.get("infer") or {}).get("_deterministic"))


def prune_subsample_sites(trace: Any) -> Any:
    """A copy of a trace without the indices of plates."""
    made = trace.copy()
    for name, node in list(made.nodes.items()):
        if site_is_subsample(node):
            made.remove_node(name)
    return made


def enum_extend(trace: Any, msg: Any, num_samples: int | None = None) -> list[Any]:
    """A copy of the trace for each value of the support of a site."""
    if num_samples is None:
        num_samples = -1
    values = msg["fn"].enumerate_support()
    found = []
    for i, value in enumerate(values):
        if num_samples >= 0 and i >= num_samples:
            break
        made = trace.copy()
        made.add_node(msg["name"], **{**msg, "value": value})
        made.nodes[msg["name"]].site = None
        found.append(made)
    return found


def discrete_escape(trace: Any, msg: Any) -> bool:
    """Whether a site is latent, discrete with a finite support, and not in the trace yet."""
    return (
        msg["type"] == "sample"
        and not msg["is_observed"]
        and msg["name"] not in trace
        and bool(getattr(msg["fn"], "has_enumerate_support", False))
    )


def all_escape(trace: Any, msg: Any) -> bool:
    """Whether a site is latent and not in the trace yet."""
    return msg["type"] == "sample" and not msg["is_observed"] and msg["name"] not in trace


def enable_validation(is_validate: bool) -> None:
    """Switch the checks at sites on or off."""
    su.enable_validation(is_validate)


def is_validation_enabled() -> bool:
    """Whether sites are checked."""
    return su.is_validation_enabled()


def unwrap(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The program that handlers are wrapped around."""
    while isinstance(fn, su.handlers.Messenger) and fn.fn is not None:
        fn = fn.fn
    return fn

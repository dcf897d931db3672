"""Pyro's settings. Checks are sursum's own switch; a setting that means nothing here is accepted as long as it asks for what
happens anyway, and is an error otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sursum as su
from sursum.errors import OptionError

_CHECKS = ("validate_distributions_pyro", "validate_distributions_torch", "validate_infer", "validate_poutine")
_FIXED = {
    "cholesky_relative_jitter": "a matrix that is not positive definite is an error here, and is not changed",
    "binomial_approx_log_prob_tol": "densities are exact here",
    "binomial_approx_sample_thresh": "draws are exact here",
    "trace_check_dims": "shapes are always checked here",
}
_LOCAL = {"module_local_params": False, "capture_steps": True}


def get(alias: str | None = None) -> Any:
    """One setting, or all.

    Example:
        >>> get("validate_infer")
        True
    """
    every = dict.fromkeys(_CHECKS, su.is_validation_enabled()) | dict(_LOCAL)
    if alias is None:
        return every
    if alias not in every:
        raise OptionError(f"there is no setting {alias!r}: there are {', '.join(sorted(every))}.")
    return every[alias]


def capturing() -> bool:
    """Whether `SVI` captures its steps: ``settings.set(capture_steps=False)`` runs the programs at each, as Pyro does."""
    return _LOCAL["capture_steps"]


def set(**kwargs: Any) -> None:
    """Set settings by name.

    Raises:
        OptionError: a setting that does not exist, or that nothing here can follow.
    """
    for name, value in kwargs.items():
        if name in _CHECKS:
            su.enable_validation(bool(value))
        elif name in _LOCAL:
            _LOCAL[name] = bool(value)
        elif name in _FIXED:
            raise OptionError(f"the setting {name!r} does not exist here: {_FIXED[name]}.")
        else:
            raise OptionError(f"there is no setting {name!r}: there are {', '.join(sorted(get()))}.")


@contextmanager
def context(**kwargs: Any) -> Iterator[None]:
    """Settings inside a `with` block."""
    before = {name: get(name) for name in kwargs if name in get()}
    set(**kwargs)
    try:
        yield
    finally:
        set(**before)


__all__ = ["context", "get", "set"]

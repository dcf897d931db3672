"""Parameters of a test of which the fast suite takes a few, and the slow one the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """All values; those that are not in `fast` wait for `make test-slow`. A tuple is several parameters."""
    values = list(values)
    unknown = [value for value in fast if value not in values]
    assert not unknown, f"there are no parameters {unknown}"

    def rest(value: Any) -> Any:
        return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)

    return [value if value in fast else rest(value) for value in values]

"""The groups of what `to_arviz` gives, an `InferenceData` or a `DataTree`."""

from __future__ import annotations

from typing import Any


def groups_of(data: Any) -> set[str]:
    names = data.groups() if callable(data.groups) else data.children
    return {str(name).lstrip("/") for name in names}

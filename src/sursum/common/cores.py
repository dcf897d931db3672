"""How many cores there are."""

from __future__ import annotations

import os


def available_cores() -> int:
    """How many cores this process may use, which are fewer than the machine's in a container or under `taskset`.

    Example:
        >>> available_cores() >= 1
        True
    """
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        return count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

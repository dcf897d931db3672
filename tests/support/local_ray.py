"""A local Ray cluster of two CPUs, which starts on a busy machine as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATIENT = {
    # Otherwise workers have a niceness of 15, and beside other tests do not get to import PyTorch.
    "RAY_worker_niceness": str(os.nice(0)),
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
}
TRIES = 5
"""Ray gives its node 30 seconds to start, which no setting changes."""


@contextmanager
def local_ray() -> Iterator[Any]:
    """The package, connected."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENT.items():
            patch.setenv(name, value)
        for left in reversed(range(TRIES)):
            try:
                ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                break
            except Exception:
                ray.shutdown()
                if not left:
                    raise
        try:
            yield ray
        finally:
            ray.shutdown()

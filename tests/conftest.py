"""What holds for every test: hypothesis tries the same examples, compiler passes are looked at, nothing is compiled before."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

os.environ.setdefault("SURSUM_VERIFY", "1")

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """No garbage is looked for meanwhile: ten thousand tests are made, and nearly all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish():
    """Thousands of tests, and what they have imported, stay to the end: no later collection of garbage goes through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def compiled_anew(request):
    """No test depends on what another has compiled; most look at compilations, and those marked `reuse` use what is kept."""
    # Imported here, by the processes that run tests: the one that hands them out needs no torch, and would keep them waiting.
    import torch

    from sursum.compiler.recent import RECENT

    RECENT.clear()
    # Importing torch's compiler, as a test may, switches these off for the whole process.
    torch.distributions.Distribution.set_default_validate_args(True)
    with pytest.MonkeyPatch.context() as patch:  # of its own, which a test that undoes its own leaves alone
        if request.node.get_closest_marker("reuse") is None:
            patch.setattr(RECENT, "find", lambda graph, names: None)
            patch.setattr(RECENT, "add", lambda graph, names, made, instead=None: None)
        yield

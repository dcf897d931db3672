"""The native engine lowers everything that these densities are made of."""

from __future__ import annotations

import pytest
from tests.compiler.native.census import count, programs


@pytest.mark.slow  # test_densities.py compiles each of them
def test_every_operator_is_lowered() -> None:
    census = count()
    assert len(programs()) > 150
    # Kinds as they are recorded: what torch decomposes, some ten of the kinds that these programs call, is not among them.
    assert len(census.found) >= 140
    assert not census.missing

"""The native engine lowers everything that these densities are made of."""

from __future__ import annotations

from tests.compiler.native.census import count, programs


def test_every_operator_is_lowered() -> None:
    census = count()
    assert len(programs()) > 150
    assert len(census.found) >= 150
    assert not census.missing

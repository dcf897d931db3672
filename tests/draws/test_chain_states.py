"""The states of chains beside their draws: whole, or none."""

from __future__ import annotations

from sursum.draws.chain_states import FOLDER, read_states, write_state


def test_states_are_whole_or_none(tmp_path):
    for k in range(2):
        write_state(tmp_path, k, bytes([k]) * 100)
    assert read_states(tmp_path, 2) == (bytes(100), b"\x01" * 100)
    assert read_states(tmp_path, 3) == ()
    (tmp_path / FOLDER / "1").write_bytes((tmp_path / FOLDER / "1").read_bytes()[:-1])
    assert read_states(tmp_path, 2) == ()

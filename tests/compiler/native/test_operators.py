"""The contract of lowerings: every entry of the operator table gives what torch gives, NaN and infinities included.

Where what torch gives depends on the width of its vectors, C gives what docs/native.md promises instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.compiler.native.called import Called
from tests.compiler.native.family import Family
from tests.compiler.native.operators import FAMILIES, PROMISED
from tests.compiler.native.reference import Outputs, Row, by_torch, different, graph_of, points, read, results, rows_of
from tests.support.capabilities import capabilities, own_capability
from tests.support.paths import ROOT

from sursum.compiler.native.lower import OPERATORS
from sursum.compiler.native.lower.table import names

#: What is written down here though it has no lowering: at NaN and at infinity a decomposition gives what torch gives as well.
DECOMPOSED = {
    name: rows[name]
    for rows in FAMILIES.values()
    for name in (
        *("aten.elu", "aten.silu", "aten.silu_backward", "aten.celu", "aten.glu", "aten.glu_backward", "aten.hardtanh"),
        *("aten.hardtanh_backward", "aten.hardsigmoid", "aten.hardswish", "aten.hardshrink", "aten.mse_loss"),
        *("aten.mse_loss_backward", "aten.smooth_l1_loss", "aten.huber_loss", "aten.huber_loss_backward"),
    )
    if name in rows
}

ROWS = [
    pytest.param(family, name, k, id=f"{name}-{k}")
    for family, rows in FAMILIES.items()
    for name, cases in rows.items()
    for k in range(len(cases))
]


class Families(dict[str, Family]):
    """Families, each built when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def __missing__(self, name: str) -> Family:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self[name] = Family(FAMILIES[name], self.directory)
        return found


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Families:
    return Families(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def promised() -> dict[Row, Outputs]:
    return by_torch(PROMISED)


@pytest.mark.parametrize(("family", "name", "k"), ROWS)
def test_row_equals_torch(families: Families, promised: dict[Row, Outputs], family: str, name: str, k: int) -> None:
    wanted = (promised if name in PROMISED else families[family].torch)[name, k]
    assert different(families[family].found[name, k], wanted) is None


@pytest.mark.parametrize("capability", [width for width in capabilities() if width != own_capability()])
def test_what_rows_are_held_to_does_not_depend_on_the_width_of_vectors(
    families: Families, promised: dict[Row, Outputs], capability: str, tmp_path: Path
) -> None:
    """If it fails, torch's answer is no reference in that row: write into `PROMISED` what C gives instead."""
    file = tmp_path / "reference.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.native.reference", str(file)],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability}, capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, capability), done.stderr
    said, wrong = read(file), {}
    for family in FAMILIES:
        for name, k in rows_of(FAMILIES[family]):
            if name not in PROMISED:
                wrong[f"{name}-{k}"] = different(said[name, k], families[family].torch[name, k])
    assert {row: difference for row, difference in wrong.items() if difference} == {}


@pytest.mark.parametrize(("name", "k"), [(name, k) for name in PROMISED for k in range(len(PROMISED[name]))])
def test_promises_are_torchs_formulas(families: Families, promised: dict[Row, Outputs], name: str, k: int) -> None:
    """Where x is a number other than 0; at NaN they say what docs/native.md says."""
    family = next(family for family in FAMILIES if name in FAMILIES[family])
    x, y = (np.stack([q[part].view(3, 4).numpy() for q in points(tame=False)]) for part in (slice(12), slice(12, 24)))
    (promise,), (torchs,) = promised[name, k], families[family].torch[name, k]
    usual = np.isfinite(x) & (x != 0)
    assert usual.mean() > 0.7
    assert different([promise[usual]], [torchs[usual]]) is None
    nan = np.isnan(x)
    assert nan.sum() > 50
    passed_on = name in ("aten.hardtanh_backward", "aten.hardshrink_backward", "aten.softshrink_backward")
    np.testing.assert_array_equal(promise[nan], y[nan] if passed_on else np.nan)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_use_their_operator(family: str) -> None:
    for name, cases in FAMILIES[family].items():
        graph, _ = graph_of(cases)
        found = any(name in names(node) for node in graph.nodes)
        assert found == (name in OPERATORS), name  # else it is decomposed


def test_rows_of_what_is_decomposed_use_it() -> None:
    q = points(tame=True)[0]
    for name in DECOMPOSED:
        with Called() as called:
            for case in DECOMPOSED[name]:
                results(case, q)
        assert name in called.names


def test_every_entry_has_a_row() -> None:
    # Two are not torch's: the contract of a recurrence is test_recurrence.py, and that of a user's C common/test_external.py.
    assert (
        set(OPERATORS) - {"sursum.recurrence", "sursum.external"}
        == {name for rows in FAMILIES.values() for name in rows} - DECOMPOSED.keys()
    )

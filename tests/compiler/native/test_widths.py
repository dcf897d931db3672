"""Nothing that C or numbers are compared with depends on which vectors torch's kernels use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.compiler.native.at_width import all_by_torch
from tests.support.capabilities import capabilities, own_capability
from tests.support.paths import ROOT


@pytest.mark.parametrize("capability", [width for width in capabilities() if width != own_capability()])
def test_densities_and_bijections_are_the_same_at_every_width(capability: str, tmp_path: Path) -> None:
    """And the tests of bijections and of random programs pass there. If it fails, torch's answer at one of the widths is no
    reference: hold C and us to what sursum promises instead."""
    file = tmp_path / "densities.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.native.at_width", str(file)],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability}, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stdout.partition("\n")[0]) == (0, capability), done.stdout + done.stderr
    own = all_by_torch()
    with np.load(file) as there:
        assert set(there.files) == set(own)
        for name, values in own.items():
            # The sites of constraints are in single precision.
            bound = 1e-4 if name.startswith("constraint") or name == "GeneralizedPareto" else 1e-9
            np.testing.assert_allclose(
                there[name], values, rtol=bound, atol=bound * max(1.0, np.abs(values).max()), err_msg=name
            )

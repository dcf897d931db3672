"""The C of every operator, and of the diagnostics, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.paths import ROOT


@pytest.mark.slow
def test_the_contract_of_operators_holds_under_sanitizers(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc here")
    libraries = []
    for name in ("libasan.so", "libstdc++.so.6"):  # the second, for ASan wraps the throw of torch's exceptions
        found = subprocess.run([gcc, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        if not Path(found).is_absolute():
            pytest.skip(f"gcc has no {name} here")
        libraries.append(found)
    environment = {
        **os.environ,
        "CC": f"{gcc} -fsanitize=address,undefined -fno-sanitize-recover=all",
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # of Python's own; see test_leaks.py
        "SURSUM_CACHE": str(tmp_path),
    }
    tests = [
        str(Path(__file__).parent / name)
        for name in (
            *("test_operators.py", "passes/test_buffer_reuse.py", "passes/test_tile.py", "passes/test_pack.py"),
            *("passes/test_log_of_products.py", "passes/test_contract.py"),
            *("test_factor.py", "test_triangle.py", "test_places.py"),
            "test_decompositions.py",
            "test_spectral.py",
        )
    ]
    tests += [str(ROOT / "tests" / "draws" / name) for name in ("test_native_measures.py", "test_measure.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not width_of_vectors", *tests],
        env=environment, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    said = done.stdout[-4000:] + done.stderr[-4000:]
    assert done.returncode == 0, said
    assert "runtime error" not in said
    assert "passed" in said

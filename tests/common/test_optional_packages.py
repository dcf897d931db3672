"""What works without the packages that are extras, and what is said where one of them is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.optional_packages import EXTRAS, require
from sursum.errors import MissingPackageError, SursumError
from sursum.infer import MCMC, NUTS
from sursum.studies.sbc_result import SBCResult
from sursum.vi.autoguide.flow import zuko_flows


def test_what_is_installed_is_imported() -> None:
    assert require("matplotlib.figure", "A picture").__name__ == "matplotlib.figure"


@pytest.mark.parametrize("package", sorted(EXTRAS))
def test_what_is_missing_is_said_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"^This needs the package {package}, .*'sursum\[\w+\]'$") as found:
        require(package, "This")
    assert EXTRAS[package] in str(found.value)
    assert isinstance(found.value, ImportError)
    assert isinstance(found.value, SursumError)


def test_a_package_that_lacks_something_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # a part of it, not the package
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib\.figure") as found:
        require("matplotlib.figure", "A picture")
    assert not isinstance(found.value, MissingPackageError)


def model() -> None:
    su.sample("z", dist.Normal(0.0, 1.0))


def mcmc(**settings: Any) -> MCMC:
    return MCMC(NUTS(model), num_warmup=500, num_samples=1000, num_chains=2, seed=0, progress=False, **settings)


@pytest.mark.parametrize("package", ["arviz", "xarray"])
def test_arviz_is_asked_for(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = mcmc().run()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"`to_arviz` needs .*sursum\[arviz\]"):
        posterior.to_arviz()


def test_zarr_is_asked_for_before_anything_is_written_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mcmc(store=tmp_path / "there.zarr").run()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackageError, match=r"A store needs .*sursum\[store\]"):
        mcmc(store=tmp_path / "run.zarr").run()
    assert [path.name for path in tmp_path.iterdir()] == ["there.zarr"]
    with pytest.raises(MissingPackageError, match=r"sursum\[store\]"):
        su.Posterior.load(tmp_path / "there.zarr")


def test_matplotlib_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"A picture needs .*sursum\[plot\]"):
        SBCResult({}, 9, {}, 0).plot()


def test_zuko_is_asked_for_and_torchs_checks_stay_on(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = torch.distributions.Distribution._validate_args
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(MissingPackageError, match=r"AutoNormalizingFlow needs .*sursum\[flows\]"):
        zuko_flows()
    assert torch.distributions.Distribution._validate_args is checks


LEAN = """
import sys

for name in (
    *("arviz", "arviz_base", "zarr", "xarray", "pandas", "pyarrow", "matplotlib", "h5py", "h5netcdf", "numcodecs", "zuko"),
    *("sklearn", "IPython", "ipywidgets", "obstore", "nutpie", "loky", "cloudpickle", "ray"),
):
    sys.modules[name] = None

import torch
import sursum as su, sursum.distributions as dist


def model(x, y=None):
    slope = su.param("slope", torch.tensor(0.0))
    sigma = su.param("sigma", torch.tensor(1.0), constraint=dist.constraints.positive)
    with su.plate("data", len(x)):
        return su.sample("y", dist.Normal(slope * x, sigma), obs=y)


x = torch.linspace(-1.0, 1.0, 50)
y = 2.0 * x + 0.3 * torch.randn(50, generator=torch.Generator().manual_seed(0))
print(su.infer.Fit(model).run(x, y))
lifted = su.lift(model, prior={"slope": dist.Normal(0.0, 5.0), "sigma": dist.HalfNormal(1.0)})
posterior = su.infer.MCMC(su.infer.NUTS(lifted), num_warmup=300, num_samples=300, seed=0, progress=False).run(x, y)
print(posterior.summary(), repr(posterior))
posterior.predict(x, seed=0)
posterior.save("run.npz")
assert abs(float(su.Posterior.load("run.npz")["slope"].mean()) - 2.0) < 0.3
su.infer.Laplace(lifted).run(x, y)
"""


def test_a_run_needs_no_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAN], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "slope" in done.stdout

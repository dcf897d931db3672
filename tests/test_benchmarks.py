"""The benchmarks compare like with like: kernels and compiled densities are one function, whatever system writes a model."""

from __future__ import annotations

import ast

import numpy as np
import pytest
import torch
from benchmarks import discrete, run, sursum_models, timing
from benchmarks.kernels import KERNELS, Kernel
from benchmarks.models import MODELS

import sursum as su
from tests.support.paths import ROOT

LONG = ("logistic_large", "volatility")  # a matrix of 40 MB, and a loop of a thousand steps


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] if m in LONG else []) for m in KERNELS])
@pytest.mark.filterwarnings("ignore::sursum.errors.EngineWarning")
def test_a_kernel_and_the_compiled_density_agree(model):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        program, data = sursum_models.load(model)
        density = su.compile(program, *data, engine="native")
    finally:
        torch.set_default_dtype(before)
    kernel = Kernel(model)
    order = kernel.order(density.density.latents)
    assert sorted(order) == list(range(density.dim))
    rng = np.random.default_rng(0)
    for scale in (0.1, 0.5, 1.0):
        q = scale * rng.normal(size=density.dim)
        value, gradient = density.value_and_grad(q)
        by_hand, slopes = kernel.value_and_grad(q[order])
        assert abs(value - by_hand) <= 1e-11 * max(1.0, abs(by_hand))
        np.testing.assert_allclose(gradient[order], slopes, rtol=0, atol=1e-11 * max(1.0, np.abs(slopes).max()))


@pytest.mark.parametrize("system", ["sursum", "numpyro", "pyro", "pymc"])
def test_every_system_has_every_model(system):
    """Read, not imported: the peers need not be installed."""
    text = (ROOT / "benchmarks" / f"{system}_models.py").read_text()
    (programs,) = (
        node.value for node in ast.parse(text).body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PROGRAMS"
    )  # fmt: skip
    assert [key.value for key in programs.keys] == list(MODELS)


def test_stan_has_every_model():
    programs = {path.stem for path in (ROOT / "benchmarks" / "stan").glob("*.stan")}
    assert programs == {name.removesuffix("_small").removesuffix("_large") for name in MODELS}


def test_noise_gives_no_negative_slope():
    assert timing.slope(1.0, 3.0, 4) == 0.5
    assert timing.slope(3.0, 1.0, 4) is None
    assert timing.microseconds(None) is None
    assert timing.microseconds(2e-6) == 2.0


def test_a_bound_is_a_peers_steps_over_ours():
    ours = {"leapfrog": 2.0, "steps": 10.0, "warm": 0.5}
    figures = {"sursum": ours, "A": {"leapfrog": 4.0, "steps": 15.0, "warm": 1.0}, "B": {"leapfrog": None, "steps": 1.0}}
    assert run.bounds("m", figures) == ["m: by its steps a run may be 3 times as fast as A's, and is 2 times as fast"]
    assert run.bounds("m", {"sursum": ours | {"leapfrog": None}}) == []


def test_a_figure_that_a_system_lacks_is_a_dash():
    assert run.cell({"warm": None, "extrapolated": False}, "warm") == "–"
    assert run.cell({"extrapolated": True}, "sampling") == "–"
    assert run.cell({"sampling": 0.25, "extrapolated": True}, "sampling") == "≈ 0.25"


@pytest.mark.parametrize("name", ["mixture", "hidden_markov", "factorial", "capture_recapture"])
def test_discrete_sites_and_sums_by_hand_are_one_density(name):
    program, by_hand, y = discrete.rows(quick=True)[name]
    densities = [su.infer.LogDensity(each, (y[:6],)) for each in (program, by_hand)]
    q = 0.3 * torch.from_numpy(np.random.default_rng(0).normal(size=densities[0].dim))
    values = [float(density(q)) for density in densities]
    assert values[0] == pytest.approx(values[1], rel=1e-10)

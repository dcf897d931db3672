"""`su.ops.external`: values and gradients that are computed outside torch, by NumPy and by C."""

from __future__ import annotations

import ctypes
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sursum as su
import sursum.distributions as dist
from sursum.errors import CompileError, DensityError, GradientWarning

Array = NDArray[np.float64]
PRECISION = np.array([[2.0, 0.5], [0.5, 1.0]])


def gauss(x: Array) -> tuple[float, Array]:
    return -0.5 * float(x @ PRECISION @ x), -PRECISION @ x


IN_TORCH = su.compile(su.logp(lambda x: -0.5 * x @ torch.from_numpy(PRECISION) @ x, torch.zeros(2)))


def in_c() -> Any:
    """The same in C: the compiled density itself, by its address."""
    return su.ops.external(IN_TORCH.address, user_data=IN_TORCH.instance())


@pytest.mark.parametrize(("make", "engine"), [(lambda: su.ops.external(gauss), "torch"), (in_c, "native")])
def test_a_program_computes_with_it(make: Callable[[], Any], engine: str) -> None:
    f = make()

    def model() -> None:
        scale = su.sample("scale", dist.LogNormal(0.0, 1.0))
        x = su.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        su.factor("f", scale * f(x * 2.0))

    def written() -> None:
        scale = su.sample("scale", dist.LogNormal(0.0, 1.0))
        x = su.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        su.factor("f", -0.5 * scale * (x * 2.0) @ torch.from_numpy(PRECISION) @ (x * 2.0))

    density, expected = su.compile(model), su.compile(written)
    assert density.engine == engine
    for seed in range(3):
        q = np.random.default_rng(seed).normal(size=3)
        value, gradient = density.value_and_grad(q)
        same, slope = expected.value_and_grad(q)
        assert value == pytest.approx(same, rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12)


def test_both_engines_draw_what_torch_draws() -> None:
    """The same density to the last bits, the same seed: the same draws, up to rounding that has grown."""
    found = []
    for f in (su.ops.external(gauss), in_c()):
        kernel = su.infer.NUTS(su.logp(f, [0.0, 0.0]))
        mcmc = su.infer.MCMC(kernel, num_warmup=30, num_samples=20, num_chains=1, seed=0, progress=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # twenty draws are few
            found.append(mcmc.run()["x"])
    torch.testing.assert_close(found[0], found[1], rtol=0.0, atol=1e-6)


def test_it_is_mapped() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([gauss(row.numpy())[0] for row in x], dtype=torch.float64)
    slopes = torch.stack([torch.from_numpy(gauss(row.numpy())[1]) for row in x])
    for f in (su.ops.external(gauss), in_c()):
        torch.testing.assert_close(torch.vmap(f)(x), expected)
        torch.testing.assert_close(torch.vmap(torch.func.grad(f))(x), slopes)


def test_where_c_refuses_the_density_is_zero() -> None:
    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_size_t, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_void_p)
    def half_line(n: int, x: Any, gradient: Any, value: Any, user_data: Any) -> int:
        value[0], gradient[0] = -x[0], -1.0
        return int(x[0] < 0.0)

    density = su.compile(su.logp(su.ops.external(half_line), [1.0]))
    assert density.engine == "native"
    assert density.value_and_grad([2.0])[0] == -2.0
    assert density.value_and_grad([-2.0])[0] == -np.inf


def test_a_wrong_gradient_is_seen() -> None:
    with pytest.warns(GradientWarning):
        su.compile(su.logp(su.ops.external(lambda x: (-0.5 * float(x @ x), -2.0 * x)), [0.5, 0.5]))


def test_its_own_errors_come_out() -> None:
    def fails(x: Array) -> tuple[float, Array]:
        if abs(x[0]) > 30.0:
            raise ZeroDivisionError("of my own")
        return gauss(x)

    density = su.compile(su.logp(su.ops.external(fails), [0.0, 0.0]))
    with pytest.raises(ZeroDivisionError, match="of my own"):
        density.value_and_grad([40.0, 0.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: su.ops.external("f"), "takes a function"),
        (lambda: su.ops.external(0), "no function can lie there"),
        (lambda: su.ops.external(IN_TORCH.address, user_data="x"), "must be an address"),
        (lambda: su.ops.external(gauss, user_data=1), "is for C functions"),
        (lambda: su.ops.external(gauss)(1.0), "takes one tensor"),
        (lambda: su.ops.external(lambda x: 1.0)(torch.ones(2)), "A number and a gradient"),
        (lambda: su.ops.external(lambda x: (1.0, np.ones(3)))(torch.ones(2)), "a gradient of 3 numbers at a point of 2"),
    ],
)
def test_what_is_wrong_is_said(make: Any, words: str) -> None:
    with pytest.raises(DensityError, match=words):
        make()


def test_an_address_does_not_leave_its_process(tmp_path: Path) -> None:
    density = su.compile(su.logp(in_c(), [0.0, 0.0]))
    with pytest.raises(CompileError, match="at an address of this process"):
        density.export(tmp_path / "model.so")
    with pytest.raises(DensityError, match="belongs to its process"):
        pickle.dumps(in_c())
    assert float(pickle.loads(pickle.dumps(su.ops.external(gauss)))(torch.ones(2))) == gauss(np.ones(2))[0]

"""Constant matrices laid out in panels: what they are products with, and what is no product with them."""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest
import torch
from tests.compiler.native.agreement import compiled, matrix
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.library.library import SIGNATURE
from sursum.compiler.native.library.toolchain import detect
from sursum.compiler.native.passes import pack

PANEL = "su_lanes *const"


def beta(columns, name="beta"):
    return su.sample(name, dist.Normal(torch.zeros(columns, dtype=torch.float64), 1.0).to_event(1))


def student(x, b, name="f"):
    su.factor(name, -torch.log1p((x @ b - 0.3) ** 2).sum())


SIZES = [(80, 60), (83, 50), (119, 41), (400, 13), (1001, 5), (2000, 4), (130, 256)]
STORED = [(*size, storage) for size in SIZES for storage in ("rows", "columns", "slice")]


# Every size by rows, and every storage with one size that leaves a rest and one that leaves none.
@pytest.mark.parametrize(
    ("rows", "columns", "storage"), few(STORED, [one for one in STORED if one[2] == "rows" or one[0] in (80, 119)])
)
def test_every_height_width_and_storage_gives_what_torch_gives(rows, columns, storage):
    whole = matrix(rows, columns + 3)
    turned = whole.T.contiguous().T
    x = {"rows": whole[:, :columns].contiguous(), "columns": turned[:, :columns], "slice": whole[:, 2 : columns + 2]}
    source = compiled(lambda x: student(x, beta(columns)), x[storage]).source
    assert (PANEL in source) == (storage != "columns")  # there the rows stand side by side as they are


@pytest.mark.parametrize(("rows", "columns"), [(79, 60), (2000, 3), (2000, 257), (100, 10)])
def test_what_gains_nothing_is_left_as_it_is(rows, columns):
    assert PANEL not in compiled(lambda x: student(x, beta(columns)), matrix(rows, columns)).source


def test_the_panels_hold_the_matrix_column_by_column_and_the_rest_row_by_row():
    x = matrix(95, 3)
    laid_out = pack._panels(x)
    assert laid_out.shape == (95 * 3,)
    assert torch.equal(laid_out[:120].reshape(3, 40), x[:40].T)
    assert torch.equal(laid_out[120:240].reshape(3, 40), x[40:80].T)
    assert torch.equal(laid_out[240:].reshape(15, 3), x[80:])


def test_coefficients_that_are_computed_and_several_of_them():
    x = matrix(1000, 12)

    def program(x):
        scale = su.sample("scale", dist.HalfNormal(1.0)).double()
        one = torch.tanh(scale * beta(12))
        other = beta(12, "gamma") + 0.1
        student(x, one)
        student(x, other, "g")

    assert compiled(program, x).source.count(PANEL) >= 4


def test_a_matrix_that_is_wanted_otherwise_too_is_there_in_both_layouts():
    x = matrix(500, 16)

    def program(x):
        b = beta(16)
        student(x, b)
        su.factor("g", -(x * torch.cos(b)).pow(2).sum() / 500)

    density = compiled(program, x)
    assert PANEL in density.source
    assert density.source.count("500x16 */") == 2


def test_a_matrix_that_depends_on_latents_is_none():
    x = matrix(500, 16)

    def program(x):
        student(x * su.sample("s", dist.HalfNormal(1.0)).double().exp(), beta(16))

    compiled(program, x)


def test_missing_numbers_make_what_they_make_in_torch():
    x = matrix(400, 16)
    x[7, 3], x[399, 0] = torch.inf, torch.nan
    density = su.compile(lambda x: su.factor("f", torch.nan_to_num(x @ beta(16), 0.5, 0.25, 0.125).sin().sum()), x)
    value, gradient = density.value_and_grad(np.ones(16))
    wanted = [t.numpy() for t in density.replay(torch.ones(16, dtype=torch.float64))]
    np.testing.assert_allclose(value, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, wanted[1], rtol=1e-10)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86-64")
@pytest.mark.parametrize("march", ["x86-64", "x86-64-v3"])
def test_processors_with_shorter_vectors_get_the_same_numbers(march, tmp_path):
    x = matrix(123, 40)
    density = compiled(lambda x: student(x, beta(40)), x)
    instance, q = density.instance(), np.random.default_rng(1).normal(size=40)
    path = tmp_path / "density.so"
    path.write_bytes(detect(None).compile(density.source, 100, march=march))
    run = SIGNATURE(ctypes.cast(ctypes.CDLL(str(path)).sursum_run, ctypes.c_void_p).value)
    gradient, value = np.empty(40), np.empty(1)
    assert run(40, q.ctypes.data, gradient.ctypes.data, value.ctypes.data, instance.pointer) == 0
    wanted = density.value_and_grad(q)
    np.testing.assert_allclose(value[0], wanted[0], rtol=1e-13)
    np.testing.assert_allclose(gradient, wanted[1], rtol=1e-11, atol=1e-13)

"""The BLAS of torch and of SciPy: addresses, and one thread while chains run."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.linalg
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.library import blas


def threads():
    library = blas._openblas()
    return library.scipy_openblas_get_num_threads()


def gaussian_process():
    x = torch.linspace(0.0, 1.0, 80, dtype=torch.float64)
    rho = su.sample("rho", dist.LogNormal(0.0, 0.3)).double()
    cov = torch.exp(-0.5 * (x[:, None] - x) ** 2 / rho**2) + 0.1 * torch.eye(80)
    su.sample("y", dist.MultivariateNormal(torch.zeros(80, dtype=torch.float64), cov), obs=torch.sin(6 * x))


@pytest.fixture
def two_threads():
    """SciPy set to two threads, as on a machine of two cores or more."""
    assert scipy.linalg.cho_factor is not None
    library = blas._openblas()
    if library is None:
        pytest.skip("this SciPy has no OpenBLAS of its own")
    before = threads()
    library.scipy_openblas_set_num_threads(2)
    yield
    library.scipy_openblas_set_num_threads(before)


def test_an_address_is_found_for_both_libraries():
    assert blas.address("dgemm") != blas.address("dpotrf") != 0
    with pytest.raises(KeyError):
        blas.address("dnothing")


def product(n):
    """A density with a product of n by n matrices in it."""
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def program():
        w = su.sample("w", dist.Normal(torch.zeros(n, n, dtype=torch.float64), 1.0).to_event(2))
        su.factor("f", -((a @ w) ** 2).sum())

    return su.compile(program, engine="native")


def test_products_of_torch_where_it_has_mkl_and_of_scipy_elsewhere(monkeypatch):
    density = product(40)
    q = np.random.default_rng(0).normal(size=1600)
    found = density.value_and_grad(q)
    w = torch.tensor(q, requires_grad=True)
    a = torch.randn(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ((-((a @ w.reshape(40, 40)) ** 2)).sum() - 0.5 * (w**2).sum()).backward()
    np.testing.assert_allclose(found[1], w.grad.numpy(), rtol=1e-11, atol=1e-9)
    monkeypatch.setattr(blas, "_mkl", lambda: None)
    assert blas.address("threads") == 0
    other = product(40)
    assert other.source == density.source, "the text does not depend on the machine's BLAS"
    np.testing.assert_allclose(other.value_and_grad(q)[1], found[1], rtol=1e-11, atol=1e-9)


def test_products_have_the_same_bits_whatever_number_of_threads_torch_has():
    density, q = product(200), np.random.default_rng(0).normal(size=40000)
    before = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(density.value_and_grad(q))
    finally:
        torch.set_num_threads(before)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_the_number_of_threads_of_mkl_is_as_before_after_a_product():
    library = blas._mkl()
    if library is None:
        pytest.skip("this torch has no MKL that others may call")
    library.MKL_Set_Num_Threads_Local(2)
    try:
        product(40).value_and_grad(np.zeros(1600))
        assert library.MKL_Get_Max_Threads() == 2
    finally:
        library.MKL_Set_Num_Threads_Local(0)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_inside_and_the_old_number_afterwards():
    with blas.one_thread():
        assert threads() == 1
        with blas.one_thread():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 2
    with pytest.raises(ZeroDivisionError), blas.one_thread():
        1 / 0  # noqa: B018
    assert threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_last_of_several_threads_puts_it_back():
    inside, out = threading.Event(), threading.Event()

    def other():
        with blas.one_thread():
            inside.set()
            out.wait(10)

    worker = threading.Thread(target=other)
    with blas.one_thread():
        worker.start()
        assert inside.wait(10)
    assert threads() == 1, "the other one still works"
    out.set()
    worker.join()
    assert threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_chains_run_with_one_thread(monkeypatch):
    """Seen from inside: what the one who watches the chains sees."""
    from sursum.mcmc.chain_pool import Schedule

    seen = []
    watch = Schedule._watch
    monkeypatch.setattr(Schedule, "_watch", lambda self: (seen.append(threads()), watch(self))[1])
    kernel = su.infer.NUTS(gaussian_process)
    su.infer.MCMC(kernel, num_warmup=20, num_samples=20, num_chains=1, seed=0, progress=False).run()
    assert seen == [1]
    assert threads() == 2

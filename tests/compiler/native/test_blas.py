"""SciPy's BLAS: its addresses, and one thread while chains run."""

from __future__ import annotations

import threading

import pytest
import scipy.linalg
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native import blas


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
    from sursum.mcmc.schedule import Schedule

    seen = []
    watch = Schedule._watch
    monkeypatch.setattr(Schedule, "_watch", lambda self: (seen.append(threads()), watch(self))[1])
    kernel = su.infer.NUTS(gaussian_process)
    su.infer.MCMC(kernel, num_warmup=20, num_samples=20, num_chains=1, seed=0, progress=False).run()
    assert seen == [1]
    assert threads() == 2

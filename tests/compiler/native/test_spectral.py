"""Eigenvalues and singular values in C, and their gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.native.agreement import compiled, matrix
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.native.build import build
from sursum.compiler.native.library import blas
from sursum.compiler.passes import optimise

X = torch.linspace(-2, 2, 8, dtype=torch.float64)


def kronecker(y):
    """A Gaussian process by the eigenvalues of its covariance."""
    length = su.param("length", X.new_ones(()), constraint=dist.constraints.positive)
    k = torch.exp(-((X[:, None] - X) ** 2) / length) + 0.1 * torch.eye(8, dtype=X.dtype)
    values, vectors = torch.linalg.eigh(k)
    su.factor("y", -0.5 * ((vectors.T @ y) ** 2 / values + values.log()).sum())


def test_a_gaussian_process_by_eigenvalues_is_the_normal_distribution():
    y = torch.sin(X)
    density = compiled(su.lift(kronecker, {"length": dist.HalfNormal(1.0)}), y)
    for q in (-0.5, 0.3):
        z = torch.tensor([q], dtype=torch.float64, requires_grad=True)
        length = z.exp()
        k = torch.exp(-((X[:, None] - X) ** 2) / length) + 0.1 * torch.eye(8, dtype=X.dtype)
        of_y = torch.distributions.MultivariateNormal(torch.zeros_like(X), k).log_prob(y) + 4 * np.log(2 * np.pi)
        wanted = of_y + torch.distributions.HalfNormal(torch.ones_like(z)).log_prob(length).sum() + z.sum()
        value, gradient = density.value_and_grad(np.array([q]))
        assert value == pytest.approx(float(wanted.detach()), rel=1e-12)
        np.testing.assert_allclose(gradient, torch.autograd.grad(wanted, z)[0].numpy(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (2, 4, 3), (60, 50)])
def test_singular_vectors_and_their_gradients_are_those_of_torch(shape):
    a = matrix(1, int(np.prod(shape))).reshape(shape)
    size = (shape[-2], shape[-2])

    def program():
        w = su.sample("w", dist.Normal(torch.zeros(shape, dtype=torch.float64), 1.0).to_event(len(shape)))
        u, s, v = torch.linalg.svd(a + 0.1 * w, full_matrices=False)
        weights = torch.linspace(-1.0, 1.0, size[0] ** 2, dtype=torch.float64).reshape(size)
        su.factor("f", ((u * s.log1p().unsqueeze(-2)) @ v).sin().sum() + ((u @ u.mT) * weights).sum() + s.log().sum())

    compiled(program)


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_eigenvectors_and_their_gradients_are_those_of_torch(n):
    a = matrix(n, n)

    def program():
        w = su.sample("w", dist.Normal(torch.zeros(n, n, dtype=torch.float64), 1.0).to_event(2))
        b = a + 0.1 * w
        values, vectors = torch.linalg.eigh(b @ b.T)
        su.factor("f", ((vectors * values.sigmoid()) @ vectors.T * a).sum() - values.log1p().sum())

    compiled(program)


def run_by_both(density, q: Tensor, directory: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Value and gradient by C and by torch."""
    graph = optimise(
        capture(density, (torch.linspace(0.1, 1, len(q)).double(), torch.linspace(2, 1, len(q)).double()), gradient=True)
    )
    value, gradient = build(graph, title="spectra", directory=directory).value_and_grad(q.numpy())
    return [np.array(value), gradient], [t.numpy() for t in Replay(graph)(q)]


@pytest.mark.parametrize("vectors", [False, True])
def test_eigenvalues_that_are_equal_give_what_torch_gives(vectors, tmp_path):
    def density(q):
        values, turned = torch.linalg.eigh(torch.diag(q))
        return (turned * values).sum() if vectors else values.exp().sum()

    mine, torchs = run_by_both(density, torch.full((3,), 0.5, dtype=torch.float64), tmp_path)
    for found, wanted in zip(mine, torchs, strict=True):
        np.testing.assert_allclose(found, wanted)
    assert np.isfinite(mine[1]).all() != vectors


def test_scipys_lapack_does_it_where_torchs_cannot_be_called(monkeypatch):
    monkeypatch.setattr(blas, "_mkl", lambda: None)

    def program():
        w = su.sample("w", dist.Normal(torch.zeros(4, 3, dtype=torch.float64), 1.0).to_event(2))
        values, vectors = torch.linalg.eigh(w.T @ w)
        u, s, _ = torch.linalg.svd(w)
        su.factor("f", ((vectors[0] ** 2) * values).sum() - ((u[:, :3] * s)[0] ** 2).sum())

    compiled(program)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_density(bad, tmp_path):
    graph = optimise(capture(
        lambda q: torch.linalg.eigvalsh(q[:, None] * q).sum() + torch.linalg.svdvals(q.reshape(1, 3)).sum(),
        (torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 1.0, 0.5]).double()), gradient=True,
    ))  # fmt: skip
    run = build(graph, title="spectra", directory=tmp_path)
    assert np.isnan(run.value_and_grad(np.array([1.0, bad, 2.0]))[0])
    assert run.value_and_grad(np.array([1.0, 2.0, 2.0]))[0] == pytest.approx(12.0)

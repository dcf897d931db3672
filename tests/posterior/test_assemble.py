"""Where posteriors are put together: whatever drew, the same program gives the same names, shapes and dtypes."""

import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program
from sursum.errors import DiagnosticWarning
from sursum.infer import LogDensity
from sursum.posterior.assemble import Subject, assemble, assemble_independent, draws_of

DATA = torch.tensor([0.3, -0.2, 1.1])


def model(y):
    w = su.sample("w", dist.Normal(torch.zeros(2, 2), 1.0).to_event(2))
    su.sample("fixed", dist.Delta(torch.tensor(2.0)))
    cholesky = su.sample("cholesky", dist.LKJCholesky(3, 2.0))
    one = su.sample("one", dist.LogNormal(torch.zeros(1), 1.0).to_event(1))
    shares = su.sample("shares", dist.Dirichlet(torch.ones(3)))
    su.deterministic("twice", 2 * shares)
    with su.plate("rows", len(y)):
        z = su.sample("z", dist.Normal(w.sum() + cholesky.sum(), one[0]))

    def step(x, _):
        x = su.sample("x", dist.Normal(x, 1.0))
        return x, None

    last, _ = su.scan(step, z.mean(), length=2)
    with su.plate("rows", len(y)):
        su.sample("y", dist.Normal(z + last + shares[0], 1.0), obs=y)


NAMES = (
    *("w[0, 0]", "w[0, 1]", "w[1, 0]", "w[1, 1]", "cholesky[0]", "cholesky[1]", "cholesky[2]", "one[0]"),
    *("shares[0]", "shares[1]", "z[0]", "z[1]", "z[2]", "x[0]", "x[1]"),
)


def by_svi(y):
    svi = su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam({"lr": 0.01}), seed=0, engine="eager")
    svi.run(2, y)
    return svi.sample(5)


def by_hand(y):
    """A guide of which nothing is known but its values."""

    def guide(y):
        su.sample("w", dist.Normal(torch.zeros(2, 2), 1.0).to_event(2))
        su.sample("cholesky", dist.LKJCholesky(3, 2.0))
        su.sample("one", dist.LogNormal(torch.zeros(1), 1.0).to_event(1))
        su.sample("shares", dist.Dirichlet(torch.ones(3)))
        with su.plate("rows", 3):
            su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    return su.infer.Importance(model, guide, num_samples=5, seed=0).run(y).draws


def by_mcmc(y):
    kernel = su.infer.NUTS(model)
    return su.infer.MCMC(kernel, num_warmup=20, num_samples=5, num_chains=1, seed=0, progress=False).run(y)


@pytest.mark.parametrize("draw", [by_svi, by_hand, by_mcmc])
def test_the_same_program_is_told_of_alike(draw):
    y = DATA.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)
        posterior = draw(y)
    y.zero_()
    told = Subject.of(LogDensity(model, (DATA,)))
    assert posterior.coordinates == told.coordinates == NAMES
    assert posterior.latents == told.latents == ("w", "cholesky", "one", "shares", "z", "x")
    assert list(posterior) == ["w", "cholesky", "one", "shares", "z", "x", "fixed", "twice"]
    assert {name: posterior.dims[name] for name in posterior} == {name: told.dims[name] for name in posterior}
    assert posterior.dims["z"] == ("rows",)
    assert list(posterior.observed) == ["y"]
    assert torch.equal(posterior.observed["y"].float(), DATA)  # as they were: the caller has changed his
    assert torch.equal(posterior.program.args[0].float(), DATA)
    assert posterior.unconstrained.shape == (1, 5, len(NAMES))
    assert posterior.unconstrained.dtype == np.float64
    assert {value.dtype for value in posterior.values()} == {torch.float64}
    # The coordinates are those of the density: the values follow from them, and `lp` is its value.
    density = LogDensity(model, (DATA,))
    for k in (0, 4):
        q = torch.from_numpy(posterior.unconstrained[0, k].copy())
        for name, value in density.transform(q).items():
            assert torch.allclose(value.double(), posterior[name][0, k], atol=1e-5), name
        assert float(density(q)) == pytest.approx(posterior.stats["lp"][0, k], abs=1e-3)


SUBJECT = Subject(("s",), ("s",), {"s": ()}, {}, Program(lambda: None))


def test_every_field_of_a_subject_is_one_of_the_posterior():
    q = np.zeros((2, 3, 1))
    posterior = assemble(SUBJECT, draws_of({"s": torch.zeros(2, 3)}, {}, q), warnings=["w"], pareto_k=0.1)
    assert all(getattr(posterior, item.name) is getattr(SUBJECT, item.name) for item in fields(Subject))
    assert posterior.warnings == ("w",)
    assert posterior.pareto_k == 0.1
    assert posterior.warmup.num_samples == 0


def test_real_sites_are_doubled_and_others_stay():
    drawn = draws_of({"s": torch.zeros(1, 2), "k": torch.zeros(1, 2, dtype=torch.int64)}, {}, np.zeros((1, 2, 1), np.float32))
    assert drawn["s"].dtype == torch.float64
    assert drawn["k"].dtype == torch.int64
    assert drawn.unconstrained.dtype == np.float64


def test_what_is_doubtful_is_said_and_kept():
    with pytest.warns(DiagnosticWarning) as said:
        posterior = assemble_independent(
            SUBJECT, {"s": torch.zeros(4)}, {"lp": np.zeros(4)}, np.zeros((4, 1)), pareto_k=0.9, doubts=("A doubt.",)
        )
    assert posterior["s"].shape == (1, 4)
    assert posterior.stats["lp"].shape == (1, 4)
    assert posterior.warnings[0] == "A doubt."
    assert len(posterior.warnings) == 2
    assert posterior.warnings == tuple(str(one.message) for one in said)
    assert {one.filename for one in said} == {__file__}

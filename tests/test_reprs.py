"""What is shown of the objects that users make: what they are, and no address in memory."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam


def model(y=None):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    with su.plate("data", 2):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


class Net(torch.nn.Linear):
    pass


Y = torch.tensor([1.0, 2.0])
AUTO = su.infer.autoguide


def store():
    with su.ParamStore() as found:
        su.param("a", torch.tensor(1.0))
        su.param("w", torch.zeros(3, 4))
    return found


def svi(steps=0):
    found = su.infer.SVI(model, AUTO.AutoNormal(model), torch.optim.SGD, seed=0, engine="eager")
    return found.run(steps, Y) if steps else found


ROWS = [
    (lambda: su.plate("data", 3), "plate('data', 3)"),
    (lambda: su.plate("data", 10, subsample_size=2, dim=-2), "plate('data', 10, subsample_size=2, dim=-2)"),
    (lambda: su.ParamStore(), "<ParamStore: empty>"),
    (store, "<ParamStore: a (), w (3, 4)>"),
    (lambda: su.infer.LogDensity(model, (Y,), {}), "<LogDensity of model: 1 unknowns (mu)>"),
    (lambda: su.compile(model, Y, engine="torch"), "<CompiledDensity of model: 1 unknowns (mu), torch engine>"),
    (lambda: su.lift(Net(2, 1), dist.Normal(0.0, 1.0)), "lift(Net, Normal(loc: 0.0, scale: 1.0))"),
    (lambda: su.condition(model, data={"y": Y}), "condition(model, {'y': a tensor of shape (2,) of torch.float32})"),
    (lambda: su.condition(data={"y": Y}), "condition(data={'y': a tensor of shape (2,) of torch.float32})"),
    (lambda: su.seed(su.block(partial(model, y=3)), rng_seed=3), "seed(block(partial(model, y=3)), 3)"),
    (lambda: su.reparam(model, {"mu": LocScaleReparam(0.0)}), "reparam(model, {'mu': LocScaleReparam(centered=0.0)})"),
    (lambda: su.trace(model).get_trace(Y), "<Trace: mu (sample), y (observed)>"),
    (lambda: su.optim.Adam({"lr": 0.1}, clip_norm=2.0), "Adam(lr=0.1, clip_norm=2.0)"),
    (lambda: su.optim.SGD(dict.fromkeys), "SGD(dict.fromkeys)"),
    (lambda: AUTO.AutoNormal(model, init_scale=0.2), "AutoNormal(model, init_scale=0.2)"),
    (lambda: AUTO.AutoLowRankMultivariateNormal(model, rank=2), "AutoLowRankMultivariateNormal(model, rank=2)"),
    (lambda: svi(), "<SVI of model by AutoNormal(model), SGD(), Trace_ELBO(): not run>"),
    (lambda: su.infer.MCMC(su.infer.NUTS(model, 0.9), num_chains=2), "MCMC(NUTS(model, 0.9), num_chains=2)"),
    (lambda: su.infer.Fit(model, optim=su.optim.Adam(lr=0.1)), "Fit(model, optim=Adam(lr=0.1))"),
    (lambda: su.infer.Laplace(model, seed=3), "Laplace(model, seed=3)"),
    (lambda: su.infer.Pathfinder(model), "Pathfinder(model)"),
    (lambda: su.infer.SBC(model, fitted=su.block(model)), "SBC(model, fitted=block(model))"),
    (lambda: su.infer.Importance(model, num_samples=5), "Importance(model, num_samples=5)"),
    (lambda: su.infer.Predictive(model, {"mu": Y}), "Predictive(model, {'mu': a tensor of shape (2,) of torch.float32})"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shown"), ROWS, ids=[row[1] for row in ROWS])
def test_what_is_shown(make, shown):
    assert repr(make()) == shown


def test_a_run_of_svi_says_how_far_it_is():
    done = svi(3)
    first, last = float(done.losses[0]), float(done.losses[-1])
    assert repr(done) == (
        f"<SVIResult: 3 steps by the eager engine, loss {first:.4g} to {last:.4g}; auto.loc.mu (), auto.scale.mu ()>"
    )


@pytest.mark.parametrize("name", [name for name in AUTO.__all__ if name.startswith("Auto")])
def test_guides(name):
    pytest.importorskip("zuko")
    assert repr(getattr(AUTO, name)(model)) == f"{name}(model)"


HANDLERS = {
    "replay": {"trace": su.Trace()},
    "lift": {"prior": {}},
    "reprior": {"prior": {}},
    "reparam": {"config": {}},
    "mask": {"mask": torch.ones(2, dtype=torch.bool)},
    "scale": {"scale": 2.0},
    "scope": {"prefix": "a"},
    "seed": {"rng_seed": 0},
    "plate": {"name": "data", "size": 3},
    **{verb: {"data": {}} for verb in ("condition", "do", "substitute")},
}


@pytest.mark.parametrize(
    "verb", [n for n in su.handlers.__all__ if n.islower() and n not in ("handler", "perform", "random_module")]
)
def test_no_handler_shows_an_address(verb):
    made = getattr(su.handlers, verb)(**HANDLERS.get(verb, {}))
    loops = verb in ("plate", "markov")  # which wrap no program
    for shown in (repr(made), "" if loops else repr(made.around(model))):
        assert " at 0x" not in shown
    assert loops or f"{verb}(model" in repr(made.around(model))


def mcmc(**more):
    return su.infer.MCMC(su.infer.NUTS(model), **{"num_warmup": 50, "num_samples": 50, "seed": 0, "progress": False, **more})


@pytest.fixture(scope="module")
def posterior():
    return quietly(lambda: mcmc().run(Y))


@pytest.fixture(scope="module")
def folds():
    """A cross-validation, whose numbers do not matter here."""
    return su.infer.CrossValidation(np.array([-1.0, -2.0]), {0: 0.1, 1: 0.2}, (), (0, 1))


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


RESULTS = {
    "Benchmark": lambda posterior, folds: su.Benchmark("native", 3, 0.5),
    "CompiledDensity": lambda posterior, folds: su.compile(model, Y),
    "GradientCheck": lambda posterior, folds: su.check(model, Y),
    "Posterior": lambda posterior, folds: posterior,
    "Draws": lambda posterior, folds: posterior.warmup,
    "Rendering": lambda posterior, folds: su.render(model, Y),
    "Report": lambda posterior, folds: su.report(model, Y),
    "Summary": lambda posterior, folds: posterior.summary(),
    "Trace": lambda posterior, folds: su.trace(model).get_trace(Y),
    "ParamStore": lambda posterior, folds: store(),
    "LogDensity": lambda posterior, folds: su.infer.LogDensity(model, (Y,)),
    "SVIResult": lambda posterior, folds: svi(3),
    "FitResult": lambda posterior, folds: su.infer.Fit(model).run(Y),
    "ImportanceSamples": lambda posterior, folds: su.infer.Importance(model, num_samples=50, seed=0).run(Y),
    "Prediction": lambda posterior, folds: posterior.predict(seed=0),
    "Run": lambda posterior, folds: finished(mcmc().start(Y)),
    "Progress": lambda posterior, folds: finished(mcmc().start(Y)).progress[0],
    "PriorSensitivity": lambda posterior, folds: su.infer.PriorSensitivity({"mu": np.array(0.1)}, {"mu": np.array(0.2)}),
    "CrossValidation": lambda posterior, folds: folds,
    "Comparison": lambda posterior, folds: su.infer.compare({"one": folds, "other": folds}),
    "LooPit": lambda posterior, folds: su.infer.loo_pit(posterior, seed=0),
    "Calibrated": lambda posterior, folds: su.infer.reliability([0.1, 0.9], [0, 1]),
    "RecoveryResult": lambda posterior, folds: su.infer.Recovery(mcmc(), seed=0).run(Y),
    "SBCResult": lambda posterior, folds: su.infer.SBC(
        model, num_simulations=3, num_warmup=50, num_samples=50, max_rank=9, seed=0
    ).run(Y),
    "LadderResult": lambda posterior, folds: ladder(),
    "Rung": lambda posterior, folds: ladder().rungs[0],
    "Study": lambda posterior, folds: su.infer.many(mcmc(), [Y]),
    "StudyFailure": lambda posterior, folds: su.infer.StudyFailure("SamplingError", "no"),
    "ReparamChoice": lambda posterior, folds: su.infer.ReparamSearch(model).run(Y),
    "Pilot": lambda posterior, folds: su.infer.Pilot(("centred",), 10, 2.0, 0, 1.0, 20),
    "SiteChoice": lambda posterior, folds: su.infer.SiteChoice("x", (2,), "centred", None, {"centred": 2.0}),
    "ModuleEnsemble": lambda posterior, folds: networks(),
}
"""What methods return, by class."""

PLAIN = {
    "StudyFailure",
    "Progress",
    "LogDensity",
    "CompiledDensity",
    "ParamStore",
    "ModuleEnsemble",
    "Draws",
    "Trace",
    "Rendering",
}
"""What is a row of something else, or an object to be used, and has no view of its own in a notebook; a picture is one."""

NOT_RESULTS = {
    *("HMC", "MCMC", "NUTS", "WALNUTS", "DiscreteGibbs", "SBC", "SGMCMC", "SGHMC", "SGLD", "SGNHT", "SVI", "SWAG", "Fit"),
    *("Laplace", "Pathfinder", "Importance", "Ladder", "Predictive", "Recovery", "ReparamSearch", "DeepEnsemble", "MCDropout"),
    *("ELBO", "Trace_ELBO", "TraceEnum_ELBO", "TraceMeanField_ELBO", "RenyiELBO", "EarlyStopping", "Until"),
    *("Interrupted", "StudyInterrupted"),
}
"""Settings, and exceptions."""


def ladder():
    return su.infer.Ladder(model, methods=["mode", "laplace"], num_samples=200, seed=0).run(Y)


def finished(run):
    run.wait(60)
    return run


def networks():
    net = torch.nn.Linear(2, 1)
    draws = {"weight": torch.zeros(1, 3, 1, 2), "bias": torch.zeros(1, 3, 1)}
    return su.Posterior(draws, {}, np.zeros((1, 3, 3)), latents=tuple(draws)).module(net=net)


def test_every_class_is_a_result_or_none():
    classes = {
        name
        for module in (su, su.infer)
        for name in module.__all__
        if name[0].isupper() and isinstance(getattr(module, name), type)
    }
    assert classes - NOT_RESULTS == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_says_what_it_is(name, posterior, folds):
    made = quietly(lambda: RESULTS[name](posterior, folds))
    assert type(made).__name__ in (name, "CompiledDensity")
    for shown in (repr(made), str(made)):
        assert " at 0x" not in shown
        assert 3 < len(shown) < 5000
    if name not in PLAIN:
        page = made._repr_html_()
        assert page.startswith("<")
        assert " at 0x" not in page

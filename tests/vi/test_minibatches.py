"""Minibatches: by arguments, by a plate's subsample; on every engine the gradient is the programs' own."""

import copy
import math
import pickle

import pytest
import torch
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import CallError, DiagnosticWarning, EngineWarning, GuideError
from sursum.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO, autoguide

G = torch.Generator().manual_seed(0)
X = torch.randn(40, 2, generator=G)
Y = X @ torch.tensor([1.0, -0.5]) + 0.3 * torch.randn(40, generator=G)
K = torch.randint(3, (40,), generator=G)


def by_plate():
    """A global site, one for every row, and a lookup by an index that is subsampled."""
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("groups", 3):
        a = su.sample("a", dist.Normal(0.0, 1.0))
    with su.plate("rows", 40, subsample_size=8) as rows:
        z = su.sample("z", dist.Normal(0.0, 0.1))
        su.sample("y", dist.Normal(X[rows] @ w + a[K[rows]] + z, 0.3), obs=Y[rows])


def by_arguments(x, y, k):
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("groups", 3):
        a = su.sample("a", dist.Normal(0.0, 1.0))
    with su.plate("rows", 40, subsample_size=len(x)):
        su.sample("y", dist.Normal(x @ w + a[k], 0.3), obs=y)


LOSSES = [Trace_ELBO(), TraceMeanField_ELBO(), RenyiELBO(0.5, num_particles=2)]


def gradients(svi, args, seed=0):
    """The gradients that the engine of a batch computes, and those of the programs with the same noise."""
    svi._set_up.prepare(args, {})
    engine, batch = svi._batch_steps.find(args, {})
    if svi.engine == "torch":
        trained = engine._trained()
        found = engine.step.on(batch, trained, seed=seed, state={})
        wanted = engine.step.run(trained, args, seed=seed)
        return engine, {n: (found.gradients[n], wanted.gradients[n]) for n in trained}
    steps = engine.steps
    goal, rows = steps.goal, steps._with_batches(steps._draw(0)[:1], [batch])
    row = rows.reshape(steps.particles, -1)[0]
    q = torch.cat([torch.from_numpy(goal.coordinates()), row]).requires_grad_()
    (slope,) = torch.autograd.grad(goal.value(q), q)
    both = goal.split(goal.loss_and_grad(q.detach())[1]), goal.split(slope[: goal.dim])
    return engine, {name: (both[0][name], both[1][name]) for name in goal.leaves}


ENGINES = [("native", "InC"), ("torch", "ByTorch")]
WAYS = [(model, loss, *engine) for model in (by_plate, by_arguments) for loss in LOSSES for engine in ENGINES]


# Every bound by plate, and one by arguments.
@pytest.mark.parametrize(
    ("model", "loss", "engine", "kind"), few(WAYS, [way for way in WAYS if way[0] is by_plate or way[1] is LOSSES[0]])
)
def test_the_gradient_of_a_minibatch_is_the_programs_own(model, loss, engine, kind):
    svi = SVI(model, autoguide.AutoNormal(model), su.optim.Adam(lr=0.01), loss, seed=0, engine=engine)
    found, pairs = gradients(svi, () if model is by_plate else (X[:8], Y[:8], K[:8]))
    assert type(found).__name__ == kind
    assert pairs
    for name, (mine, theirs) in pairs.items():
        bound = 1e-5 * max(1.0, float(theirs.abs().max()))  # the programs are in single precision
        assert float((mine - theirs).abs().max()) < bound, name


def exact():
    """The mean of w under the model without groups and rows of their own, by the normal equations."""
    x, y = X.double(), Y.double()
    precision = torch.eye(2).double() + x.T @ x / 0.09
    return torch.linalg.solve(precision, x.T @ y / 0.09), precision.diagonal() ** -0.5


def linear(x, y):
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("rows", 40, subsample_size=len(x)):
        su.sample("y", dist.Normal(x @ w, 0.3), obs=y)


def subsampled():
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("rows", 40, subsample_size=8) as rows:
        su.sample("y", dist.Normal(X[rows] @ w, 0.3), obs=Y[rows])


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_training_on_subsamples_finds_the_posterior_of_all_rows(engine):
    schedule = lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    optim = su.optim.Adam({"lr": 0.05}, scheduler=schedule)
    svi = SVI(subsampled, autoguide.AutoNormal(subsampled), optim, seed=1, engine=engine)
    assert svi.run(1000 if engine == "native" else 600).engine == engine
    mean, sd = exact()
    assert float((svi.params["auto.loc.w"].detach() - mean).abs().max()) < 0.02
    torch.testing.assert_close(svi.params["auto.scale.w"].detach().double(), sd, rtol=0.25, atol=0)


def test_a_loop_over_batches_captures_each_shape_once_and_a_smaller_last_batch_is_another():
    svi = SVI(linear, autoguide.AutoNormal(linear), su.optim.Adam({"lr": 0.03}), seed=1)
    order = torch.Generator().manual_seed(3)
    for _ in range(40):
        for rows in torch.randperm(40, generator=order).split(16):
            svi.step(X[rows], Y[rows])
    assert {type(engine).__name__ for engine in svi._batch_steps.by_shape.values()} == {"InC"}
    assert len(svi._batch_steps.by_shape) == 2
    mean, _ = exact()
    assert float((svi.params["auto.loc.w"].detach() - mean).abs().max()) < 0.06


@pytest.mark.parametrize(
    ("engine", "dtype", "unit"),
    [*((engine, torch.float64, 1e-12) for engine in ("native", "torch", "eager")), ("torch", torch.bfloat16, 2.0**-8)],
)
def test_steps_are_those_of_a_plain_loop(engine, dtype, unit):
    """25 rows in batches of 10, 10 and 5, each of which stands for all of them; at most some units of rounding apart."""
    x, y = X[:25].to(dtype), Y[:25].to(dtype)

    def program(x, y):
        w = su.sample("w", dist.Normal(torch.zeros(2, dtype=dtype), 1.0).to_event(1))
        with su.plate("rows", 25, subsample_size=len(x)):
            su.sample("y", dist.Normal(x @ w, 0.5), obs=y)

    svi = SVI(program, autoguide.AutoDelta(program), su.optim.SGD({"lr": 1e-3}), seed=0, engine=engine)
    w = torch.zeros(2, dtype=torch.float64)
    for rows in torch.arange(25).split(10):
        loss, share, away = svi.step(x[rows], y[rows]), 25 / len(rows), y[rows].double() - x[rows].double() @ w
        data = 2.0 * (away**2).sum() + len(rows) * math.log(0.5 * math.sqrt(2.0 * math.pi))
        assert loss == pytest.approx(float(0.5 * w @ w + math.log(2.0 * math.pi) + share * data), rel=4 * unit)
        w = w - 1e-3 * (w - 4.0 * share * x[rows].double().mT @ away)
        found = svi.params["auto.loc.w"].detach()
        assert found.dtype is dtype
        torch.testing.assert_close(found.double(), w, rtol=4 * unit, atol=0.0)
    assert svi.engine == engine
    assert float(w.abs().min()) > 0.02


def test_a_run_by_steps_that_was_resumed_equals_one_that_was_not(tmp_path):
    def svi(engine):
        return SVI(linear, autoguide.AutoNormal(linear), su.optim.Adam({"lr": 0.03}), seed=1, engine=engine)

    for engine in ("native", "torch"):
        whole, first, second = svi(engine), svi(engine), svi(engine)
        batches = [(X[k : k + 16], Y[k : k + 16]) for k in (0, 16, 32, 8)]
        losses = [whole.step(*batch) for batch in batches]
        for batch in batches[:2]:
            first.step(*batch)
        first.save(tmp_path / "state.npz")
        second.load(tmp_path / "state.npz")
        assert [second.step(*batch) for batch in batches[2:]] == losses[2:]
        for name, leaf in whole.params.unconstrained.items():
            assert torch.equal(second.params.unconstrained[name], leaf)
            assert leaf.dtype is (torch.float64 if engine == "native" else torch.float32)


def test_a_number_from_outside_that_changes_between_steps_is_seen():
    settings = {"beta": 1.0}

    def annealed(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.poutine.scale(scale=settings["beta"]):
            su.sample("y", dist.Normal(mu, 1.0).expand([4]).to_event(1), obs=y)

    svi = SVI(annealed, autoguide.AutoDelta(annealed), su.optim.SGD(lr=1e-12), seed=0)
    seen = []
    for beta in (1.0, 1.0, 0.5, 0.25, 0.1):
        settings["beta"] = beta
        seen.append(svi.step(torch.ones(4)))
        assert seen[-1] == pytest.approx(svi.evaluate_loss(torch.ones(4)), rel=1e-6)
    settings["beta"] = 0.05
    with pytest.warns(EngineWarning, match=r"a number or a flag that they read from outside their arguments changes"):
        assert svi.step(torch.ones(4)) == pytest.approx(svi.evaluate_loss(torch.ones(4)), rel=1e-6)


def test_discrete_guides_and_their_baselines_are_captured():
    def model(y):
        k = su.sample("k", dist.Bernoulli(0.3).expand([3]).to_event(1))
        su.sample("y", dist.Normal(k.sum(), 1.0), obs=y)

    def guide(y):
        p = su.param("p", torch.full((3,), 0.5), constraint=dist.constraints.unit_interval)
        infer = {"baseline": {"use_decaying_avg_baseline": True}}
        su.sample("k", dist.Bernoulli(p).to_event(1), infer=infer)

    def svi(engine):
        return SVI(model, guide, su.optim.Adam({"lr": 0.02}), seed=0, engine=engine)

    captured = svi(None)
    for _ in range(5):
        captured.step(torch.tensor(2.0))
    (engine,) = captured._batch_steps.by_shape.values()
    assert engine.name == "torch"
    before = {name: value.clone() for name, value in captured._training.baselines.items()}
    found = engine.step.on(engine.batch, engine._trained(), seed=9, state={n: v.clone() for n, v in before.items()})
    wanted = engine.step.run(engine._trained(), (torch.tensor(2.0),), seed=9, state=before)
    torch.testing.assert_close(found.loss, wanted.loss)
    torch.testing.assert_close(found.gradients["p"], wanted.gradients["p"])
    assert float(wanted.gradients["p"].abs().sum()) > 0
    result = captured.run(200, torch.tensor(2.0))
    assert result.engine == "torch"


def of_rows(x, y):
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("rows", len(x)):
        su.sample("y", dist.Normal(x @ w, 0.3), obs=y)


def loader(size=16, **options):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=size, shuffle=True, **options)


def test_the_batches_of_a_loader_stand_for_all_its_rows():
    schedule = lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    svi = SVI(of_rows, autoguide.AutoNormal(of_rows), su.optim.Adam({"lr": 0.05}, scheduler=schedule), seed=1)
    before = torch.get_rng_state()
    assert svi.run(1000, loader()).engine == "native"
    assert torch.equal(torch.get_rng_state(), before)
    mean, sd = exact()
    assert float((svi.params["auto.loc.w"].detach() - mean).abs().max()) < 0.03
    torch.testing.assert_close(svi.params["auto.scale.w"].detach().double(), sd, rtol=0.25, atol=0)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_run_on_a_loader_that_was_resumed_equals_one_that_was_not(engine, tmp_path):
    def svi():
        return SVI(of_rows, autoguide.AutoNormal(of_rows), su.optim.Adam({"lr": 0.05}), seed=1, engine=engine)

    whole, first, second = svi(), svi(), svi()
    whole.run(7, loader())
    first.run(4, loader())
    first.save(tmp_path / "state.npz")
    second.load(tmp_path / "state.npz")
    second.run(3, loader())
    assert torch.equal(second.losses, whole.losses)
    assert len(set(whole.losses.tolist())) == 7


def test_a_loader_that_a_generator_of_its_own_shuffles(tmp_path):
    """Its batches are those of a loop over it, epoch after epoch, and a resumed run has the same."""
    shuffled = lambda: loader(generator=torch.Generator().manual_seed(3))
    seen: list[torch.Tensor] = []

    def noting(x, y):
        seen.append(x)
        of_rows(x, y)

    def svi(model=of_rows):
        return SVI(model, autoguide.AutoDelta(of_rows), su.optim.Adam({"lr": 0.05}), seed=1, engine="eager")

    whole, first, second = svi(noting), svi(), svi(noting)
    whole.run(7, shuffled())
    taken, batches = seen[-7:], shuffled()
    assert all(map(torch.equal, taken, [x for _ in range(3) for x, _ in batches]))
    first.run(4, shuffled())
    first.save(tmp_path / "state.npz")
    second.load(tmp_path / "state.npz")
    second.run(3, shuffled())
    assert all(map(torch.equal, seen[-3:], taken[4:]))
    assert torch.equal(second.losses, whole.losses)


def test_what_a_loader_cannot_say_is_an_error_or_a_note():
    def local(x, y):
        with su.plate("rows", len(x)):
            z = su.sample("z", dist.Normal(0.0, 1.0))
            su.sample("y", dist.Normal(z, 1.0), obs=y)

    def svi(model):
        return SVI(model, autoguide.AutoNormal(model), su.optim.Adam({"lr": 0.05}), seed=1)

    with pytest.raises(GuideError, match=r"latent site 'z' .* is one for each row, and a batch does not say which rows"):
        svi(local).run(1, loader())
    with pytest.raises(CallError, match=r"how many rows there are in all is not known .* plate 'rows' is over those"):
        svi(of_rows).run(1, iter([(X[:4], Y[:4])]))
    short = svi(linear)
    with pytest.raises(CallError, match="the iterator of batches has ended before the last step"):
        short.run(3, iter([(X[:4], Y[:4])] * 2))

    def without(x, y):
        w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        su.sample("y", dist.Normal(x @ w, 0.3).to_event(1), obs=y)

    with pytest.warns(DiagnosticWarning, match="each batch counts as if it were all of the data"):
        svi(without).run(1, loader(drop_last=True))


def test_a_run_that_was_pickled_goes_on_as_it_would_have():
    svi = SVI(linear, autoguide.AutoNormal(linear), su.optim.Adam({"lr": 0.03}), seed=1)
    svi.step(X[:16], Y[:16])
    again = pickle.loads(pickle.dumps(svi))
    assert again.step(X[16:32], Y[16:32]) == svi.step(X[16:32], Y[16:32])
    assert torch.equal(again.params["auto.loc.w"], svi.params["auto.loc.w"])


@pytest.mark.parametrize("options", [{"momentum": 0.9}, None])
def test_what_is_changed_between_captured_steps_counts_in_the_next(options):
    def model(y):
        scale = su.param("scale", torch.tensor([1.5, 2.5]), constraint=constraints.positive)
        z = su.sample("z", dist.Normal(torch.tensor([0.5, -0.5]), 1.0).to_event(1))
        with su.plate("rows", len(y)):
            su.sample("y", dist.Normal(z * factor, scale).to_event(1), obs=y)

    def losses(engine):
        nonlocal factor
        factor = 1.0
        optim = su.optim.Adam({"lr": 0.1}) if options is None else su.optim.SGD({"lr": 0.01, **options})
        svi = su.infer.SVI(model, su.infer.autoguide.AutoDelta(model), optim, seed=0, engine=engine)
        batch = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])

        def steps(data=batch):
            return [svi.step(data) for _ in range(3)]

        found = steps()
        leaf = svi.params.unconstrained["scale"]
        version = leaf._version
        found += steps()
        assert leaf._version > version  # autograd must notice that a graph has other values
        leaf.data.mul_(0.5)
        found += steps()
        leaf.data = torch.tensor([0.2, 0.3], dtype=torch.float64)
        found += steps()
        svi.optimizer.param_groups[0]["lr"] *= 0.1
        found += steps()
        kept = copy.deepcopy(svi.optimizer.state_dict())
        found += steps(batch[:2])
        svi.optimizer.load_state_dict(kept)
        found += steps()
        for state in svi.optimizer.state.values():
            for value in state.values():
                if value is not None and value.dim():
                    value.zero_()
        found += steps()
        batch[0, 0] = 7.0
        found += steps()
        factor = 2.0
        found += steps()
        return found

    factor = 1.0
    assert losses("native") == pytest.approx(losses("eager"), rel=1e-5)


def test_a_schedule_moves_the_rate_of_captured_steps():
    def model(y):
        su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    def losses(engine):
        optim = su.optim.Adam({"lr": 0.5}, scheduler=lambda made: torch.optim.lr_scheduler.StepLR(made, 3, 0.3))
        svi = su.infer.SVI(model, su.infer.autoguide.AutoDelta(model), optim, seed=0, engine=engine)
        return [svi.step(torch.tensor(2.0)) for _ in range(12)]

    assert losses("native") == pytest.approx(losses("eager"), rel=1e-5)

"""The compiled loss against the programs, and the loop's arithmetic against torch's optimisers."""

import numpy as np
import pytest
import torch
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.errors import CaptureError, EngineWarning, VariationalError
from sursum.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO, autoguide
from sursum.training.compiled_loop import rule_of
from sursum.training.noise import NORMAL, UNIFORM, Noise, block
from sursum.training.packed import packed

Y = torch.tensor([0.5, 1.0, 2.5, 0.1], dtype=torch.float64)


def model(y=Y):
    """Sites on the line, on the positive numbers and on a simplex; one in a plate; a support that depends on a site."""
    one = torch.ones((), dtype=torch.float64)
    mu = su.sample("mu", dist.Normal(0.0 * one, 2.0))
    tau = su.sample("tau", dist.Gamma(2.0 * one, 1.0))
    below = su.sample("below", dist.Uniform(0.0 * one, tau))
    share = su.sample("share", dist.Dirichlet(torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)))
    with su.plate("data", 4):
        z = su.sample("z", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(z + share[0], 0.5 + below), obs=y)


def small(y=Y):
    """A number and numbers in a plate, where it is not the programs that are looked at."""
    tau = su.sample("tau", dist.Gamma(torch.tensor(2.0, dtype=torch.float64), 1.0))
    with su.plate("data", 4):
        z = su.sample("z", dist.Normal(0.0, tau))
        su.sample("y", dist.Normal(z, 0.5), obs=y)


def by_hand(y=Y):
    one = torch.ones((), dtype=torch.float64)
    positive = dist.constraints.positive
    su.sample("mu", dist.Normal(su.param("m", 0.3 * one), su.param("s", 0.5 * one, constraint=positive)))
    tau = su.sample("tau", dist.LogNormal(su.param("t", 0.1 * one), 0.3))
    u = su.sample("u", dist.Uniform(0.1 * one, 0.8), infer={"is_auxiliary": True})
    su.sample("below", dist.Delta(u * tau, log_density=-tau.log()))
    a = su.sample("a", dist.Laplace(torch.zeros(2).double(), 1.0).to_event(1), infer={"is_auxiliary": True})
    b = su.sample("b", dist.Exponential(su.param("rate", 2.0 * one, constraint=positive)), infer={"is_auxiliary": True})
    share = torch.softmax(torch.cat([a, (a.sum() * b).reshape(1)]), 0)
    su.sample("share", dist.Delta(share, event_dim=1))
    net = su.module("net", _NET)
    with su.plate("data", 4):
        su.sample("z", dist.Normal(net(y.unsqueeze(-1)).squeeze(-1), 0.4))


torch.manual_seed(0)
_NET = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()

GUIDES = {
    "normal": autoguide.AutoNormal,
    "delta": autoguide.AutoDelta,
    "diagonal": autoguide.AutoDiagonalNormal,
    "multivariate": autoguide.AutoMultivariateNormal,
    "laplace": autoguide.AutoLaplaceApproximation,
    "low rank": autoguide.AutoLowRankMultivariateNormal,
    "flow": autoguide.AutoNormalizingFlow,
    "iaf": autoguide.AutoIAFNormal,
    "gaussian": autoguide.AutoGaussian,
    "list": None,
    "by hand": None,
}
LOSSES = {"trace": Trace_ELBO(), "mean field": TraceMeanField_ELBO(), "renyi": RenyiELBO(0.5)}


def guide_named(name):
    if name == "by hand":
        return by_hand
    if name == "list":
        guide = autoguide.AutoGuideList(model)
        guide.append(autoguide.AutoMultivariateNormal(su.poutine.block(model, expose=["mu", "tau", "below"])))
        guide.append(autoguide.AutoNormal(su.poutine.block(model, expose=["z"])))
        guide.append(lambda y=Y: su.sample("share", dist.Delta(torch.tensor([0.2, 0.3, 0.5]).double(), event_dim=1)))
        return guide
    return GUIDES[name](model)


# Every kind of guide and every loss at least once.
TRACED = [(guide, "trace") for guide in GUIDES]
COUSINS = ("diagonal", "laplace", "low rank", "iaf")  # of multivariate, delta, multivariate and flow
OTHERWISE = [(guide, loss) for guide in GUIDES for loss in LOSSES if loss != "trace"]
QUICK = [("normal", "mean field"), ("list", "renyi")]


@pytest.mark.parametrize(("guide", "loss"), few(TRACED + OTHERWISE, [one for one in TRACED if one[0] not in COUSINS] + QUICK))
def test_native_and_replayed_losses_are_the_programs_own(guide, loss):
    svi = SVI(model, guide_named(guide), su.optim.Adam(lr=0.01), LOSSES[loss], seed=0)
    svi.evaluate_loss()
    goal = packed(svi._bound.packed((), {}, None), svi._training.leaves, None, "native", "loss")
    assert goal.function.native is not None
    n = goal.dim
    noise = block(goal.kinds, 3, 7)
    start = torch.from_numpy(goal.coordinates())
    # A flow's networks compute in float32, the graph of them in double.
    tolerance = 1e-4 if guide == "flow" else 1e-10
    for row in noise:
        at = start + 0.3 * torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        q = torch.cat([at, row]).requires_grad_()
        value = goal.value(q)
        (slope,) = torch.autograd.grad(value, q)
        for found, gradient in (
            goal.loss_and_grad(q.detach()),
            [goal.function.replay(q.detach())[0][0], goal.function.replay(q.detach())[1]],
        ):
            assert float(found) == pytest.approx(float(value.detach()), rel=tolerance, abs=tolerance)
            bound = tolerance * max(1.0, float(slope[:n].abs().max()))
            torch.testing.assert_close(gradient, slope[:n], rtol=0, atol=bound)


OPTIMISERS = {
    "SGD": su.optim.SGD(lr=0.01),
    "momentum": su.optim.SGD(lr=0.01, momentum=0.9, dampening=0.1, weight_decay=0.1),
    "Nesterov": su.optim.SGD(lr=0.01, momentum=0.9, nesterov=True),
    "Adam": su.optim.Adam(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05),
    "AdamW": su.optim.AdamW(lr=0.02, weight_decay=0.1),
    "Adagrad": su.optim.Adagrad(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2),
    "RMSprop": su.optim.RMSprop(lr=0.01, weight_decay=0.1),
    "RMSprop, momentum": su.optim.RMSprop(lr=0.01, momentum=0.5),
    "clipped": su.optim.ClippedAdam({"lr": 0.02, "clip_norm": 0.7, "lrd": 0.95}),
    "clipped norm": su.optim.Adam(lr=0.02, clip_norm=0.5),
    "NAdam": su.optim.NAdam(lr=0.02),
    "per parameter": su.optim.Adam(lambda name: {"lr": 0.05 if "loc" in name else 0.01}),
    "plateau": su.optim.Adam(
        lr=0.1, scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=10.0)
    ),
}
IN_C = {"SGD", "momentum", "Nesterov", "Adam", "AdamW", "Adagrad", "RMSprop", "RMSprop, momentum", "clipped", "clipped norm"}


PARTICLES = {"one": Trace_ELBO(), "three": RenyiELBO(0.3, num_particles=3)}
EACH = [(name, "one") for name in OPTIMISERS]


@pytest.mark.reuse  # of the same programs, again and again
@pytest.mark.parametrize(
    ("optim", "particles"), few([*EACH, *((name, "three") for name in OPTIMISERS)], [*EACH, ("Adam", "three")])
)
def test_the_loop_in_c_takes_torchs_steps(optim, particles, monkeypatch):
    runs = {}
    for engine in ("native", "torch"):
        if engine == "torch":  # the optimiser is torch's, and the loss that of the C
            monkeypatch.setattr("sursum.training.compiled_steps.rule_of", lambda optimizer: None)
        svi = SVI(small, autoguide.AutoNormal(small), OPTIMISERS[optim], PARTICLES[particles], seed=5, engine="native")
        svi.run(7)
        svi.run(6)
        assert svi.run(1).engine == "native"
        runs[engine] = svi
    assert (rule_of(runs["native"].optimizer) is not None) == (optim in IN_C or optim == "plateau")
    torch.testing.assert_close(runs["native"].losses, runs["torch"].losses, rtol=1e-9, atol=1e-9)
    for name, leaf in runs["torch"].params.unconstrained.items():
        torch.testing.assert_close(runs["native"].params.unconstrained[name], leaf, rtol=1e-9, atol=1e-9)
    mine, theirs = (runs[engine].optimizer.state_dict() for engine in ("native", "torch"))
    assert mine["param_groups"][0]["lr"] == pytest.approx(theirs["param_groups"][0]["lr"])
    for index, entries in theirs["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(mine["state"][index][key], value, rtol=1e-9, atol=1e-12)


KEEPING = [
    (name, engine) for name in ("Adam", "momentum", "Adagrad", "RMSprop", "clipped", "NAdam") for engine in ("native", "torch")
]


@pytest.mark.reuse  # of the same programs, again and again
@pytest.mark.parametrize(("optim", "engine"), few(KEEPING, [("Adam", "native"), ("clipped", "native"), ("momentum", "torch")]))
def test_a_compiled_run_that_was_killed_and_resumed_equals_one_that_was_not(optim, engine, tmp_path):
    def svi(seed):
        return SVI(small, autoguide.AutoNormal(small), OPTIMISERS[optim], seed=seed, engine=engine)

    steps = (1300, 1100) if engine == "native" and optim in {"Adam", "momentum"} else (9, 8)  # more than a block of noise
    whole, first, second = svi(1), svi(1), svi(2)
    whole.run(sum(steps))
    first.run(steps[0])
    first.save(tmp_path / "state.npz")
    second.load(tmp_path / "state.npz")
    second.run(steps[1])
    assert torch.equal(second.losses, whole.losses)
    for name, leaf in whole.params.unconstrained.items():
        assert torch.equal(second.params.unconstrained[name], leaf)


@pytest.mark.reuse  # of the same programs, again and again
def test_going_back_to_a_file_in_the_middle_of_a_run_repeats_it(tmp_path):
    svi = SVI(small, autoguide.AutoNormal(small), su.optim.Adam(lr=0.01), seed=3)
    svi.run(10)
    svi.save(tmp_path / "state.npz")
    once = svi.run(20).losses
    svi.optimizer.param_groups[0]["betas"] = (0.5, 0.5)
    assert not torch.equal(svi.run(20).losses, once)
    svi.load(tmp_path / "state.npz")
    assert svi.optimizer.param_groups[0]["betas"] == [0.9, 0.999]
    assert torch.equal(svi.run(20).losses, once)
    other = SVI(small, autoguide.AutoNormal(small), su.optim.Adam(lr=0.01), seed=4)
    other.run(5)
    other.load(tmp_path / "state.npz")
    assert torch.equal(other.run(20).losses, once)


@pytest.mark.reuse  # of the same programs, again and again
def test_a_run_in_pieces_is_the_run_in_one():
    runs = [SVI(small, autoguide.AutoNormal(small), su.optim.Adam(lr=0.01), seed=3) for _ in range(2)]
    runs[0].run(40)
    for steps in (1, 20, 19):
        runs[1].run(steps)
    assert torch.equal(runs[0].losses, runs[1].losses)
    assert torch.equal(runs[0].params["auto.loc.z"], runs[1].params["auto.loc.z"])


def test_other_data_are_compiled_anew_and_what_changed_outside_as_well():
    weight = {"beta": 1.0}

    def annealed(y=Y):
        mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
        with su.poutine.scale(scale=weight["beta"]):
            su.sample("y", dist.Normal(mu, 1.0).expand([4]).to_event(1), obs=y)

    svi = SVI(annealed, autoguide.AutoDelta(annealed), su.optim.SGD(lr=1e-12), seed=0)
    y, seen = Y.clone(), []

    def loss(*args):
        seen.append(float(svi.run(1, *args).losses[0]))
        assert seen[-1] == pytest.approx(svi.evaluate_loss(*args), rel=1e-6)
        return svi._last[1]

    first = loss(y)
    assert loss(y) is first
    y += 1.0
    second = loss(y)
    weight["beta"] = 0.5
    third = loss(y)
    fourth = loss(Y)
    assert len({id(engine) for engine in (first, second, third, fourth)}) == 4
    assert seen[0] == pytest.approx(seen[1])
    assert len({round(value, 6) for value in seen[1:]}) == 4


def test_noise_becomes_the_numbers_that_distributions_want():
    source = torch.cat([torch.full((5,), 0.7), torch.full((10,), 0.25)]).double()
    with Noise(source) as noise:
        drawn = [
            torch.normal(torch.full((2,), 3.0), torch.full((2,), 2.0)),
            torch.randn(1),
            torch.empty(1).normal_(1.0, 2.0),
            torch.normal(1.0, 2.0, (1,)),
            torch.rand(2),
            torch.empty(1).uniform_(2.0, 4.0),
            torch.empty(1).exponential_(2.0),
            torch.empty(1).cauchy_(1.0, 2.0),
        ]
    wanted = [
        *([4.4, 4.4], [0.7], [2.4], [2.4], [0.25, 0.25]),
        *([2.5], [-np.log(0.75) / 2], [1.0 - 2.0]),
    ]
    for found, numbers in zip(drawn, wanted, strict=True):
        torch.testing.assert_close(found.double(), torch.tensor(numbers).double(), rtol=1e-6, atol=1e-6)
    assert noise.kinds == [(NORMAL, 2), (NORMAL, 1), (NORMAL, 1), (NORMAL, 1), (UNIFORM, 2), *[(UNIFORM, 1)] * 3]
    weights = torch.tensor([[0.0, 1.0, 1.0, 2.0], [3.0, 0.0, 0.0, 0.0]])
    with Noise(torch.tensor([0.0, 0.2499, 0.25, 0.4999, 0.5, 0.9999, *[0.0, 0.1, 0.3, 0.6, 0.9, 0.9999], 0.29, 0.31]).double()):
        which = torch.multinomial(weights, 6, True)
        coins = torch.bernoulli(torch.tensor([0.3, 0.3]))
    assert which.tolist() == [[1, 1, 2, 2, 3, 3], [0] * 6]
    assert coins.tolist() == [1.0, 0.0]
    with Noise(torch.zeros(1).double()), pytest.raises(CaptureError, match=r"draws more numbers than in its first run"):
        torch.randn(2)
    with Noise(), pytest.raises(CaptureError, match=r"the draw by aten::multinomial is not"):
        torch.multinomial(weights, 2)
    with Noise(), pytest.raises(CaptureError, match=r"the draw by aten::_standard_gamma is not a smooth function of normal"):
        dist.Gamma(torch.tensor(1.0), 1.0).rsample()


def test_a_block_of_noise_is_normal_where_it_should_be_and_uniform_elsewhere():
    rows = block([(NORMAL, 2), (UNIFORM, 1)], 20000, 3)
    assert rows.shape == (20000, 3)
    assert abs(float(rows[:, :2].mean())) < 4 / 200
    assert abs(float(rows[:, :2].var()) - 1.0) < 4 * (2 / 40000) ** 0.5
    assert abs(float(rows[:, 2].mean()) - 0.5) < 4 * (1 / 12 / 20000) ** 0.5
    assert 0.0 <= float(rows[:, 2].min()) < 0.001


def test_what_cannot_be_captured_runs_as_it_is_with_a_note():
    def branching(y=Y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu if mu > 0 else -mu, 1.0), obs=torch.tensor(1.0))

    svi = SVI(branching, autoguide.AutoNormal(branching), su.optim.Adam(lr=0.01), seed=0)
    with pytest.warns(
        EngineWarning, match=r"the programs are run by Python at every step, which is slow: .* looked at a value"
    ):
        assert svi.run(2).engine == "eager"
    asked = SVI(branching, autoguide.AutoNormal(branching), su.optim.Adam(lr=0.01), seed=0, engine="native")
    with pytest.raises(CaptureError, match="looked at a value that depends on the unknowns"):
        asked.run(2)


def test_an_engine_that_cannot_be_had_says_why():
    def discrete():
        k = su.sample("k", dist.Bernoulli(0.5))
        su.sample("y", dist.Normal(k, 1.0), obs=torch.tensor(1.0))

    def guess():
        su.sample("k", dist.Bernoulli(su.param("p", torch.tensor(0.5), constraint=dist.constraints.unit_interval)))

    svi = SVI(discrete, guess, su.optim.Adam(lr=0.01), seed=0, engine="native")
    with pytest.raises(CaptureError, match=r"engine='native' cannot run this: draws of site 'k' cannot be differentiated"):
        svi.run(1)
    assert SVI(discrete, guess, su.optim.Adam(lr=0.01), seed=0).run(1).engine == "torch"

    with pytest.raises(VariationalError, match=r"`engine` is 'gpu', but must be 'native', 'torch', 'eager' or None"):
        SVI(model, by_hand, su.optim.Adam(lr=0.01), engine="gpu")


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_loss_that_is_not_finite_in_a_compiled_run_names_the_site(engine):
    def steep():
        mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        su.factor("penalty", (mu - 3.0).log())

    svi = SVI(
        steep, autoguide.AutoDelta(steep, init_loc_fn=lambda site: torch.tensor(3.5)), su.optim.SGD(lr=1.0), engine=engine
    )
    with pytest.raises(VariationalError, match=r"the loss is nan: the log density of site 'penalty' .* in the model is nan"):
        svi.run(100)
    # Steps until then were taken: from 3.5 the first goes to 3.5 − 3.5 + 1/0.5 = 2.
    assert len(svi.losses) == 1
    assert float(svi.params["auto.loc.mu"].detach()) == pytest.approx(2.0)


def test_a_schedule_is_where_it_should_be_after_a_run_that_failed():
    def steep():
        mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        su.factor("penalty", (mu - 3.0).log())

    guide = autoguide.AutoDelta(steep, init_loc_fn=lambda site: torch.tensor(3.5))
    optim = su.optim.SGD(lr=1.0, scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5))
    svi = SVI(steep, guide, optim, engine="native")
    with pytest.raises(VariationalError, match="penalty"):
        svi.run(100)
    assert svi.optimizer.param_groups[0]["lr"] == pytest.approx(0.5 ** len(svi.losses))


@pytest.mark.parametrize("kind", few(["AutoNormal", "AutoMultivariateNormal"], ["AutoMultivariateNormal"]))
def test_particles_of_programs_that_take_no_batch_are_drawn_one_after_another(kind):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()

    def network(x, y):
        f = su.module("net", net)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f(x).squeeze(-1), 0.5), obs=y)

    model = su.lift(network, dist.Normal(0.0, 1.0))
    x, y = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(10, 2), torch.linspace(0, 1, 10, dtype=torch.float64)

    def trained(vectorize):
        loss = Trace_ELBO(num_particles=4, vectorize_particles=vectorize)
        guide = getattr(su.infer.autoguide, kind)(model)
        return su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.01}), loss, seed=0)

    batch, alone = trained(True), trained(False)
    with pytest.warns(
        EngineWarning, match=r"the 4 particles are drawn one after another: .*a lifted network does not"
    ) as notes:
        found = [batch.step(x, y) for _ in range(3)]
    assert len(notes) == 1
    assert found == [alone.step(x, y) for _ in range(3)]
    assert batch.evaluate_loss(x, y) == alone.evaluate_loss(x, y)
    assert batch.run(2, x, y).engine == "native"


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal"])
def test_steps_by_the_programs_come_from_the_seed_and_leave_torchs_generator_alone(kind):
    def losses():
        svi = SVI(small, getattr(autoguide, kind)(small), su.optim.Adam({"lr": 0.01}), seed=3)
        return [svi.step(Y) for _ in range(3)]

    before = torch.get_rng_state()
    first = losses()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert losses() == first


def test_attention_that_drops_nothing_draws_nothing_and_is_compiled():
    x = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).reshape(1, 1, 3, 2)

    def attentive():
        w = su.sample("w", dist.Normal(torch.zeros(2, 2, dtype=torch.float64), 1.0).to_event(2))
        out = torch.nn.functional.scaled_dot_product_attention(x @ w, x, x)
        su.sample("y", dist.Normal(out.sum(), 1.0), obs=torch.tensor(0.3, dtype=torch.float64))

    svi = SVI(attentive, autoguide.AutoNormal(attentive), su.optim.Adam(lr=0.01), seed=0)
    assert svi.run(2).engine == "native"

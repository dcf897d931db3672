"""`SVI`: steps, parameters, bad input."""

import math
import re
import subprocess
import sys

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, DiagnosticWarning, GuideError, OptimisationError, VariationalError
from sursum.infer import SVI, EarlyStopping, Trace_ELBO
from sursum.infer.autoguide import AutoDelta, AutoNormal

Y = torch.tensor([1.0, 2.0, 3.0])


def model(y=Y):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


def guide(y=Y):
    loc = su.param("loc", torch.tensor(0.0))
    scale = su.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
    su.sample("mu", dist.Normal(loc, scale))


def adam(rate=0.05):
    return su.optim.Adam({"lr": rate})


def test_a_step_is_the_optimisers_step_on_the_gradient_of_the_loss():
    svi = SVI(model, guide, su.optim.SGD({"lr": 0.1}), Trace_ELBO(), seed=3)
    svi.evaluate_loss()
    before = {name: leaf.detach().clone() for name, leaf in svi.params.unconstrained.items()}
    loss = svi.step()
    # q is N(0, 1) and the draw ε, so −loss = 6ε − 1.5ε² + c, with c = −½Σy² − 1.5 log 2π. Of the two roots one is a draw.
    rest = -loss + 0.5 * 14.0 + 1.5 * math.log(2 * math.pi)
    epsilon = min(((6.0 + sign * (36.0 - 6.0 * rest) ** 0.5) / 3.0 for sign in (1.0, -1.0)), key=abs)
    slope_mu = epsilon + (3 * epsilon - 6.0)  # d(−log p)/dμ at μ = ε
    moved = {name: (before[name] - leaf.detach()) / 0.1 for name, leaf in svi.params.unconstrained.items()}
    assert float(moved["loc"]) == pytest.approx(slope_mu, rel=1e-4)
    assert float(moved["scale"]) == pytest.approx(slope_mu * epsilon - 1.0, rel=1e-4)


def test_a_hand_written_guide_finds_the_posterior():
    svi = SVI(model, guide, adam(0.05), Trace_ELBO(num_particles=4), seed=0)
    svi.run(300)
    # The posterior is N(1.5, 1/4).
    assert float(svi.params["loc"].detach()) == pytest.approx(1.5, abs=0.1)
    assert float(svi.params["scale"].detach()) == pytest.approx(0.5, abs=0.1)


def test_unlifted_parameters_of_the_model_are_trained_and_lifted_ones_are_latent():
    def regression(y=Y):
        mu = su.param("mu", torch.tensor(0.0))
        sigma = su.param("sigma", torch.tensor(1.0), constraint=dist.constraints.positive)
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, sigma), obs=y)

    partly = su.lift(regression, {"mu": dist.Normal(0.0, 1e-3)})
    svi = SVI(partly, AutoDelta(partly), adam(0.05), seed=0)
    svi.run(300)
    assert set(svi.params) == {"auto.loc.mu", "sigma"}
    # With μ held at 0 by its prior, σ² is the mean square.
    assert float(svi.params["sigma"].detach()) == pytest.approx((14 / 3) ** 0.5, rel=1e-3)


def test_guides_start_at_the_carried_values():
    net = torch.nn.Linear(3, 1)
    lifted = su.lift(net, dist.Normal(0.0, 1.0))
    x = torch.zeros(2, 3)
    svi = SVI(lambda x: lifted(x), AutoNormal(lambda x: lifted(x)), adam(), seed=0)
    svi.evaluate_loss(x)
    assert torch.equal(svi.params["auto.loc.weight"], net.weight.detach())
    assert torch.equal(svi.params["auto.loc.bias"], net.bias.detach())


def test_the_same_seed_gives_the_same_run_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    runs = [SVI(model, guide, adam(), seed=s).run(5).losses for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def two_schedules(optimizer):
    """One after another, the second with numbers as keys of its state."""
    one = torch.optim.lr_scheduler.ConstantLR(optimizer, 0.1, 3)
    other = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 6], 0.5)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [one, other], [8])


@pytest.mark.parametrize(
    ("optim", "options"),
    [
        (su.optim.Adam({"lr": 0.05}), {}),
        (torch.optim.RMSprop, {}),
        (lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9), {}),
        (su.optim.ClippedAdam({"lr": 0.05, "lrd": 0.99}), {}),
        (su.optim.Adam(lr=0.05, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)), {}),
        (su.optim.Adam(lr=0.05, scheduler=lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 12, 12], 0.5)), {}),
        (su.optim.Adam(lr=0.05, scheduler=two_schedules), {}),
        (su.optim.Adam(lr=0.05), {"early_stopping": EarlyStopping(window=50)}),
    ],
)
def test_a_run_that_was_killed_and_resumed_equals_one_that_was_not(optim, options, tmp_path):
    whole = SVI(model, guide, optim, seed=1, **options)
    whole.run(20)
    first = SVI(model, guide, optim, seed=1, **options)
    first.run(7)
    first.save(tmp_path / "state.npz")
    second = SVI(model, guide, optim, seed=99, **options)
    second.load(tmp_path / "state.npz")
    second.run(13)
    assert torch.equal(second.losses, whole.losses)
    for name, leaf in whole.params.unconstrained.items():
        assert torch.equal(second.params.unconstrained[name], leaf)
    mine, theirs = (svi.optimizer.state_dict() for svi in (whole, second))
    assert mine["param_groups"][0]["lr"] == theirs["param_groups"][0]["lr"]


def test_running_averages_of_baselines_are_resumed(tmp_path):
    def discrete():
        k = su.sample("k", dist.Bernoulli(0.5))
        su.sample("y", dist.Normal(k, 1.0), obs=torch.tensor(1.0))

    def guess():
        p = su.param("p", torch.tensor(0.5), constraint=dist.constraints.unit_interval)
        su.sample("k", dist.Bernoulli(p), infer={"baseline": {"use_decaying_avg_baseline": True}})

    def svi():
        return SVI(discrete, guess, adam(), seed=2)

    whole, first, second = svi(), svi(), svi()
    whole.run(12)
    first.run(6)
    first.save(tmp_path / "state.npz")
    second.load(tmp_path / "state.npz")
    second.run(6)
    assert torch.equal(second.losses, whole.losses)
    assert torch.equal(second.params["p"], whole.params["p"])


def test_a_checkpoint_is_written_on_the_way(tmp_path):
    path = tmp_path / "state.npz"
    seen = []

    class Watching(Trace_ELBO):
        def estimate(self, *arguments):
            seen.append(path.exists())
            return super().estimate(*arguments)

    SVI(model, guide, adam(), Watching(), seed=0, checkpoint=path, checkpoint_every=2).run(4)
    assert seen == [False, False, True, True]


def test_loading_what_was_saved_for_something_else(tmp_path):
    svi = SVI(model, guide, adam(), seed=0)
    with pytest.raises(VariationalError, match=r"there is nothing to save yet: run SVI"):
        svi.save(tmp_path / "state.npz")
    svi.run(2)
    svi.save(tmp_path / "state.npz")
    other = SVI(model, AutoDelta(model), adam(), seed=0)
    other.load(tmp_path / "state.npz")
    with pytest.raises(VariationalError, match=r"Saved: 'loc' \(\), 'scale' \(\); here: 'auto\.loc\.mu' \(\)"):
        other.run(1)
    schedule = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)
    for optim, text in (
        (su.optim.SGD(lr=0.1), r"saved with the optimiser Adam, but this run has SGD"),
        (su.optim.Adam(lr=0.5), r"state\.npz' was written by a run with optim\.lr=0\.05, and here it is 0\.5"),
        (su.optim.Adam(lr=0.05, clip_value=1.0), r"optim\.clip_value=None, and here it is 1\.0"),
        (su.optim.Adam(lr=0.05, scheduler=schedule), r"optim\.initial_lr=None, and here it is 0\.05"),
    ):
        another = SVI(model, guide, optim, seed=0)
        another.load(tmp_path / "state.npz")
        for _ in range(2):  # it is not forgotten that there is a file
            with pytest.raises(VariationalError, match=text):
                another.run(1)
        assert not len(another.losses)
    another = SVI(model, guide, su.optim.Adam(lr=0.5), seed=0)
    another.run(1)
    with pytest.raises(VariationalError, match=r"optim\.lr"):
        another.load(tmp_path / "state.npz")
    assert len(another.losses) == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_run_where_gradients_are_off(mode):
    with mode():
        svi = SVI(model, guide, adam(), seed=0)
        losses = torch.cat([svi.run(3).losses, torch.tensor([svi.step()])])
    plain = SVI(model, guide, adam(), seed=0)
    assert torch.equal(torch.cat([plain.run(3).losses, torch.tensor([plain.step()])]), losses)


def test_clipping():
    plain = SVI(model, guide, su.optim.SGD(lr=1.0), seed=0)
    plain.run(1)
    moved = torch.stack([leaf.detach() for leaf in plain.params.unconstrained.values()])
    for options, wanted in (
        ({"clip_norm": 0.5}, moved * 0.5 / moved.norm()),
        ({"clip_value": 0.3}, moved.clamp(-0.3, 0.3)),
    ):
        clipped = SVI(model, guide, su.optim.SGD(lr=1.0, **options), seed=0)
        clipped.run(1)
        found = torch.stack([leaf.detach() for leaf in clipped.params.unconstrained.values()])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_early_stopping_ends_a_run():
    stopping = EarlyStopping(window=5, patience=2, tolerance=1e9)
    result = SVI(model, guide, adam(), seed=0, early_stopping=stopping).run(100)
    assert result.stopped_early
    assert len(result.losses) == 15


def test_draws_are_a_posterior():
    def program(y=Y):
        s = su.sample("s", dist.Gamma(2.0, 1.0))
        su.deterministic("twice", 2 * s)
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(0.0, s), obs=y)

    svi = SVI(program, AutoNormal(program), adam(0.1), seed=0)
    svi.run(200)
    posterior = svi.sample(200)
    assert list(posterior) == ["s", "twice"]
    assert posterior.latents == ("s",)
    assert posterior["s"].shape == (1, 200)
    assert posterior["s"].dtype == torch.float64
    torch.testing.assert_close(posterior["twice"], 2 * posterior["s"])
    torch.testing.assert_close(torch.from_numpy(posterior.unconstrained[..., 0]).exp(), posterior["s"], rtol=1e-6, atol=0)
    density = su.compile(program)
    lp = [density.value_and_grad(q)[0] for q in posterior.unconstrained[0]]
    torch.testing.assert_close(torch.from_numpy(posterior.stats["lp"][0]), torch.tensor(lp).double(), rtol=1e-5, atol=1e-5)
    # log w = log p − log q, with q a log-normal distribution whose parameters are known.
    loc, scale = (svi.params[f"auto.{part}.s"].detach().double() for part in ("loc", "scale"))
    log_q = torch.distributions.LogNormal(loc, scale).log_prob(posterior["s"])
    log_p = torch.from_numpy(posterior.stats["lp"]) - posterior["s"].log()
    torch.testing.assert_close(torch.from_numpy(posterior.stats["log_weight"]), log_p - log_q, rtol=1e-4, atol=1e-4)
    assert posterior.observed["y"].tolist() == Y.tolist()
    assert posterior.to_arviz().posterior["s"].shape == (1, 200)
    # What the posterior predicts comes from the program at these draws.
    predicted = posterior.predict(seed=0)
    assert predicted["y"].shape == (1, 200, 3)
    again = svi.sample(200)
    assert torch.equal(again["s"], posterior["s"])


def test_a_guide_that_is_far_from_the_posterior_is_warned_about():
    def narrow(y=Y):
        su.sample("mu", dist.Normal(su.param("loc", torch.tensor(1.5)), 0.05))

    svi = SVI(model, narrow, adam(), seed=0)
    with pytest.warns(DiagnosticWarning, match=r"Pareto k is \d+\.\d\d, above 0\.7: the approximation misses"):
        posterior = svi.sample(500)
    assert "Pareto k" in str(posterior.summary())


def walk(y):
    def step(x, y):
        x = su.sample("x", dist.Normal(0.9 * x, 0.5))
        su.sample("y", dist.Normal(x, 0.3), obs=y)
        return x, None

    su.scan(step, torch.tensor(0.0, dtype=torch.float64), y)


def test_a_model_with_a_scan_takes_a_guide_that_draws_all_steps_at_once():
    y = torch.tensor([0.5, 1.0, -0.3, 0.2], dtype=torch.float64)

    def steps(y):
        loc = su.param("loc", torch.zeros(4, dtype=torch.float64))
        su.sample("x", dist.Delta(loc, event_dim=1))

    svi = SVI(walk, steps, adam(0.03), seed=0)
    svi.run(1500, y)
    # The mode is the mean of a normal posterior with this precision.
    difference = torch.eye(4, dtype=torch.float64) - 0.9 * torch.diag(torch.ones(3, dtype=torch.float64), -1)
    precision = difference.T @ difference / 0.25 + torch.eye(4, dtype=torch.float64) / 0.09
    torch.testing.assert_close(svi.params["loc"].detach(), torch.linalg.solve(precision, y / 0.09), rtol=0, atol=1e-3)


# Bad input.


def test_a_guide_with_other_sites():
    def other(y=Y):
        su.sample("nu", dist.Normal(su.param("loc", torch.tensor(0.0)), 1.0))
        su.sample("helper", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    message = "the guide's latent sites are not the model's. Only in the model: 'mu'; only in the guide: 'nu'."
    with pytest.raises(GuideError, match="^" + re.escape(message)):
        SVI(model, other, adam()).run(1)


def test_a_guide_that_draws_what_the_model_observes():
    def eager(y=Y):
        guide()
        su.sample("y", dist.Normal(torch.zeros(3), 1.0))

    with pytest.raises(GuideError, match=r"only in the guide: 'y' \(observed in the model: 'y'\)"):
        SVI(model, eager, adam()).run(1)


def test_a_loss_that_is_not_finite_names_the_site_and_leaves_the_parameters():
    def broken(y=Y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.factor("penalty", torch.where(mu < 100.0, torch.nan, 0.0) * mu)

    svi = SVI(broken, guide, adam(), seed=0)
    with pytest.raises(VariationalError, match=r"the loss is nan: the log density of site 'penalty' .* in the model is nan"):
        svi.run(3)
    assert float(svi.params["loc"].detach()) == 0.0
    assert len(svi.losses) == 0


def test_a_gradient_that_is_not_finite_names_the_parameter():
    def sharp(y=Y):
        loc = su.param("loc", torch.tensor(0.0))
        su.sample("mu", dist.Normal(loc.abs().sqrt(), 1.0))

    with pytest.raises(VariationalError, match=r"the loss is finite, but its gradient by parameter 'loc' is not"):
        SVI(model, sharp, adam(), seed=0).run(1)


def test_nothing_to_optimise():
    with pytest.raises(VariationalError, match=r"the optimiser has no parameters: neither the guide nor the model"):
        SVI(model, lambda y=Y: su.sample("mu", dist.Normal(0.0, 1.0)), adam()).run(1)

    def detached(y=Y):
        su.sample("mu", dist.Normal(su.param("loc", torch.tensor(0.0)).detach(), 1.0))

    with pytest.raises(VariationalError, match=r"the loss does not depend on any parameter"):
        SVI(model, detached, adam()).run(1)


def test_a_discrete_site_under_an_automatic_guide():
    def discrete():
        su.sample("k", dist.Poisson(0.5))

    with pytest.raises(DensityError, match=r"latent site 'k' .* is discrete"):
        SVI(discrete, AutoNormal(discrete), adam()).run(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": 3}, "`model` is 3, but must be a program"),
        ({"guide": None}, "`guide` is None, but must be a program"),
        ({"loss": Trace_ELBO}, "give `Trace_ELBO()`, with parentheses"),
        ({"seed": -1}, "`seed` is -1, but must be an integer of at least 0"),
        ({"checkpoint_every": 0}, "`checkpoint_every` is 0, but must be an integer of at least 1"),
        ({"optim": None}, "`optim` is None, but an optimiser was expected"),
        ({"optim": su.optim.Adam}, "but an optimiser was expected"),
        ({"optim": torch.optim.SGD([torch.zeros(1)], lr=0.1)}, "`optim` is a torch SGD that already has parameters"),
        ({"optim": lambda params: 3}, "`optim` returned a int"),
    ],
)
def test_settings_of_the_wrong_kind(settings, message):
    with pytest.raises(VariationalError, match=re.escape(message)):
        SVI(**{"model": model, "guide": guide, "optim": adam()} | settings)


def test_data_of_another_size_under_local_sites():
    def local(y=Y):
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0).expand([len(y)])), 1.0), obs=y)

    svi = SVI(local, AutoNormal(local), adam(), seed=0)
    svi.evaluate_loss(Y)
    with pytest.raises(GuideError, match=r"latent site 'z' .* has shape \(2,\), and had \(3,\) when AutoNormal was set up"):
        svi.evaluate_loss(Y[:2])
    fresh, message = AutoNormal(local), r"latent site 'y' .* did not exist when AutoNormal was set up, with the sites 'z'"
    with svi.params:
        fresh(Y)
        fresh.model = su.poutine.uncondition(local)
        with pytest.raises(GuideError, match=message):
            fresh(Y)


def test_number_of_steps():
    with pytest.raises(VariationalError, match=r"`num_steps` is 0, but must be an integer of at least 1"):
        SVI(model, guide, adam()).run(0)
    with pytest.raises(VariationalError, match=r"`num_particles` is 0, but must be an integer of at least 1"):
        Trace_ELBO(num_particles=0)
    with pytest.raises(OptimisationError, match=r"`clip_norm` is -1, but must be a number above 0"):
        su.optim.Adam(lr=0.1, clip_norm=-1)
    with pytest.raises(VariationalError, match=r"`window` is 0, but must be an integer of at least 1"):
        EarlyStopping(window=0)
    with pytest.raises(VariationalError, match=r"`tolerance` is -1, but must be a number of at least 0"):
        EarlyStopping(tolerance=-1)


def test_programs_without_parameters_have_a_loss():
    def model():
        su.sample("y", dist.Normal(su.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(0.0))

    def guide():
        su.sample("x", dist.Normal(0.0, 0.5**0.5))  # the posterior, so that every draw has the evidence

    svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.1}), seed=0)
    evidence = float(dist.Normal(0.0, 2**0.5).log_prob(torch.tensor(0.0)))
    assert svi.evaluate_loss() == pytest.approx(-evidence, rel=1e-5)
    assert svi.sample(10)["x"].shape == (1, 10)
    with pytest.raises(VariationalError, match="no parameters"):
        svi.step()


@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize("how", ["run", "step", "fit"])
def test_a_network_that_is_called_itself_is_said(how, lifted):
    net, x, y = torch.nn.Linear(2, 1), torch.ones(5, 2), torch.zeros(5)

    def model(x, y):
        su.module("net", net)
        with su.plate("data", 5):
            su.sample("y", dist.Normal(net(x).squeeze(-1), 1.0), obs=y)

    program = su.lift(model, dist.Normal(0.0, 1.0)) if lifted else model
    guide = su.infer.autoguide.AutoNormal(program) if lifted else lambda x, y: None
    svi = su.infer.SVI(program, guide, su.optim.Adam({"lr": 0.1}), seed=0)
    runs = {
        "run": lambda: svi.run(2, x, y),
        "step": lambda: svi.step(x, y),
        "fit": lambda: su.infer.Fit(program, optim=lambda ps: torch.optim.SGD(ps, 0.1), num_steps=2, seed=0).run(x, y),
    }
    with pytest.raises(DensityError, match=r"'net.weight' .* the network's own value of it is read at test_svi.py:\d+"):
        runs[how]()


def test_a_network_that_module_returns_is_trained():
    net, x = torch.nn.Linear(2, 1), torch.ones(5, 2)

    def model(x):
        f = su.module("net", net)
        with su.plate("data", 5):
            su.sample("y", dist.Normal(f(x).squeeze(-1), 1.0), obs=torch.full((5,), 3.0))

    svi = su.infer.SVI(model, lambda x: None, su.optim.SGD({"lr": 0.05}), seed=0)
    losses = svi.run(50, x).losses
    assert float(losses[-1]) < float(losses[0])


@pytest.mark.parametrize("fn", [dist.Dirichlet(torch.ones(3)), dist.LKJCholesky(3, 1.0), dist.Dirichlet(torch.ones(2, 3))])
def test_a_median_that_is_no_value_of_the_site_is_left_for_the_middle(fn):
    model = lambda: su.sample("p", fn)
    init = su.infer.autoguide.init_to_median
    with su.ParamStore() as store, su.seed(rng_seed=0):  # of some draws one is the median in every element
        su.infer.autoguide.AutoNormal(model, init_loc_fn=init)()
    assert torch.allclose(store["auto.loc.p"].detach(), torch.zeros_like(store["auto.loc.p"]), atol=1e-5)
    site = su.trace(lambda: su.sample("v", dist.Normal(torch.full((3,), 2.0), 0.01).to_event(1))).get_trace()["v"]
    assert torch.allclose(init(site), torch.tensor(2.0), atol=0.05)


def test_a_run_shows_itself_where_that_is_wanted(capsys):
    def model():
        su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(1.0))

    losses = []
    for wanted in (None, False, True):
        svi = SVI(model, AutoNormal(model), su.optim.Adam({"lr": 0.1}), seed=0, progress=wanted, engine="eager")
        svi.run(20)
        losses.append(svi.losses.tolist())
        shown = capsys.readouterr().err
        if not wanted:
            assert shown == ""
    assert losses[0] == losses[1] == losses[2]
    assert re.search(rf"━{{24}}  20/20 steps  loss {sum(losses[0]) / 20:.6g}\x1b\[K\n$", shown)


@pytest.mark.parametrize("engine", [None, "torch", "eager"])
def test_a_parameter_that_a_later_step_meets_is_trained(engine):
    flag = [False]

    def model():
        su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", torch.tensor(0.0))

    def guide():
        scale = su.param("log_scale", torch.tensor(0.0)).exp() if flag[0] else 1.0  # the loss of the first step is the same
        su.sample("z", dist.Normal(su.param("loc", torch.tensor(0.5)), scale))

    svi = su.infer.SVI(model, guide, su.optim.Adam(lr=0.01), seed=0, engine=engine)
    svi.step()
    flag[0] = True
    svi.step()
    svi.step()
    assert set(svi.params) == {"loc", "log_scale"}
    assert float(svi.params["log_scale"].detach()) != 0.0


@pytest.mark.parametrize("engine", [None, "torch"])
def test_a_tuple_outside_the_program_is_read_again_where_it_is_replaced(engine):
    class Settings:
        prior = (0.0, 1.0)

    settings = Settings()

    def model():
        su.sample("z", dist.Normal(*settings.prior))
        su.factor("f", torch.tensor(0.0))

    svi = su.infer.SVI(
        model,
        lambda: su.sample("z", dist.Delta(su.param("z_at", torch.tensor(0.0)))),
        su.optim.SGD(lr=0.0),
        seed=0,
        engine=engine,
    )
    before = svi.step()
    settings.prior = (10.0, 1.0)
    assert svi.step() == pytest.approx(before + 50.0)


DYNAMO = """
import sys, torch, sursum as su, sursum.distributions as dist
def model(y):
    su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)
guide = su.infer.autoguide.AutoNormal(model)
su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.1}), seed=0, engine="native", progress=False).run(20, torch.tensor(1.0))
assert "torch._dynamo" not in sys.modules
own = [one.__wrapped__ for one in vars(torch.optim.Optimizer).values() if hasattr(one, "__wrapped__")]
assert own and not any(hasattr(one, "__dynamo_disable") for one in own)
"""


@pytest.mark.slow
def test_steps_in_c_do_not_wait_for_dynamo():
    """torch's optimisers import it, two seconds, to hide their making from `torch.compile`."""
    done = subprocess.run([sys.executable, "-c", DYNAMO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Maximum likelihood and modes, against closed forms; how a fit ends, and where it leads."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DensityError, DiagnosticWarning, EngineWarning, HandlerError, ObservationError, OptimisationError

Fit = su.infer.Fit
double = partial(torch.tensor, dtype=torch.float64)
ADAM = partial(torch.optim.Adam, lr=0.05)


def normal(y, batch=None):
    mu = su.param("mu", double(0.0))
    sigma = su.param("sigma", double(1.0), constraint=constraints.positive)
    with su.plate("data", len(y), subsample_size=batch) as i:
        su.sample("y", dist.Normal(mu, sigma), obs=y[i])
    su.deterministic("cv", sigma / mu)


@pytest.fixture
def y():
    return 3.0 + 2.0 * torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def close(found, wanted, **tolerance):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), **{"rtol": 1e-7, **tolerance})


class TestMaximumLikelihood:
    def test_of_a_normal_with_standard_errors(self, y):
        found = Fit(normal).run(y)
        mu, sigma = y.mean(), y.std(correction=0)
        close(found["mu"], mu)
        close(found["sigma"], sigma)
        close(found["cv"], sigma / mu)
        close(found.standard_errors["mu"], sigma / 40**0.5)
        close(found.standard_errors["sigma"], sigma / 80**0.5)
        # The delta method by hand: mu and sigma are independent.
        close(found.standard_errors["cv"], ((sigma / mu**2) ** 2 * sigma**2 / 40 + sigma**2 / 80 / mu**2) ** 0.5)
        close(found.log_density, torch.distributions.Normal(mu, sigma).log_prob(y).sum())
        assert found.converged
        assert found.fitted == ("mu", "sigma")
        assert found.message.startswith("Converged after ")

    def test_of_a_regression_on_badly_scaled_columns(self):
        rng = np.random.default_rng(1)
        x = rng.normal(size=(60, 3)) * [1.0, 1e3, 1e-3] + [0.0, 5e3, 0.0]
        y = x @ [1.0, 2e-3, 500.0] + rng.normal(size=60)

        def model(x, y):
            w = su.param("w", torch.zeros(3, dtype=torch.float64))
            sigma = su.param("sigma", double(1.0), constraint=constraints.positive)
            with su.plate("data", len(y)):
                su.sample("y", dist.Normal(x @ w, sigma), obs=y)

        found = Fit(model).run(torch.from_numpy(x), torch.from_numpy(y))
        w = np.linalg.lstsq(x, y, rcond=None)[0]
        variance = np.mean((y - x @ w) ** 2)
        assert found.converged
        close(found["w"], w, rtol=1e-6)
        close(found.standard_errors["w"], np.sqrt(np.diag(variance * np.linalg.inv(x.T @ x))), rtol=1e-5)

    def test_of_proportions(self):
        def model(counts):
            p = su.param("p", torch.full((3,), 1 / 3, dtype=torch.float64), constraint=constraints.simplex)
            su.sample("n", dist.Multinomial(30, p), obs=counts)

        found = Fit(model).run(double([12.0, 15.0, 3.0]))
        p = np.array([0.4, 0.5, 0.1])
        close(found["p"], p)
        close(found.standard_errors["p"], np.sqrt(p * (1 - p) / 30))

    def test_of_a_logistic_regression(self):
        rng = np.random.default_rng(2)
        x = rng.normal(size=(100, 2))
        y = (rng.uniform(size=100) < 1 / (1 + np.exp(-x @ [1.0, -2.0]))).astype(float)
        w = np.zeros(2)
        for _ in range(30):  # Newton's method, written out
            p = 1 / (1 + np.exp(-x @ w))
            information = (x.T * (p * (1 - p))) @ x
            w = w + np.linalg.solve(information, x.T @ (y - p))

        def model(x, y):
            w = su.param("w", torch.zeros(2, dtype=torch.float64))
            with su.plate("data", len(y)):
                su.sample("y", dist.Bernoulli(logits=x @ w), obs=y)

        found = Fit(model).run(torch.from_numpy(x), torch.from_numpy(y))
        close(found["w"], w)
        close(found.standard_errors["w"], np.sqrt(np.diag(np.linalg.inv(information))))

    def test_of_a_network(self):
        rng = torch.Generator().manual_seed(3)
        x = torch.randn(50, 2, generator=rng, dtype=torch.float64)
        y = x @ double([1.0, -1.0]) + 0.5 + 0.1 * torch.randn(50, generator=rng, dtype=torch.float64)
        net = nn.Linear(2, 1).double()
        before = {name: value.clone() for name, value in net.state_dict().items()}

        def model(x, y):
            f = su.module("net", net)(x).squeeze(-1)
            with su.plate("data", len(y)):
                su.sample("y", dist.Normal(f, 0.1), obs=y)

        found = Fit(model).run(x, y)
        design = torch.cat([x, torch.ones(50, 1, dtype=torch.float64)], 1)
        w = torch.linalg.lstsq(design, y).solution
        close(found["net.weight"][0], w[:2])
        close(found["net.bias"], w[2:])
        assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
        with found.params:
            fitted = su.module("net", net)
        assert torch.equal(fitted.weight, found["net.weight"])

    def test_a_wide_fit_is_lbfgs_alone(self):
        target = torch.linspace(-1, 1, 600, dtype=torch.float64)

        def model():
            w = su.param("w", torch.zeros(600, dtype=torch.float64))
            su.factor("f", -((w - target) ** 2 * torch.linspace(1, 9, 600, dtype=torch.float64)).sum())

        found = Fit(model).run()
        assert found.converged
        close(found["w"], target, rtol=0, atol=2e-4)

    @pytest.mark.parametrize("engine", ["native", "torch"])
    def test_engines_agree(self, y, engine):
        close(Fit(normal, engine=engine).run(y)["sigma"], y.std(correction=0))


class TestMode:
    def test_of_a_conjugate_normal(self, y):
        def model(y):
            mu = su.sample("mu", dist.Normal(double(1.0), 2.0))
            with su.plate("data", len(y)):
                su.sample("y", dist.Normal(mu, 3.0), obs=y)

        found = Fit(model).run(y)
        precision = 1 / 4 + 40 / 9
        close(found["mu"], (1.0 / 4 + y.sum() / 9) / precision)
        close(found.standard_errors["mu"], precision**-0.5)

    @pytest.mark.parametrize(("jacobian", "shape"), [(False, 6.0), (True, 7.0)])
    def test_with_and_without_the_jacobian(self, jacobian, shape):
        """Rate of a Poisson under Gamma(3, 2), counts summing to 4 in 5: the posterior is Gamma(7, 7)."""

        def model():
            rate = su.sample("rate", dist.Gamma(double(3.0), 2.0))
            with su.plate("data", 5):
                su.sample("y", dist.Poisson(rate), obs=double([0.0, 1.0, 2.0, 1.0, 0.0]))

        close(Fit(model, jacobian=jacobian).run()["rate"], shape / 7.0)

    def test_parameters_have_no_jacobian(self, y):
        close(Fit(normal, jacobian=True).run(y)["sigma"], y.std(correction=0))

    def test_parameters_and_latent_sites_together(self, y):
        """The mode over z and the maximum over sigma of N(y | z, sigma) N(z | 1, 0.5)."""

        def model(y):
            z = su.sample("z", dist.Normal(double(1.0), 0.5))
            sigma = su.param("sigma", double(1.0), constraint=constraints.positive)
            with su.plate("data", len(y)):
                su.sample("y", dist.Normal(z, sigma), obs=y)

        found = Fit(model).run(y)
        z, sigma = float(found["z"]), float(found["sigma"])
        close(sigma, float((y - z).square().mean().sqrt()))
        close(z, float((1 / 0.25 + y.sum() / sigma**2) / (1 / 0.25 + 40 / sigma**2)))
        assert found.fitted == ("z", "sigma")
        assert list(found.params) == ["sigma"]

    def test_a_lifted_program(self, y):
        lifted = su.lift(normal, {"mu": dist.Normal(0.0, 1.0)})
        found = Fit(lifted).run(y)
        sigma = float(found["sigma"])
        close(found["mu"], float(y.sum() / sigma**2 / (1 + 40 / sigma**2)))
        assert list(found.params) == ["sigma"]


class TestSteps:
    def test_a_torch_optimiser_finds_the_same(self, y):
        found = Fit(normal, optim=partial(torch.optim.Adam, lr=0.2), num_steps=150).run(y)
        close(found["mu"], y.mean(), rtol=1e-3)
        close(found["sigma"], y.std(correction=0), rtol=1e-3)
        close(found.standard_errors["mu"], y.std(correction=0) / 40**0.5, rtol=1e-2)
        assert found.message.startswith("Converged: between the last two tenths of 150 steps")

    @pytest.mark.filterwarnings("ignore:Not converged")
    def test_optimisers_of_ours_take_the_steps_of_torchs(self, y):
        for ours in (su.optim.Adam({"lr": 0.2}), su.optim.Adam(lr=0.2), torch.optim.Adam):
            theirs = partial(torch.optim.Adam, lr=1e-3 if ours is torch.optim.Adam else 0.2)
            a, b = (Fit(normal, optim=optim, num_steps=30).run(y) for optim in (ours, theirs))
            assert torch.equal(a["mu"], b["mu"])
            assert torch.equal(a["sigma"], b["sigma"])

    @pytest.mark.filterwarnings("ignore:Not converged")
    def test_options_by_parameter_clipping_and_a_schedule(self):
        """Of −x²/2 from 8 with gradients clipped at 1, a step moves by the learning rate, which is halved at each."""

        def model():
            su.factor("f", -(su.param("moves", double(8.0)) ** 2 + su.param("stays", double(8.0)) ** 2) / 2.0)

        halved = lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        rates = lambda name: {"lr": 1.0 if name == "moves" else 0.0}
        found = Fit(model, optim=su.optim.SGD(rates, clip_value=1.0, scheduler=halved), num_steps=4).run()
        assert (float(found["moves"]), float(found["stays"])) == (8.0 - 1.0 - 0.5 - 0.25 - 0.125, 8.0)
        found = Fit(model, optim=su.optim.SGD(lr=1.0, clip_norm=5.0), num_steps=1).run()
        close(found["moves"], 8.0 - 5.0 / 2**0.5)

    def test_an_optimiser_with_a_closure(self, y):
        found = Fit(normal, optim=partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"), num_steps=20).run(y)
        close(found["sigma"], y.std(correction=0), rtol=1e-5)

    def test_minibatches(self, y):
        """Stochastic steps wander about the maximum: within a standard error of the mean, itself a third of a fit's."""
        found = Fit(normal, optim=partial(torch.optim.Adam, lr=0.05), num_steps=400, seed=0).run(y, 10)
        sigma = float(y.std(correction=0))
        assert abs(float(found["mu"] - y.mean())) < sigma / 40**0.5
        assert abs(float(found["sigma"]) - sigma) < sigma / 80**0.5
        assert bool(found.standard_errors["mu"].isnan())
        assert found.density is None
        assert "mu" in str(found)

    def test_minibatches_with_a_latent_site_for_each_element(self):
        """z_i ~ N(0, 1), y_i ~ N(z_i, 1): the mode is y / 2, whichever elements are present in a step."""
        y = torch.linspace(-2, 2, 12, dtype=torch.float64)

        def model():
            with su.plate("data", 12, subsample_size=4) as i:
                z = su.sample("z", dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0))
                su.sample("y", dist.Normal(z, 1.0), obs=y[i])

        found = Fit(model, optim=partial(torch.optim.SGD, lr=0.25), num_steps=80, seed=1).run()
        assert found["z"].shape == (12,)
        close(found["z"], y / 2, atol=1e-6)

    def test_minibatches_of_a_lifted_local_parameter_start_at_its_value(self):
        y = torch.linspace(1, 2, 6, dtype=torch.float64)

        def model():
            with su.plate("data", 6, subsample_size=2) as i:
                z = su.param("z", 7.0 + torch.arange(6.0, dtype=torch.float64), event_dim=0)
                su.sample("y", dist.Normal(z, 1.0), obs=y[i])

        lifted = su.lift(model, {"z": dist.Normal(0.0, 1.0)})
        start = Fit(lifted, optim=partial(torch.optim.SGD, lr=1e-12), num_steps=20, seed=0).run()
        close(start["z"], 7.0 + np.arange(6))

    def test_with_the_jacobian(self):
        model = lambda: su.sample("rate", dist.Gamma(double(3.0), 2.0))
        sgd = partial(torch.optim.SGD, lr=0.3)
        close(Fit(model, optim=sgd, num_steps=60, jacobian=True).run()["rate"], 1.5, rtol=1e-6)
        close(Fit(model, optim=sgd, num_steps=60).run()["rate"], 1.0, rtol=1e-6)

    @pytest.mark.filterwarnings("ignore:Not converged")
    def test_a_seed_decides(self, y):
        first, second, other = (Fit(normal, optim=ADAM, num_steps=20, seed=seed).run(y, 10) for seed in (1, 1, 2))
        assert torch.equal(first["mu"], second["mu"])
        assert not torch.equal(first["mu"], other["mu"])


class TestWhereItLeads:
    def test_lift_of_the_fitted_program_starts_there(self, y):
        found = Fit(normal).run(y)
        lifted = su.lift(found.program, {"mu": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)})
        tr = su.trace(lifted).get_trace(y)
        assert torch.equal(tr["mu"].init, found["mu"])
        assert torch.equal(tr["sigma"].init, found["sigma"])

    def test_the_store_has_the_parameters(self, y):
        found = Fit(normal).run(y)
        with found.params:
            tr = su.trace(normal).get_trace(y)
        close(tr["sigma"].value.detach(), found["sigma"], rtol=1e-12)
        close(found.params["mu"].detach(), found["mu"])

    def test_a_fit_starts_a_fit(self, y):
        first = Fit(normal).run(y)
        again = Fit(normal, init=first).run(y)
        assert again.num_steps <= 1
        close(again["mu"], first["mu"], rtol=1e-9)
        assert Fit(normal, init=first.params).run(y).num_steps <= 1

    def test_a_mapping_starts_a_fit(self, y):
        with pytest.warns(DiagnosticWarning):
            found = Fit(normal, init={"mu": 100.0}, optim=partial(torch.optim.SGD, lr=1e-12), num_steps=1).run(y)
        close(found["mu"], 100.0, rtol=1e-6)
        close(found["sigma"], 1.0, rtol=1e-6)

    def test_values_can_be_substituted(self, y):
        found = Fit(normal).run(y)
        tr = su.trace(su.substitute(normal, data={name: found[name] for name in found.fitted})).get_trace(y)
        close(tr.log_prob_sum(), found.log_density)

    def test_values_are_in_double_precision(self):
        found = Fit(lambda: su.factor("f", -((su.param("x", torch.tensor(0.0)) - 1.0) ** 2))).run()
        assert found["x"].dtype is torch.float64
        assert found.standard_errors["x"].dtype is torch.float64
        close(found.standard_errors["x"], 0.5**0.5)

    def test_torchs_generator_is_left_alone(self, y):
        before = torch.random.get_rng_state()
        Fit(normal).run(y)
        with pytest.warns(DiagnosticWarning):
            Fit(normal, optim=ADAM, num_steps=3, seed=0).run(y, 10)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_its_table(self, y):
        wide = Fit(lambda: su.factor("f", -(su.param("w", torch.ones(20)) ** 2).sum())).run()
        lines = str(wide).splitlines()
        assert lines[0].split() == ["value", "standard", "error"]
        assert lines[11].strip() == "… 9 more"
        assert lines[12].split()[0] == "w[19]"
        with pytest.raises(KeyError, match=r"no site 'v' in this fit\. It has 'w'"):
            wide["v"]


class TestBadInput:
    def test_nothing_to_fit(self):
        message = "the program has no latent site and no parameter, so there is nothing"
        model = lambda: su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))
        with pytest.raises(DensityError, match=message):
            Fit(model).run()
        with pytest.raises(DensityError, match=message):
            Fit(model, optim=ADAM).run()

    def test_a_frozen_network_says_so(self):
        net = nn.Linear(1, 1).requires_grad_(False)
        model = lambda: su.factor("f", su.module("net", net)(torch.ones(1)).sum())
        with pytest.raises(DensityError, match="requires_grad=False"):
            Fit(model).run()
        with pytest.raises(DensityError, match="requires_grad=False"):
            Fit(model, optim=ADAM).run()

    def test_a_discrete_site(self):
        model = lambda: su.sample("k", dist.Poisson(1.0))
        for optim in (None, ADAM):
            with pytest.raises(DensityError, match="latent site 'k' .* is discrete .Poisson.*sum it out by hand"):
                Fit(model, optim=optim).run()

    def test_a_subsampled_plate_needs_steps(self, y):
        with pytest.raises(DensityError, match=r"plate 'data' .* is subsampled.*takes minibatches: Fit\(…, optim=…\)"):
            Fit(normal).run(y, 10)

    def test_a_start_without_a_density_names_the_site(self):
        def model():
            x = su.param("x", double(1.0))
            su.factor("wall", torch.where(x > 1e6, x, -torch.inf))

        with pytest.raises(
            DensityError, match=r"(?s)nowhere to start: .* not finite, by 'wall'\. A finite value.*Give initial"
        ):
            Fit(model).run()

    def test_a_start_is_looked_for(self):
        def model():
            x = su.param("x", double(0.0))
            su.factor("log", x.abs().log() - x**2)

        close(Fit(model).run()["x"].abs(), 0.5**0.5)

    def test_a_start_where_the_program_fails_is_left_for_another(self):
        table = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)

        def model():
            x = su.sample("x", dist.Normal(double(0.0), 1.0))
            k = torch.where(x.abs() > 0.2, 1, 7).reshape(1)  # outside of the table where the fit would start
            su.factor("f", -((table[k] - x) ** 2).sum())

        close(Fit(model).run()["x"], 4.0 / 3.0)

    def test_values_that_a_site_cannot_have(self, y):
        with pytest.raises(DensityError, match=r"given for site 'sigma' .* is -1, outside its support GreaterThan.*Give one"):
            Fit(normal, init={"sigma": -1.0}).run(y)
        with pytest.raises(DensityError, match=r"given for site 'mu' .* has shape \(2,\), and the site has \(\)\. Give one"):
            Fit(normal, init={"mu": [1.0, 2.0]}).run(y)
        with pytest.raises(
            DensityError, match=r"`init` has a value for 'sigme', which is not a site of the program\. Did you mean 'sigma'"
        ):
            Fit(normal, init={"sigme": 1.0}).run(y)
        with pytest.raises(TypeError, match="`init` is float, but must be values by site name"):
            Fit(normal, init=1.0).run(y)
        with pytest.raises(TypeError, match="`init` has 'one' for 'mu', but must have a number"):
            Fit(normal, init={"mu": "one"}).run(y)

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
    def test_num_steps(self, y, wrong):
        with pytest.raises(OptimisationError, match="`num_steps` is .*, but must be an integer of at least 1"):
            Fit(normal, num_steps=wrong)

    def test_optim(self, y):
        with pytest.raises(OptimisationError, match=r"`optim` is 'adam', but an optimiser was expected: su\.optim\.Adam"):
            Fit(normal, optim="adam")
        with pytest.raises(OptimisationError, match="`optim` returned a int, but a torch optimiser was expected"):
            Fit(normal, optim=lambda tensors: 3)
        with pytest.raises(OptimisationError, match="`optim` is a torch Adam that already has parameters"):
            Fit(normal, optim=torch.optim.Adam([y.clone().requires_grad_()]))

    def test_a_loss_that_is_not_a_number_names_the_site(self):
        def model():
            su.factor("bad", su.param("x", double(1.0)).log())

        message = r"the log density is not finite at step \d+, by 'bad' .*lower the learning rate"
        with pytest.raises(OptimisationError, match=message):
            Fit(model, optim=partial(torch.optim.SGD, lr=10.0, maximize=True), num_steps=50).run()

    def test_too_few_steps(self, y):
        with pytest.warns(DiagnosticWarning, match=r"Not converged: stopped after .* Raise `num_steps`"):
            found = Fit(lambda: su.factor("f", -su.param("x", torch.linspace(1, 9, 700)).pow(4).sum()), num_steps=1).run()
        assert not found.converged

    def test_a_density_without_a_maximum(self):
        with pytest.warns(DiagnosticWarning, match=r"(?s)Not converged: .* most steeply by 'x'"):
            found = Fit(lambda: su.factor("f", su.param("x", double(1.0)))).run()
        assert not found.converged

    def test_a_funnel_has_no_joint_mode(self):
        def model():
            tau = su.sample("tau", dist.HalfNormal(double(1.0)))
            with su.plate("groups", 8):
                theta = su.sample("theta", dist.Normal(0.0, tau))
                su.sample("y", dist.Normal(theta, 10.0), obs=torch.arange(8.0, dtype=torch.float64))

        with pytest.warns(DiagnosticWarning, match="may have no maximum .a scale that goes to 0"):
            Fit(model).run()

    def test_what_the_data_do_not_determine_has_no_standard_error(self):
        def model():
            a, b = su.param("a", double(1.0)), su.param("b", double(2.0))
            su.factor("f", -((a + b - 1.0) ** 2))

        found = Fit(model).run()
        assert found.undetermined == ("a", "b")
        assert bool(found.standard_errors["a"].isnan())
        assert "No standard errors: the log density has no strict maximum in 'a', 'b'." in str(found)

    def test_a_coroutine(self):
        async def model():
            su.param("x", double(0.0))

        with pytest.raises(HandlerError):
            Fit(model).run()

    def test_impossible_data(self):
        model = lambda: su.sample("y", dist.Poisson(su.param("rate", double(1.0))), obs=double(-1.0))
        with pytest.raises(ObservationError):
            Fit(model).run()


def test_steps_are_not_lost_where_the_program_cannot_be_compiled():
    def model():
        w = su.param("w", double(1.0))
        f = w if bool(w > -100.0) else -w
        su.deterministic("twice", 2 * f)
        su.sample("y", dist.Normal(f, 1.0), obs=double(2.0))

    with (
        pytest.warns(EngineWarning, match=r"no standard errors.*cannot be compiled"),
        pytest.warns(EngineWarning, match="run by Python at every step"),
    ):
        found = Fit(model, optim=ADAM, num_steps=500).run()
    assert float(found["w"]) == pytest.approx(2.0, abs=1e-3)
    assert float(found["twice"]) == 2 * float(found["w"])
    assert found.log_density == pytest.approx(-0.5 * np.log(2 * np.pi), abs=1e-6)
    assert found.density is None
    assert "w" in str(found)
    assert float(found.params["w"].detach()) == float(found["w"])


def test_a_network_is_trained_by_steps():
    net, x = nn.Linear(1, 1).double(), torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)[:, None]

    def model():
        su.sample("y", dist.Normal(su.module("net", net)(x), 1.0).to_event(2), obs=3 * x + 1)

    found = Fit(model, optim=ADAM, num_steps=500).run()
    assert float(found["net.weight"]) == pytest.approx(3.0, abs=1e-2)
    assert float(found["net.bias"]) == pytest.approx(1.0, abs=1e-2)

"""What Pyro's tutorials write beside the common calls; the numbers are Pyro 1.9.2's, or exact."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import constraints

import sursum as su
import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import infer, poutine
from sursum.compat.pyro.infer import MCMC, NUTS, SVI, Trace_ELBO, TraceEnum_ELBO, autoguide, config_enumerate
from sursum.compat.pyro.infer.mcmc.util import initialize_model
from sursum.compat.pyro.infer.reparam import AutoReparam, LocScaleReparam, MinimalReparam, NeuTraReparam
from sursum.errors import GuideError, OptionError, PlateError, SamplingError, SiteError


@pytest.fixture(autouse=True)
def _empty_store():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    pyro.clear_param_store()


def coin(flips):
    fair = pyro.sample("fair", dist.Beta(10.0, 10.0))
    with pyro.plate("data", len(flips)):
        pyro.sample("flip", dist.Bernoulli(fair), obs=flips)


def coins_guide(flips):
    a = pyro.param("a", init_tensor=torch.tensor(15.0), constraint=constraints.positive)
    pyro.sample("fair", dist.Beta(a, pyro.param("b", torch.tensor(15.0), constraints.positive)))


FLIPS = torch.tensor([1.0, 1.0, 0.0, 1.0])


def pair():
    pyro.sample("b", dist.Normal(pyro.sample("a", dist.Normal(0.0, 1.0)), 0.5).expand([2]).to_event(1))


# Bounds and steps.


def test_the_loss_of_svi_is_a_function_of_model_and_guide():
    svi = SVI(coin, coins_guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    pyro.set_rng_seed(1)
    loss = svi.loss(coin, coins_guide, FLIPS)
    pyro.set_rng_seed(1)
    assert loss == svi.evaluate_loss(FLIPS)
    pyro.set_rng_seed(1)
    assert svi.loss_and_grads(coin, coins_guide, FLIPS) == pytest.approx(loss, rel=1e-6)
    leaf = pyro.param("a").unconstrained()
    assert leaf.grad is not None
    own = SVI(coin, coins_guide, pyro.optim.Adam({"lr": 0.01}), lambda model, guide, *args: torch.tensor(2.0))
    assert own.loss(coin, coins_guide, FLIPS) == own.evaluate_loss(FLIPS) == 2.0


def test_the_parameters_of_a_loss_are_captured_for_a_torch_optimiser():
    """Model and guide have sites of one name, which a trace of parameters alone does not look at."""
    with poutine.trace(param_only=True) as captured:
        Trace_ELBO().differentiable_loss(coin, coins_guide, FLIPS)
    assert list(captured.trace.nodes) == ["a", "b"]
    leaves = [node["value"].unconstrained() for node in captured.trace.nodes.values()]
    Trace_ELBO().differentiable_loss(coin, coins_guide, FLIPS).backward()
    before = float(pyro.param("a").detach())
    with torch.no_grad():
        for leaf in leaves:
            leaf -= 0.1 * leaf.grad
    assert float(pyro.param("a").detach()) != before


@config_enumerate
def two_kinds(y):
    z = pyro.sample("z", dist.Bernoulli(0.5))
    k = pyro.sample("k", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
    h = pyro.sample("h", dist.OneHotCategorical(torch.tensor([0.4, 0.6])))
    pyro.sample("y", dist.Normal(z + k, 1.0), obs=y)
    return z + 10 * h[..., 1]


def test_marginals_of_discrete_sites():
    found = TraceEnum_ELBO(max_plate_nesting=0).compute_marginals(two_kinds, lambda y: None, torch.tensor(0.5))
    assert list(found) == ["z", "k", "h"]
    assert [type(one).__name__ for one in found.values()] == ["Bernoulli", "Categorical", "OneHotCategorical"]
    table = torch.tensor([0.2, 0.3, 0.5]) * torch.exp(-((0.5 - torch.arange(3.0) - torch.arange(2.0)[:, None]) ** 2) / 2)
    table /= table.sum()
    assert float(found["z"].probs) == pytest.approx(float(table[1].sum()), abs=1e-6)
    assert float(found["z"].probs) == pytest.approx(0.328943, abs=1e-6)  # Pyro's
    assert found["k"].probs.tolist() == pytest.approx(table.sum(0).tolist(), abs=1e-6)
    assert found["h"].probs.tolist() == pytest.approx([0.4, 0.6], abs=1e-6)
    with pytest.raises(OptionError, match="num_particles is 2"):
        TraceEnum_ELBO(num_particles=2).compute_marginals(two_kinds, lambda y: None, torch.tensor(0.5))
    assert float(TraceEnum_ELBO().sample_posterior(two_kinds, lambda y: None, torch.tensor(0.5))) in (0.0, 1.0, 10.0, 11.0)


@pytest.mark.parametrize("expand", [False, True])
def test_values_of_a_discrete_site_are_as_large_as_asked(expand):
    """A guide of the semi-supervised kind: all values of y, a network of x and y, and a draw for each."""
    x, seen = torch.linspace(-1.0, 1.0, 10).reshape(5, 2), []

    def model(x):
        with pyro.plate("data", 5):
            y = pyro.sample("y", dist.OneHotCategorical(torch.ones(5, 3) / 3))
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal((y[..., 0] + z)[..., None].expand(*z.shape, 2), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", 5):
            y = pyro.sample("y", dist.OneHotCategorical(torch.ones(5, 3) / 3))
            seen.append(tuple(y.shape))
            pyro.sample("z", dist.Delta(0.1 * y[..., 1] + 0 * x[..., 0]))

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, config_enumerate(guide, "parallel", expand), x)
    assert seen[-1] == ((3, 5, 3) if expand else (3, 1, 3))
    exact = 0.0
    for k in range(3):
        z = 0.1 * (k == 1)
        exact += (
            float(dist.Normal((k == 0) + z, 1.0).log_prob(x).sum() + 5 * dist.Normal(0.0, 1.0).log_prob(torch.tensor(z))) / 3
        )
    assert loss == pytest.approx(-exact, rel=1e-5)


def test_a_batch_of_sequences_has_the_length_of_its_own_rows():
    """Both runs of an enumerated program have the same rows, and so the same steps."""
    lengths = torch.tensor([1, 2, 3, 4, 5, 6])
    seen = []

    def model():
        with pyro.plate("sequences", 6, subsample_size=1, dim=-1) as rows:
            seen.append(int(rows))
            z = torch.tensor(0)
            for t in pyro.markov(range(int(lengths[rows].max()))):
                probs = torch.tensor([[0.9, 0.1], [0.3, 0.7]])[z.long()]
                z = pyro.sample(f"z{t}", dist.Categorical(probs), infer={"enumerate": "parallel"})
                pyro.sample(f"y{t}", dist.Normal(z.float(), 1.0), obs=torch.zeros(1))

    for _ in range(6):
        first = len(seen)
        assert torch.isfinite(TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, lambda: None))
        assert len(set(seen[first:])) == 1
    assert len(set(seen)) > 1


# Plates without a size.


def test_a_plate_without_a_size_is_as_long_as_what_is_in_it():
    def model(size):
        with pyro.plate("data", size) if size else pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0))
            with pyro.plate("inner", 3):
                w = pyro.sample("w", dist.Normal(z, 1.0))
            pyro.sample("x", dist.Normal(z[:, None].expand(4, 2), 1.0).to_event(1), obs=torch.ones(4, 2))
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.zeros(4))
            pyro.factor("f", -z)
        return w

    traces = []
    for size in (4, None):
        pyro.set_rng_seed(0)
        traces.append(poutine.trace(model).get_trace(size))
    assert traces[1].nodes["w"]["value"].shape == (3, 4)
    assert float(traces[0].log_prob_sum()) == float(traces[1].log_prob_sum())
    frame = traces[1].nodes["z"]["cond_indep_stack"][0]
    assert (frame.name, frame.dim, frame.size) == ("data", -1, 4)


def test_a_plate_without_a_size_leaves_what_has_none():
    with pyro.plate("data"):
        assert pyro.sample("z", dist.Normal(0.0, 1.0)).shape == ()
    with pyro.plate("outer", 2), pyro.plate("data"):
        assert pyro.sample("z", dist.Normal(torch.zeros(5, 1), 1.0)).shape == (5, 2)
    with su.plate("sursum's", 2, dim=-2), pyro.plate("data"), pyro.plate("inner", 3):
        assert pyro.sample("z", dist.Normal(torch.zeros(5), 1.0)).shape == (3, 2, 5)
    with pytest.raises(SiteError, match="'z'"):
        pyro.sample("z", 3.0, obs=torch.tensor(1.0))


def test_a_guide_may_have_a_plate_without_a_size():
    y = torch.tensor([0.5, -0.5, 1.0])

    def model(y):
        with pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(y)), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        with pyro.plate("data"):
            pyro.sample("z", dist.Normal(y / 2, 0.5**0.5))

    # The guide is the posterior: the bound is the evidence, of y ~ N(0, 2).
    exact = float(dist.Normal(0.0, 2.0**0.5).log_prob(y).sum())
    assert Trace_ELBO().loss(model, guide, y) == pytest.approx(-exact, abs=1e-5)


def test_what_a_plate_without_a_size_cannot_do():
    with pytest.raises(PlateError, match="a subsample_size and no size"):
        pyro.plate("p", subsample_size=2)
    with pytest.raises(PlateError, match="cannot be iterated"):
        list(pyro.plate("p"))
    with pytest.raises(PlateError, match="opened inside itself"), pyro.plate("p"), pyro.plate("p"):
        pass
    with pytest.raises(PlateError, match="collide at dim -1"), pyro.plate("data"), pyro.plate("other", 2, dim=-1):
        pass
    with pyro.plate("data"):  # what failed has left nothing open
        assert pyro.sample("z", dist.Normal(torch.zeros(2), 1.0)).shape == (2,)


# Reparameterisers.


def test_strategies_are_decorators():
    names = lambda model: list(poutine.trace(model).get_trace().stochastic_nodes)
    assert names(AutoReparam()(pair)) == ["a_decentered", "b_decentered"]
    assert "b_centered" in poutine.trace(AutoReparam()(pair)).get_trace().nodes  # learnt, as in Pyro
    pyro.clear_param_store()
    assert "b_centered" not in poutine.trace(AutoReparam(centered=0.0)(pair)).get_trace().nodes
    assert names(MinimalReparam()(pair)) == ["a", "b"]
    chosen = poutine.reparam(pair, config=lambda msg: LocScaleReparam(0.0) if msg["name"] == "b" else None)
    assert names(chosen) == ["a", "b_decentered"]


def test_neural_transport_of_a_guide_in_the_store():
    guide = autoguide.AutoMultivariateNormal(pair)
    svi = SVI(pair, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    for _ in range(5):
        svi.step()
    neutra = NeuTraReparam(guide.requires_grad_(False))
    for program in (poutine.reparam(pair, config=lambda _: neutra), neutra.reparam(pair)):
        trace = poutine.trace(program).get_trace()
        noise = trace.nodes["neutra_base"]["value"]
        for name, value in neutra.transform_sample(noise).items():
            assert torch.allclose(trace.nodes[name]["value"].to(value.dtype), value, atol=1e-6)
    drawn = neutra.transform_sample(torch.zeros(2, 3, dtype=noise.dtype))
    assert drawn["b"].shape == (2, 2)
    assert torch.allclose(torch.cat([drawn["a"][0, None], drawn["b"][0]]), guide.loc.detach().to(noise.dtype), atol=1e-6)
    with pytest.raises(GuideError, match="AutoNormal, but needs a guide of all coordinates"):
        NeuTraReparam(autoguide.AutoNormal(pair))
    with pytest.raises(GuideError, match="not been fitted"):
        NeuTraReparam(autoguide.AutoDiagonalNormal(pair))


# Chains of a potential energy.


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_draws_of_a_potential_are_on_the_supports():
    params, potential, transforms, _ = initialize_model(coin, (FLIPS,), num_chains=2)
    settings = {"num_samples": 200, "warmup_steps": 200, "num_chains": 2, "disable_progbar": True}
    mcmc = MCMC(NUTS(potential_fn=potential), initial_params=params, transforms=transforms, **settings)
    mcmc.run(FLIPS)
    draws = mcmc.get_samples()["fair"]
    assert ((draws > 0) & (draws < 1)).all()
    # Beta(13, 11) has mean 0.542 and sd 0.0997; 400 draws of at least a quarter as many effective ones.
    assert float(draws.mean()) == pytest.approx(13 / 24, abs=4 * 0.0997 / 10)
    with pytest.raises(SamplingError, match="chosen by the supports"):
        MCMC(NUTS(coin), 10, transforms=transforms)


# Distributions.


def test_every_distribution_has_pyros_methods():
    for fn in (
        dist.Normal(torch.zeros(3), 1.0),
        dist.Normal(torch.zeros(3), 1.0).mask(torch.tensor([1.0, 0.0, 1.0])),
        dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), [dist.transforms.ExpTransform()]),
    ):
        assert (fn.event_dim, fn.shape(), fn.shape((2,))) == (0, (3,), (2, 3))
        assert fn((2,)).shape == (2, 3)
        assert fn.independent(1).event_dim == fn.to_event(reinterpreted_batch_ndims=1).event_dim == 1
    assert dist.Dirichlet(torch.ones(4)).event_dim == 1
    loc = torch.tensor(0.5, requires_grad=True)
    assert dist.Normal(loc, 1.0)().requires_grad
    assert float(dist.Bernoulli(1.0)()) == 1.0


def test_the_package_of_reparameterisers_has_every_name():
    assert infer.reparam.Strategy is not None
    assert infer.reparam.strategies.AutoReparam is AutoReparam

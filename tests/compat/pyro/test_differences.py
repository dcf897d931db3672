"""What is not as in Pyro: each row of the page's table, and a test of it."""

from __future__ import annotations

import copy
import itertools
import re

import pytest
import torch
from tests.support.paths import ROOT
from torch import nn

import sursum as su
import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.differences import DIFFERENCES
from sursum.compat.pyro import infer, optim, poutine, settings
from sursum.compat.pyro.distributions import constraints
from sursum.compat.pyro.infer import autoguide
from sursum.errors import HandlerError, ObservationError, PlateError, SamplingError

PAGE = (ROOT / "docs" / "porting.md").read_text()


@pytest.fixture(autouse=True)
def _empty_store():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def test_the_pages_table_is_this_one():
    rows = dict(re.findall(r"^\| `(pyro\.[\w.]+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert {name: rows.get(name) for name in DIFFERENCES} == dict(DIFFERENCES)


def test_lift_draws_one_number_for_each_element():
    net = nn.Linear(2, 2)
    program = poutine.lift(lambda: pyro.module("net", net), prior=dist.Normal(0.0, 1.0))
    assert poutine.trace(program).get_trace().nodes["net$$$weight"]["value"].unique().numel() == 4


def test_random_modules_are_called_with_what_was_drawn():
    net = nn.Linear(1, 1, bias=False)
    drawn = pyro.random_module("net", net, dist.Normal(5.0, 0.001))()
    assert float(drawn(torch.ones(1)).detach()) == pytest.approx(5.0, abs=0.01)


def test_a_networks_own_parameters_come_back():
    net = nn.Linear(1, 1)
    own = net.weight
    poutine.trace(poutine.lift(lambda: pyro.module("net", net)(torch.ones(1)), prior=dist.Normal(0.0, 1.0))).get_trace()
    assert net.weight is own


def test_parameters_have_sursums_coordinates():
    value = pyro.param("share", torch.tensor([0.2, 0.3, 0.5]), constraint=constraints.simplex)
    assert value.unconstrained().shape == (2,)
    scale = pyro.param("scale", torch.tensor(2.0), constraint=constraints.softplus_positive)
    assert float(torch.nn.functional.softplus(scale.unconstrained()).detach()) == pytest.approx(2.0)


def test_dimensions_without_an_owner_are_an_error():
    with pytest.raises(ObservationError, match="broadcast"), pyro.plate("p", 3):
        pyro.sample("x", dist.Normal(torch.zeros(3, 1), 1.0), obs=torch.zeros(3))


def test_plates_check_their_sizes():
    with pytest.raises(PlateError, match="size 3"), pyro.plate("p", 3):
        pyro.sample("x", dist.Normal(torch.zeros(2), 1.0))


def test_a_factor_in_a_guide_is_a_term():
    def guide():
        pyro.factor("f", torch.tensor(5.0))

    assert infer.Trace_ELBO().loss(lambda: None, guide) == pytest.approx(5.0)


def test_steps_are_captured_after_the_first():
    counter = itertools.count()  # nothing that a capture could see change

    def model(y):
        next(counter)
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def run(steps):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        guide = autoguide.AutoDelta(model, init_loc_fn=autoguide.init_to_value(values={"z": torch.tensor(0.0)}))
        svi = infer.SVI(model, guide, optim.Adam({"lr": 0.1}), infer.Trace_ELBO())
        for _ in range(40):
            svi.step(torch.tensor(2.0))
        before = next(counter)
        losses = [svi.step(torch.tensor(2.0)) for _ in range(steps)]
        state = svi.optim.get_state()["AutoDelta.z"]["state"][0]
        return next(counter) - before - 1, losses, float(pyro.param("AutoDelta.z").detach()), float(state["step"])

    count, losses, value, taken = run(20)
    assert count == 0
    with settings.context(capture_steps=False):
        also, plain, expected, steps = run(20)
    assert also >= 40
    assert taken == steps == 60
    assert losses == pytest.approx(plain, rel=1e-5)
    assert value == pytest.approx(expected, rel=1e-5)


def test_steps_with_sums_over_discrete_sites_are_captured():
    counter = itertools.count()

    def model(y):
        next(counter)
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            up = pyro.sample("up", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            pyro.sample("y", dist.Normal(loc + 2.0 * up, 1.0), obs=y)

    def run():
        pyro.clear_param_store()
        guide = autoguide.AutoDelta(pyro.poutine.block(model, hide=["up"]), init_loc_fn=autoguide.init_to_feasible)
        svi = infer.SVI(model, guide, optim.SGD({"lr": 0.01}), infer.TraceEnum_ELBO(max_plate_nesting=1))
        losses = [svi.step(torch.tensor([0.3, 2.5, 1.0])) for _ in range(36)]
        before = next(counter)
        losses += [svi.step(torch.tensor([0.3, 2.5, 1.0])) for _ in range(6)]
        return next(counter) - before - 1, losses

    count, losses = run()
    assert count == 0
    with settings.context(capture_steps=False):
        also, plain = run()
    assert also >= 6
    assert losses == pytest.approx(plain, rel=1e-5)


def test_jit_and_graph_bounds_are_the_plain_ones():
    for bound in (infer.JitTrace_ELBO, infer.TraceGraph_ELBO, infer.JitTraceGraph_ELBO):
        assert type(bound().sursum) is su.infer.Trace_ELBO


def test_closed_forms_need_the_models_order():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0))

    def guide():
        y = pyro.sample("y", dist.Normal(0.0, 2**0.5))
        pyro.sample("x", dist.Normal(y / 2, 0.5**0.5))

    # The guide is the model's own joint distribution: the bound is 0. One draw of it has a standard deviation below 1.
    pyro.set_rng_seed(0)
    bound = infer.TraceMeanField_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=0)
    assert abs(bound.loss(model, guide)) < 4 / 4000**0.5


def test_samplers_refuse_what_they_do_not_do():
    with pytest.raises(SamplingError, match="hook_fn"):
        infer.MCMC(infer.NUTS(lambda: None), 10, hook_fn=print)
    with pytest.raises(SamplingError, match="always adapted"):
        infer.NUTS(lambda: None, adapt_mass_matrix=False)
    assert infer.NUTS(lambda: None, full_mass=True).sampler(None).metric == "dense"


def test_hamiltonian_monte_carlo_is_what_it_says():
    lengths = [
        infer.HMC(lambda: None, **settings).sampler(None).trajectory_length
        for settings in ({}, {"num_steps": 3, "step_size": 0.5}, {"trajectory_length": 2.0, "num_steps": 3})
    ]
    assert lengths == [2.0 * torch.pi, 1.5, 2.0]
    assert isinstance(infer.HMC(lambda: None).sampler(None), su.infer.HMC)
    assert isinstance(infer.NUTS(lambda: None).sampler(None), su.infer.NUTS)
    pyro.set_rng_seed(0)
    mcmc = infer.MCMC(
        infer.HMC(lambda: pyro.sample("x", dist.Normal(3.0, 2.0)), trajectory_length=2.0), 1000, disable_progbar=True
    )
    mcmc.run()
    draws = mcmc.get_samples()["x"]
    error = 2.0 / float(mcmc.diagnostics()["x"]["n_eff"]) ** 0.5
    assert abs(float(draws.mean()) - 3.0) < 5 * error
    assert "tree_depth" not in mcmc.posterior.stats or int(mcmc.posterior.stats["tree_depth"].max()) <= 1


def test_predictions_do_not_depend_on_the_default_generators_use():
    model = lambda: pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.set_rng_seed(1)
    first = infer.Predictive(model, num_samples=3)()["x"]
    pyro.set_rng_seed(1)
    assert torch.equal(infer.Predictive(model, num_samples=3)()["x"], first)
    assert first.dtype == torch.float32


def test_guides_take_plates_from_their_model():
    def model():
        with pyro.plate("p", 5, subsample_size=2):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    guide = autoguide.AutoNormal(model)
    guide()
    assert pyro.get_param_store()["AutoNormal.locs.x"].shape == (5,)


def test_full_covariances_have_a_factor_relative_to_the_scales():
    guide = autoguide.AutoMultivariateNormal(lambda: pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1)))
    guide()
    assert pyro.get_param_store()["AutoMultivariateNormal.lower"].shape == (3,)
    assert guide.scale_tril.shape == (3, 3)


def test_centred_variances_are_refused():
    with pytest.raises(ValueError, match="centered variance"):
        optim.clipped_adam.ClippedAdam([torch.zeros(1, requires_grad=True)], centered_variance=True)


def test_data_outside_the_support_are_an_error():
    with pytest.raises(ObservationError, match="support"):
        poutine.condition(lambda: pyro.sample("p", dist.Beta(1.0, 1.0)), data={"p": torch.tensor(2.0)})()


def test_a_function_of_block_decides_alone():
    def model():
        pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(0.0, 1.0))

    shown = poutine.trace(poutine.block(model, hide_fn=lambda site: site["name"] == "x", expose=["x"])).get_trace()
    assert shown.stochastic_nodes == ["y"]


def test_enumeration_is_sursums():
    with pytest.raises(HandlerError, match="summed out by every density"):
        poutine.enum(lambda: None, first_available_dim=-1)


def test_a_mixture_is_summed_out_and_its_sites_recovered():
    """As Pyro 1.9.2: the loss at this point, and the most probable components."""
    data = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])

    @infer.config_enumerate
    def model(data):
        weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(2)))
        with pyro.plate("components", 2):
            locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
        with pyro.plate("data", len(data)):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample("obs", dist.Normal(locs[k], 1.5), obs=data)

    at = {"weights": torch.tensor([0.4, 0.6]), "locs": torch.tensor([0.5, 11.0])}
    shown = poutine.block(model, expose=["weights", "locs"])
    guide = autoguide.AutoDelta(shown, init_loc_fn=autoguide.init_to_value(values=at))
    assert infer.TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, data) == pytest.approx(18.0231, abs=1e-3)
    held = poutine.replay(model, trace=poutine.trace(guide).get_trace(data))
    found = poutine.trace(infer.infer_discrete(held, temperature=0, first_available_dim=-2)).get_trace(data)
    assert found.nodes["k"]["value"].tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("captured", [True, False])
def test_what_is_changed_between_steps_counts_in_the_next(captured):
    """By hand: the loss is a sum of squares, of which a step of SGD takes off a known share."""
    factor = 1.0
    net = torch.nn.Linear(2, 1, bias=False)

    def model(x):
        pyro.module("net", net)
        shift = pyro.param("shift", torch.tensor([1.0, -2.0, 0.5]))
        pyro.factor("f", -factor * (net(x) ** 2).sum() - (shift**2).sum())

    pyro.clear_param_store()
    with settings.context(capture_steps=captured):
        svi = infer.SVI(model, lambda x: None, optim.SGD({"lr": 0.125}), infer.Trace_ELBO())
        eye = torch.eye(2)
        for _ in range(36):
            svi.step(eye)
        net.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        pyro.get_param_store()["shift"] = torch.tensor([1.0, 2.0, 2.0])
        assert svi.step(eye) == pytest.approx(25.0 + 9.0)
        assert svi.step(eye) == pytest.approx((25.0 + 9.0) * 0.75**2)
        assert net.weight.tolist() == [pytest.approx([3.0 * 0.75**2, 4.0 * 0.75**2])]
        with torch.no_grad():
            pyro.param("shift").unconstrained().fill_(1.0)
            net.weight.fill_(1.0)
        for made in svi.optim.optim_objs.values():
            made.param_groups[0]["lr"] = 0.25
        assert svi.step(eye) == pytest.approx(2.0 + 3.0)
        assert svi.step(eye) == pytest.approx((2.0 + 3.0) * 0.5**2)
        net.weight.data.fill_(2.0)
        assert svi.step(torch.eye(2)[:1]) == pytest.approx(4.0 + 3.0 * 0.5**4)
        net.weight.data = torch.tensor([[2.0, 2.0]])
        factor = 3.0
        assert svi.step(eye) == pytest.approx(24.0 + 3.0 * 0.5**6)


@pytest.mark.parametrize("captured", [True, False])
def test_states_of_the_optimiser_are_set_between_steps(captured):
    def model():
        pyro.factor("f", -(pyro.param("x", torch.tensor([1.0, 3.0])) ** 2).sum())

    pyro.clear_param_store()
    with settings.context(capture_steps=captured):
        svi = infer.SVI(model, lambda: None, optim.SGD({"lr": 0.02, "momentum": 0.5}), infer.Trace_ELBO())
        for _ in range(36):
            svi.step()
        kept, values = copy.deepcopy(svi.optim.get_state()), pyro.param("x").detach().clone()
        first = [svi.step() for _ in range(3)]
        svi.optim.set_state(kept)
        pyro.param("x").data.copy_(values)
        assert [svi.step() for _ in range(3)] == pytest.approx(first)
        assert first[0] > 1e-9
        for made in svi.optim.optim_objs.values():
            made.param_groups[0]["lr"] = 0.0
        before = pyro.param("x").detach().clone()
        svi.step()
        assert torch.equal(pyro.param("x").detach(), before)


def test_another_rule_for_one_parameter_is_taken_by_pyros_optimisers():
    def model():
        pyro.factor("f", -(pyro.param("x", torch.tensor(1.0)) ** 2) - pyro.param("y", torch.tensor(1.0)) ** 2)

    pyro.clear_param_store()
    svi = infer.SVI(model, lambda: None, optim.SGD({"lr": 0.125}), infer.Trace_ELBO())
    for _ in range(36):
        svi.step()
    first, _ = svi.optim.optim_objs.values()
    first.param_groups[0]["lr"] = 0.25
    svi.step()
    assert float(pyro.param("x").detach()) == pytest.approx(0.75**36 * 0.5)
    assert float(pyro.param("y").detach()) == pytest.approx(0.75**37)

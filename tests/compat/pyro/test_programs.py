"""Programs of Pyro's users, unchanged but for the import: the numbers of Pyro 1.9.2, and Pyro's own where it is installed."""

from __future__ import annotations

import pytest
import torch
from tests.compat.pyro.programs import EFFECT, ERROR, PROGRAMS, names, run, schools
from tests.support.monte_carlo import standard_error
from torch import nn

import sursum as su
import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from sursum.errors import ObservationWarning, StorageError

OURS = names("sursum.compat.pyro")

THEIRS = {
    "normal_by_hand": {
        "first": 6.46273,
        "last": 5.95323,
        "loc": 1.08571,
        "spread": 0.70426,
        "scale": 1.7298,
        "evaluated": 5.9832,
    },
    "variational_autoencoder": {"first": 19.5014, "last": 14.7097, "moved": 0.0500078},
    "eight_schools_by_svi": {"first": 54.8368, "last": 49.3584, "loc": 0.887306, "scale": 1.22115},
    "hierarchical_regression": {"names": 3.0, "shape": 3.0},
    "bayesian_linear_layer": {"draws": 50.0},
    "lifted_network": {"log_prob": -8.10151, "out": 3.0},
    "mixture_marginalised": {"first": 18.0231, "low": 0.490912, "high": 10.8875},
    "sequence_with_markov": {"log_prob": -6.83171, "last": -0.405791},
    "effect_handlers": {"joint": -3.33788, "scaled": -6.67575, "masked": 0.0, "shifted": 8.0},
    "learnt_centring": {"log_prob": -5.34048, "sum": 3.0},
    "messenger_guides": {
        "first 0": 12.1694,
        "last 0": 7.65353,
        "median 0": 1.45427,
        "first 1": 12.7919,
        "last 1": 14.5553,
        "first 2": 7.72036,
        "last 2": 6.72352,
        "median 2": 1.64602,
        "first 3": 6.32971,
        "last 3": 4.9529,
        "median 3": 4.36801,
        "first 4": 5.02213,
        "last 4": 6.61945,
    },
    "structured_guide": {"first": 12.6273, "last": 6.00528, "a": 0.105299, "b": 1.07011},
    "discrete_guide": {"first": 6.57455, "held": 5.45918, "up": 1.0},
    "easy_guides": {
        "first": 21.1156,
        "last": 22.2229,
        "loc": -0.114558,
        "first part": 8.54933,
        "last part": 7.32735,
        "points.a": 0.540899,
        "points.b": 0.597376,
        "points.z": 2.82296,
    },
    "importance_sampling": {"mean": 0.417417, "variance": 0.399726, "evidence": -1.45937, "ess": 53.2221},
    "elbo_as_a_module": {"loss": 3.71192, "scale": 1.09537},
    "partly_observed": {"log_prob": -16.7898, "part": 2.0},
    "store_in_a_file": {"free": 3.0, "scale": 0.7, "share": 0.5},
}
"""What Pyro 1.9.2 gives, to six digits."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_gives_pyros_numbers(program):
    found = run(program, OURS)
    assert found == pytest.approx(THEIRS[program.__name__], rel=2e-4, abs=1e-5)


@pytest.mark.filterwarnings("ignore")  # Pyro's own
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_pyro_itself_gives_them(program):
    pytest.importorskip("pyro")
    assert run(program, names("pyro")) == pytest.approx(THEIRS[program.__name__], rel=2e-4, abs=1e-5)


def test_at_least_twelve_programs_run_as_they_are():
    assert len(PROGRAMS) >= 12
    assert THEIRS.keys() == {program.__name__ for program in PROGRAMS}


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_eight_schools_by_nuts():
    """The posterior means of 200,000 draws in the literature: mu 4.4, tau 3.6."""
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(schools(OURS), jit_compile=True), num_samples=1000, warmup_steps=500, num_chains=4, disable_progbar=True)
    mcmc.run(ERROR, EFFECT)
    draws = mcmc.get_samples()
    assert sorted(draws) == ["eta", "mu", "tau"]
    assert draws["eta"].shape == (4000, 8)
    assert draws["mu"].dtype == torch.float32
    grouped = mcmc.get_samples(group_by_chain=True)
    assert abs(float(draws["mu"].mean()) - 4.4) < 5 * standard_error(grouped["mu"].double().numpy()) + 0.05
    found = mcmc.diagnostics()
    assert float(found["mu"]["r_hat"]) == pytest.approx(1.0, abs=0.02)
    assert set(found["divergences"]) == {f"chain {k}" for k in range(4)}


def test_the_store_is_global_and_nothing_elses():
    """Two programs share a parameter, and sursum's own programs do not see it."""
    pyro.clear_param_store()
    pyro.param("shared", torch.tensor(1.0))
    with torch.no_grad():
        pyro.get_param_store()["shared"].fill_(3.0)
    assert float(pyro.param("shared", torch.tensor(1.0)).detach()) == 3.0
    assert float(su.param("shared", torch.tensor(1.0))) == 1.0
    pyro.clear_param_store()
    assert float(pyro.param("shared", torch.tensor(1.0)).detach()) == 1.0
    pyro.clear_param_store()


def test_a_store_is_read_without_executing_anything(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a file was executed",))

    torch.save({"params": {"a": torch.zeros(1)}, "constraints": {"a": Evil()}}, tmp_path / "evil.pt")
    with pytest.raises(StorageError, match="nothing else is read"):
        pyro.get_param_store().load(tmp_path / "evil.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(StorageError, match="no tensors"):
        pyro.get_param_store().load(tmp_path / "list.pt")


def test_a_lifted_network_is_called_with_its_own_name():
    """Pyro draws one number for a whole weight, and calls the network with its old weights; here neither."""
    net = nn.Linear(2, 3)
    before = net.weight.detach().clone()

    def model(x):
        pyro.module("net", net)
        return net(x)

    x = torch.ones(1, 2)
    trace = pyro.poutine.trace(pyro.poutine.lift(model, prior=dist.Normal(0.0, 1.0))).get_trace(x)
    weight, bias = (trace.nodes[f"net$$${name}"]["value"] for name in ("weight", "bias"))
    assert weight.shape == (3, 2)
    assert torch.allclose(trace.nodes["_RETURN"]["value"], x @ weight.T + bias)
    assert torch.equal(net.weight, before)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_lifted_network_is_sampled_with_the_result_of_module_dropped():
    """A linear layer with known noise: the posterior of its weight has a closed form."""
    net = nn.Linear(1, 1, bias=False)
    x = torch.linspace(-1.0, 1.0, 9).unsqueeze(-1)
    y = 2.0 * x.squeeze(-1)

    def model(x, y):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(net(x).squeeze(-1), 0.5), obs=y)

    pyro.set_rng_seed(0)
    lifted = pyro.poutine.lift(model, prior={"net$$$weight": dist.Normal(0.0, 1.0)})
    mcmc = MCMC(NUTS(lifted), num_samples=500, warmup_steps=500, num_chains=2, disable_progbar=True)
    mcmc.run(x, y)
    precision = 1 + float((x**2).sum()) / 0.25
    mean = float((x.squeeze(-1) * y).sum()) / 0.25 / precision
    draws = mcmc.get_samples(group_by_chain=True)["net$$$weight"].double()
    error = 4 * standard_error(draws.flatten(2).squeeze(-1).numpy())
    assert abs(float(draws.mean()) - mean) < error
    assert abs(float(draws.std()) - precision**-0.5) < error


def test_predictions_have_pyros_shapes():
    def model(x, y=None):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        mu = pyro.deterministic("mu", w * x)
        with pyro.plate("n", len(x)):
            return pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    x = torch.arange(4.0)
    shapes = lambda found: {name: tuple(value.shape) for name, value in found.items()}
    assert shapes(Predictive(model, num_samples=5)(x)) == {"w": (5, 1), "mu": (5, 1, 4), "y": (5, 4)}
    given = {"w": torch.zeros(6)}
    assert shapes(Predictive(model, given)(x)) == {"mu": (6, 1, 4), "y": (6, 4)}
    assert shapes(Predictive(model, given, return_sites=["y", "_RETURN"])(x)) == {"y": (6, 4), "_RETURN": (6, 4)}
    with pytest.warns(ObservationWarning, match="nothing was drawn"):
        kept = Predictive(model, given, return_sites=["y"])(x, torch.ones(4))["y"]
    assert torch.equal(kept, torch.ones(6, 4))


def test_a_step_without_parameters_gives_the_loss():
    def model():
        pyro.sample("y", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(0.0))

    def guide():
        pyro.sample("z", dist.Delta(torch.tensor(1.0)))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    # −log N(1; 0, 1) − log N(0; 1, 1)
    assert svi.step() == pytest.approx(1.837877 + 1.0, abs=1e-5)
    assert svi.evaluate_loss() == pytest.approx(2.837877, abs=1e-5)

"""Pyro's names: each is here, or says by name that it is not and what to write; and functions give Pyro's numbers."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import infer, optim, poutine, settings, util
from sursum.compat.pyro.contrib.autoname import name_count, scope
from sursum.compat.pyro.infer.mcmc.util import initialize_model, summary
from sursum.compat.pyro.nn import DenseNN, PyroModule, PyroParam, PyroSample, pyro_method
from sursum.compat.pyro.nn.module import to_pyro_module_
from sursum.compat.pyro.ops import stats
from sursum.compat.pyro.ops.contract import einsum
from sursum.compat.pyro.ops.indexing import Vindex
from sursum.compat.pyro.ops.special import log_beta, log_binomial, log_I1, safe_log
from sursum.compat.pyro.ops.tensor_utils import block_diag_embed, periodic_features
from sursum.errors import MissingImportError, MissingNameError, OptionError, PlateError, SamplingError, VariationalError

USED = {
    "": (
        "sample plate param deterministic module factor set_rng_seed clear_param_store get_param_store "
        "render_model markov condition do settings enable_validation validation_enabled plate_stack subsample "
        "barrier random_module __version__ poutine infer nn optim distributions ops util params"
    ),
    ".poutine": (
        "trace block replay mask scale condition reparam seed infer_config uncondition Trace enum queue "
        "escape NonlocalExit lift markov do get_mask substitute broadcast collapse equalize unwrap "
        "enable_validation is_validation_enabled messenger runtime util scope"
    ),
    ".infer": (
        "Trace_ELBO SVI Predictive TraceEnum_ELBO MCMC NUTS config_enumerate infer_discrete JitTrace_ELBO "
        "JitTraceEnum_ELBO JitTraceMeanField_ELBO JitTraceGraph_ELBO ELBO TraceMeanField_ELBO HMC "
        "TraceTMC_ELBO TraceGraph_ELBO Importance EmpiricalMarginal TracePosterior RenyiELBO autoguide "
        "reparam mcmc util"
    ),
    ".infer.autoguide": (
        "AutoNormal AutoDelta AutoMultivariateNormal AutoGuideList AutoLowRankMultivariateNormal "
        "AutoDiagonalNormal AutoLaplaceApproximation AutoNormalizingFlow AutoGuide AutoContinuous "
        "AutoCallable init_to_mean init_to_median init_to_value init_to_feasible init_to_sample "
        "init_to_uniform init_to_generated mean_field_entropy"
    ),
    ".infer.reparam": ("LocScaleReparam TransformReparam Reparam NeuTraReparam"),
    ".nn": ("PyroModule PyroSample PyroParam pyro_method DenseNN PyroModuleList"),
    ".optim": ("Adam ClippedAdam PyroOptim MultiStepLR ExponentialLR PyroLRScheduler StepLR SGD AdamW RMSprop OneCycleLR"),
    ".distributions": (
        "Normal Bernoulli LogNormal Categorical Uniform Beta Dirichlet Gamma Poisson MultivariateNormal "
        "Exponential Delta HalfCauchy Binomial Multinomial TransformedDistribution Laplace Independent "
        "NegativeBinomial InverseGamma OneHotCategorical LowRankMultivariateNormal StudentT LKJCholesky "
        "Cauchy HalfNormal Distribution TorchDistribution TorchDistributionMixin Empirical Unit constraints "
        "transforms kl_divergence"
    ),
    ".distributions.constraints": (
        "positive real simplex greater_than interval unit_interval softplus_positive lower_cholesky ordered_vector"
    ),
    ".ops.stats": (
        "quantile pi hpdi resample autocorrelation autocovariance effective_sample_size gelman_rubin split_gelman_rubin waic"
    ),
    ".contrib.autoname": ("scope name_count"),
    ".contrib.easyguide": ("EasyGuide easy_guide"),
    ".util": ("ignore_jit_warnings get_rng_state set_rng_state warn_if_nan set_rng_seed torch_item"),
}


@pytest.mark.parametrize("module", USED)
def test_the_names_that_programs_use_are_there(module):
    here = importlib.import_module(f"sursum.compat.pyro{module}")
    for name in USED[module].split():
        assert getattr(here, name) is not None


@pytest.mark.parametrize(
    "module",
    ["", *(f".{name}" for name in ["poutine", "infer", "infer.autoguide", "infer.reparam", "nn", "optim", "distributions"])],
)
def test_every_other_name_of_pyros_is_refused_by_name(module):
    theirs = pytest.importorskip(f"pyro{module}")
    here = importlib.import_module(f"sursum.compat.pyro{module}")
    for name in theirs.__all__:
        if not name.startswith("_") and not hasattr(here, name):
            with pytest.raises(MissingNameError, match=rf"\.{name} is not here: "):
                getattr(here, name)


def test_a_name_that_is_not_here_says_what_to_write():
    with pytest.raises(MissingNameError, match=r"pyro\.infer\.SVGD is not here: write NUTS"):
        infer.SVGD  # noqa: B018
    with pytest.raises(MissingImportError, match=r"pyro\.infer\.SVGD is not here: write NUTS"):
        from sursum.compat.pyro.infer import SVGD  # noqa: F401
    with pytest.raises(MissingImportError, match=r"pyro\.contrib\.gp is not here: sursum takes GPyTorch"):
        from sursum.compat.pyro.contrib import gp  # noqa: F401
    with pytest.raises(MissingImportError, match=r"contrib\.easyguide\.easy_guides is not here\. Did you mean easy_guide"):
        from sursum.compat.pyro.contrib.easyguide import easy_guides  # noqa: F401
    with pytest.raises(MissingImportError, match=r"pyro\.contrib\.autoname\.named is not here: give sites names"):
        from sursum.compat.pyro.contrib.autoname import named  # noqa: F401
    with pytest.raises(MissingNameError, match=r"Did you mean .*Adam"):
        optim.Adem  # noqa: B018
    assert not hasattr(infer, "__wrapped__")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("contrib.gp", r"^pyro\.contrib\.gp is not here: sursum takes GPyTorch's kernels\.$"),
        ("contrib.gp.kernels", r"^pyro\.contrib\.gp is not here: sursum takes GPyTorch's kernels\.$"),
        ("contrib.forecast", r"^pyro\.contrib\.forecast is not here: write the model, with su\.scan\.$"),
        ("ops.gaussian", r"^pyro\.ops\.gaussian is not here: it belongs to Pyro's own machinery"),
        ("infer.svgd", r"^pyro\.infer\.svgd is not here\.$"),
        ("distributions.torch", r"^pyro\.distributions\.torch is not here: write a subclass of TorchDistribution"),
    ],
)
def test_a_module_that_is_not_here_says_what_to_write(module, said):
    with pytest.raises(MissingImportError, match=said):
        importlib.import_module(f"sursum.compat.pyro.{module}")


@pytest.mark.parametrize("module", ["sursum.compat.pyro.optim.Adam", "sursum.compat.pyrotechnics", "sursum.nothing"])
def test_other_missing_modules_are_pythons_matter(module):
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{module}'"):
        importlib.import_module(module)


def test_a_finder_that_is_asked_alone_refuses_no_module_that_is_there():
    (finder,) = [finder for finder in sys.meta_path if type(finder).__name__ == "MissingModules"]
    assert finder.find_spec("sursum.compat.pyro.contrib") is None
    assert finder.find_spec("sursum.compat.pyro.contrib.easyguide", ["elsewhere"]) is None
    assert finder.find_spec("sursum.compat.pyro.not_loaded.below") is None
    with pytest.raises(MissingImportError):
        finder.find_spec("sursum.compat.pyro.contrib.gp")


# Functions of tensors: the numbers are Pyro 1.9.2's.

DRAWS = torch.tensor([[0.1, 0.4, -0.3, 0.8, 0.2, 0.6, -0.1, 0.5], [0.3, 0.2, 0.9, -0.4, 0.1, 0.7, 0.0, -0.2]])


def test_statistics_are_pyros():
    assert stats.quantile(DRAWS, [0.25, 0.5], dim=1).flatten().tolist() == pytest.approx([0.05, 0.3, -0.05, 0.15])
    assert stats.pi(DRAWS[0], 0.5).tolist() == pytest.approx([0.05, 0.525])
    assert stats.hpdi(DRAWS[0], 0.5).tolist() == pytest.approx([0.1, 0.6])
    assert float(stats.gelman_rubin(DRAWS)) == pytest.approx(0.944620, abs=1e-5)
    assert stats.autocovariance(torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx([2 / 3, 0.0, -1.0], abs=1e-6)


@pytest.mark.parametrize(
    "compute",
    [
        lambda s: s.quantile(DRAWS, [0.05, 0.3, 0.95], dim=1),
        lambda s: s.pi(DRAWS, 0.8, dim=1),
        lambda s: s.hpdi(DRAWS, 0.6, dim=1),
        lambda s: s.autocovariance(DRAWS, dim=1),
        lambda s: s.autocorrelation(DRAWS, dim=1),
        lambda s: s.gelman_rubin(DRAWS),
        lambda s: s.split_gelman_rubin(DRAWS),
        lambda s: s.effective_sample_size(DRAWS),
        lambda s: torch.stack(s.waic(DRAWS)),
        lambda s: s.crps_empirical(DRAWS, torch.zeros(8)),
        lambda s: s.energy_score_empirical(DRAWS, torch.zeros(8)),
    ],
)
def test_statistics_agree_with_pyro(compute):
    theirs = pytest.importorskip("pyro.ops.stats")
    assert torch.allclose(compute(stats), compute(theirs), atol=1e-5)


def test_indexing_broadcasts():
    x = torch.arange(30.0).reshape(5, 2, 3)
    i, j = torch.tensor([[0], [1]]), torch.tensor([2, 0, 1])
    assert torch.equal(Vindex(x[0])[i, j], x[0][i, j])
    row = torch.tensor([1, 0, 1, 1, 0])
    assert torch.equal(Vindex(x)[..., row, :], x[torch.arange(5), row])
    assert torch.equal(Vindex(x[0])[torch.tensor(1)], x[0, 1])
    assert torch.equal(Vindex(x[0])[i, j], x[0][i, j])


def test_special_functions():
    assert float(log_beta(torch.tensor(2.0), torch.tensor(3.0)).exp()) == pytest.approx(1 / 12)
    assert float(log_binomial(torch.tensor(5.0), torch.tensor(2.0)).exp()) == pytest.approx(10.0, rel=1e-5)
    assert log_I1(1, torch.tensor([1.0])).exp().flatten().tolist() == pytest.approx([1.266066, 0.565159], rel=1e-5)
    zero = torch.tensor(0.0, requires_grad=True)
    safe_log(zero).backward()
    assert torch.isfinite(zero.grad)


def test_sums_of_products():
    a, b = torch.rand(2, 3), torch.rand(3)
    assert torch.allclose(einsum("ab,b->a", a, b)[0], a @ b)
    logs = einsum("ab,b->a", a.log(), b.log(), backend="pyro.ops.einsum.torch_log")[0]
    assert torch.allclose(logs.exp(), a @ b)
    assert block_diag_embed(torch.ones(2, 1, 2)).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert periodic_features(8, 8).shape == (8, 6)


# Modules.


def test_a_module_reads_each_random_variable_once_in_a_call():
    class Model(PyroModule):
        def __init__(self):
            super().__init__()
            self.scale = PyroSample(dist.LogNormal(0.0, 1.0))
            self.z = PyroSample(lambda self: dist.Normal(self.loc, self.scale))
            self.loc = PyroParam(torch.tensor(0.5))

        def forward(self):
            return self.z + self.z - 2 * self.z

        @pyro_method
        def both(self):
            return self.z, self.z

    pyro.clear_param_store()
    model = Model()
    trace = poutine.trace(model).get_trace()
    assert trace.stochastic_nodes == ["scale", "z"]
    assert trace.param_nodes == ["loc"]
    assert float(trace.nodes["_RETURN"]["value"].detach()) == 0.0
    one, other = model.both()
    assert one is other
    assert [name for name, _ in model.named_pyro_params()] == ["loc"]


def test_a_network_becomes_bayesian_in_place():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.LSTM(3, 2, batch_first=True))
    to_pyro_module_(net)
    for part in net.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            setattr(part, name, PyroSample(dist.Normal(0.0, 1.0).expand(value.shape).to_event(value.dim())))
    x = torch.ones(1, 4, 2)
    trace = poutine.trace(net).get_trace(x)
    assert trace.stochastic_nodes[:2] == ["0.weight", "0.bias"]
    assert len(trace.stochastic_nodes) == 6
    plain = torch.nn.LSTM(3, 2, batch_first=True)
    drawn = {name.split(".")[1]: trace.nodes[name]["value"] for name in trace.stochastic_nodes if name.startswith("2.")}
    hidden = torch.tanh(x @ trace.nodes["0.weight"]["value"].T + trace.nodes["0.bias"]["value"])
    expected = torch.func.functional_call(plain, drawn, (hidden,))[0]
    assert torch.allclose(trace.nodes["_RETURN"]["value"][0], expected, atol=1e-6)


def test_dense_networks_split_their_output():
    one, other = DenseNN(3, [4], [2, 5])(torch.ones(7, 3))
    assert (one.shape, other.shape) == ((7, 2), (7, 5))


# Optimisers.


def test_optimisers_take_functions_of_names_and_clip_by_parameter():
    pyro.clear_param_store()
    seen = []

    def options(name):
        seen.append(name)
        return {"lr": 0.0 if name == "held" else 1.0}

    def model():
        held, free = pyro.param("held", torch.tensor(1.0)), pyro.param("free", torch.tensor(1.0))
        pyro.factor("f", -(held**2) - 100 * free**2)

    svi = infer.SVI(model, lambda: None, optim.SGD(options, {"clip_norm": 0.25}), infer.Trace_ELBO())
    svi.step()
    assert sorted(seen) == ["free", "held"]
    assert float(pyro.param("held").detach()) == 1.0
    assert float(pyro.param("free").detach()) == pytest.approx(0.75)
    state = svi.optim.get_state()
    assert sorted(state) == ["free", "held"]


def test_schedules_advance_when_they_are_told():
    pyro.clear_param_store()
    schedule = optim.ExponentialLR({"optimizer": torch.optim.SGD, "optim_args": {"lr": 1.0}, "gamma": 0.5})
    svi = infer.SVI(lambda: pyro.factor("f", pyro.param("a", torch.tensor(0.0))), lambda: None, schedule, infer.Trace_ELBO())
    svi.step()
    svi.step()
    assert float(pyro.param("a").detach()) == pytest.approx(2.0)
    schedule.step()
    svi.step()
    assert float(pyro.param("a").detach()) == pytest.approx(2.5)


# Settings, errors.


def test_settings_are_sursums_switch():
    with settings.context(validate_infer=False):
        assert not settings.get("validate_infer")
    assert settings.get("validate_infer")
    settings.set(module_local_params=True)
    settings.set(module_local_params=False)
    with pytest.raises(OptionError, match="no setting 'fast'"):
        settings.set(fast=True)
    with pyro.validation_enabled(False):
        assert not poutine.is_validation_enabled()
    assert poutine.is_validation_enabled()


def test_random_states_are_kept_and_restored():
    pyro.set_rng_seed(4)
    state = util.get_rng_state()
    first = torch.rand(2)
    util.set_rng_state(state)
    assert torch.equal(torch.rand(2), first)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: infer.SVI(1, lambda: None, None, infer.Trace_ELBO()), VariationalError, "must be a program"),
        (lambda: infer.SVI(lambda: None, lambda: None, optim.Adam({}), infer.Trace_ELBO), VariationalError, "with parentheses"),
        (lambda: infer.NUTS(), SamplingError, "a model or a potential_fn"),
        (lambda: infer.NUTS(lambda: None, adapt_step_size=False), SamplingError, "always adapted"),
        (lambda: infer.MCMC(1, 10), SamplingError, "must be a kernel"),
        (lambda: infer.MCMC(infer.NUTS(lambda: None), 10).get_samples(), SamplingError, "no draws yet"),
        (lambda: list(pyro.plate("p")), PlateError, "has no size"),
        (lambda: poutine.block(lambda: None, hide_fn=bool, expose_fn=bool), OptionError, "not both"),
    ],
)
def test_wrong_calls_are_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_scopes_name_sites():
    @scope(prefix="outer")
    def model():
        with scope(prefix="inner"):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    assert poutine.trace(model).get_trace().stochastic_nodes == ["outer/inner/x"]

    @name_count
    def twice():
        return [pyro.sample("x", dist.Normal(0.0, 1.0)) for _ in range(3)]

    assert poutine.trace(twice).get_trace().stochastic_nodes == ["x", "x__1", "x__2"]


def test_a_potential_is_sampled():
    """A normal distribution with mean 2 and standard deviation 1, by its energy."""
    kernel = infer.NUTS(potential_fn=lambda values: 0.5 * (values["x"] - 2.0) ** 2)
    pyro.set_rng_seed(0)
    mcmc = infer.MCMC(kernel, num_samples=500, warmup_steps=300, initial_params={"x": torch.tensor(0.0)}, disable_progbar=True)
    mcmc.run()
    draws = mcmc.get_samples()["x"]
    assert draws.shape == (500,)
    # 500 draws are worth more than 100: four standard errors of the mean, and of the standard deviation.
    assert abs(float(draws.mean()) - 2.0) < 0.4
    assert abs(float(draws.std()) - 1.0) < 0.3


def test_a_models_potential_energy():
    def model(y):
        s = pyro.sample("s", dist.Exponential(1.0))
        pyro.sample("y", dist.Normal(0.0, s), obs=y)

    y = torch.tensor(0.5)
    params, potential, transforms, trace = initialize_model(model, (y,))
    u = torch.tensor(0.3)
    expected = dist.Exponential(1.0).log_prob(u.exp()) + dist.Normal(0.0, u.exp()).log_prob(y) + u
    assert float(potential({"s": u})) == pytest.approx(-float(expected), abs=1e-6)
    assert params["s"].shape == ()
    assert float(transforms["s"](torch.tensor(1.0))) == 0.0
    assert trace.stochastic_nodes == ["s"]


def test_summaries_have_pyros_columns():
    found = summary({"x": torch.randn(2, 50, generator=torch.Generator().manual_seed(0))})
    assert list(found["x"]) == ["mean", "std", "median", "5.0%", "95.0%", "n_eff", "r_hat"]


def test_discrete_executions_are_gone_through():
    """Every execution of two coins comes out of the queue once."""
    from queue import Queue

    def model():
        return torch.stack([pyro.sample(name, dist.Bernoulli(0.5)) for name in ("a", "b")])

    executions = Queue()
    executions.put(poutine.Trace())
    runner = poutine.queue(model, queue=executions)
    found = set()
    for _ in range(4):
        found.add(tuple(runner().tolist()))
    assert found == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}


def test_mixtures_of_diagonal_normals_have_pyros_densities():
    """Pyro 1.9.2's numbers."""
    locs = torch.tensor([[0.5, -1.0], [0.0, 2.0], [-0.3, 0.4]])
    scales = torch.tensor([[0.6, 1.0], [1.3, 0.7], [0.9, 1.1]])
    logits, x = torch.tensor([0.2, -0.5, 1.0]), torch.tensor([0.3, -0.7])
    assert float(dist.MixtureOfDiagNormals(locs, scales, logits).log_prob(x)) == pytest.approx(-2.196916, abs=1e-5)
    shared = dist.MixtureOfDiagNormalsSharedCovariance(locs, scales[0], logits)
    assert float(shared.log_prob(x)) == pytest.approx(-2.138812, abs=1e-5)
    around = dist.GaussianScaleMixture(scales[0], logits, scales[:, 0])
    assert float(around.log_prob(x)) == pytest.approx(-1.552773, abs=1e-5)
    factor = torch.tensor([[1.0, 0.0], [0.4, 0.8]])
    normal = torch.distributions.MultivariateNormal(locs[0], scale_tril=factor).log_prob(x)
    assert torch.equal(dist.OMTMultivariateNormal(locs[0], factor).log_prob(x), normal)
    assert torch.equal(dist.AVFMultivariateNormal(locs[0], factor, torch.zeros(2, 1, 2)).log_prob(x), normal)

"""Priors by rule: their laws in closed form, the sites of those that draw some, and what they refuse."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch import Tensor, nn

import sursum as su
from sursum import priors
from sursum.distributions import constraints
from sursum.errors import PriorShapeError, PriorSupportError, PriorTypeError

RULES = [priors.fan_in(0.7), priors.laplace(0.7), priors.around(0.7), priors.hierarchical(0.7), priors.horseshoe(0.7)]
RULES += [priors.regularised_horseshoe(0.7), priors.r2d2(0.7)]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 3), nn.Tanh(), nn.Conv1d(3, 2, 1), nn.PReLU())


X = torch.ones(2, 5, 16)


def log_prob(prior: Any, module: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    """The log density that a prior gives to what it drew."""
    lifted = su.lift(lambda: su.module("net", module), prior)
    with su.seed(rng_seed=1):
        found = su.trace(lifted).get_trace()
    return found.log_prob_sum(), {name: site.value for name, site in found.items()}


def test_fan_in_divides_by_the_inputs() -> None:
    total, values = log_prob(priors.fan_in(0.7), net())
    scales = {"0.weight": 0.7 / 4, "0.bias": 0.7, "2.weight": 0.7 / math.sqrt(3), "2.bias": 0.7, "3.weight": 0.7}
    assert [name.removeprefix("net.") for name in values] == list(scales)
    expected = sum(td.Normal(0.0, scale).log_prob(values[f"net.{name}"]).sum() for name, scale in scales.items())
    torch.testing.assert_close(total, torch.as_tensor(expected))


def test_fan_in_keeps_the_variance_of_a_layer() -> None:
    """Outputs of a layer of 400 inputs of variance 1 have variance 1 under fan_in, and 400 under a plain normal."""
    x = torch.randn(400, generator=torch.Generator().manual_seed(0))
    draw = su.lift(nn.Linear(400, 2000, bias=False), priors.fan_in())
    with su.seed(rng_seed=1):
        out = draw(x / x.std(correction=0))
    # The variance of 2000 normal outputs has a relative standard error of √(2 / 2000) = 3 %.
    assert abs(float(out.var()) - float((x / x.std(correction=0)).square().mean())) < 4 * math.sqrt(2 / 2000)


def test_laplace_and_around() -> None:
    module = net()
    total, values = log_prob(priors.laplace(0.7), module)
    torch.testing.assert_close(total, torch.stack([td.Laplace(0.0, 0.7).log_prob(v).sum() for v in values.values()]).sum())
    total, values = log_prob(priors.around(0.7), module)
    own = {f"net.{name}": value for name, value in module.named_parameters()}
    expected = torch.stack([td.Normal(own[name].detach(), 0.7).log_prob(v).sum() for name, v in values.items()]).sum()
    torch.testing.assert_close(total, expected)


def test_hierarchical_shares_a_scale_in_a_layer() -> None:
    total, values = log_prob(priors.hierarchical(0.7), net())
    assert [name for name in values if name.endswith("prior_scale")] == [f"net.{i}.prior_scale" for i in (0, 2, 3)]
    expected = torch.zeros(())
    for name, value in values.items():
        layer = name.rpartition(".")[0]
        if name.endswith("prior_scale"):
            expected += td.HalfNormal(0.7).log_prob(value)
        else:
            expected += td.Normal(0.0, values[f"{layer}.prior_scale"]).log_prob(value).sum()
    torch.testing.assert_close(total, expected)


def test_a_regularised_horseshoe_has_a_slab() -> None:
    rule = priors.regularised_horseshoe(0.7, slab=1.5, slab_df=5.0)
    total, values = log_prob({"net.weight": rule}, nn.Linear(3, 2))
    slab, tau, lam, weight = (values[f"net.weight{part}"] for part in (".slab", ".global_scale", ".local_scale", ""))
    expected = td.HalfCauchy(0.7).log_prob(tau) + td.HalfCauchy(1.0).log_prob(lam).sum()
    expected = expected + td.InverseGamma(2.5, 2.5 * 1.5**2).log_prob(slab)
    scale = (1 / (1 / slab + 1 / (tau * lam) ** 2)).sqrt()
    torch.testing.assert_close(total, expected + td.Normal(0.0, scale).log_prob(weight).sum())


def test_r2d2_divides_what_is_explained() -> None:
    total, values = log_prob({"net.weight": priors.r2d2(0.7, mean=0.3, precision=4.0, spread=0.8)}, nn.Linear(3, 2))
    share, parts, weight = (values[f"net.weight{part}"] for part in (".r2", ".shares", ""))
    assert parts.shape == (6,)
    expected = td.Beta(1.2, 2.8).log_prob(share) + td.Dirichlet(torch.full((6,), 0.8)).log_prob(parts)
    scale = 0.7 * (share / (1 - share) * parts).sqrt().reshape(2, 3)
    torch.testing.assert_close(total, expected + td.Normal(0.0, scale).log_prob(weight).sum())
    with pytest.raises(PriorTypeError, match=r"r2d2: `mean` must be between 0 and 1"):
        priors.r2d2(mean=1.5)
    with pytest.raises(PriorTypeError, match=r"regularised_horseshoe: `slab` must be a positive number, but is -1"):
        priors.regularised_horseshoe(slab=-1)


def test_horseshoe_has_local_and_global_scales() -> None:
    module = nn.Linear(3, 2)
    total, values = log_prob({"net.weight": priors.horseshoe(0.7)}, module)
    tau, lam, weight = (values[f"net.weight{part}"] for part in (".global_scale", ".local_scale", ""))
    assert lam.shape == weight.shape == (2, 3)
    expected = td.HalfCauchy(0.7).log_prob(tau) + td.HalfCauchy(1.0).log_prob(lam).sum()
    torch.testing.assert_close(total, expected + td.Normal(0.0, tau * lam).log_prob(weight).sum())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rules_are_values_in_any_dtype(rule: Any) -> None:
    assert pickle.loads(pickle.dumps(rule)) == rule
    module = nn.Linear(3, 2).double()
    _, values = log_prob(rule, module)
    assert {value.dtype for value in values.values()} == {torch.float64}
    # They can be sampled: the density is captured, and standardised where that helps.
    density = su.compile(su.lift(lambda: su.module("net", module), rule), engine="torch")
    assert math.isfinite(density.value_and_grad(density.density.start(np.random.default_rng(0)))[0])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_whose_support_does_not_fit_is_an_error(rule: Any) -> None:
    model = lambda: su.param("s", torch.tensor(1.0), constraint=constraints.positive)
    with pytest.raises(PriorSupportError, match=r"of parameter 's' .*not inside the parameter's constraint GreaterThan"):
        su.lift(model, rule)()


@pytest.mark.parametrize("rule", [priors.fan_in, priors.laplace, priors.around, priors.hierarchical, priors.horseshoe])
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, "1", True])
def test_a_scale_must_be_positive(rule: Any, scale: Any) -> None:
    with pytest.raises(PriorTypeError, match=rf"su\.priors\.{rule.__name__}: the scale must be a positive number"):
        rule(scale)


@pytest.mark.parametrize("rule", [priors.fan_in(), priors.around(), priors.horseshoe()], ids=lambda r: type(r).__name__)
def test_a_parameter_without_a_value(rule: Any) -> None:
    with pytest.raises(PriorShapeError, match=r"needs the value of parameter 's', for its shape.*param\(name, init\)"):
        su.lift(lambda: su.param("s"), rule)()


def test_the_sampler_starts_around_pretrained_weights() -> None:
    module = nn.Linear(16, 3)

    def program() -> None:
        su.sample("y", su.distributions.Normal(su.module("net", module)(X), 1.0).to_event(3), obs=torch.zeros(2, 5, 3))

    density = su.infer.LogDensity(su.lift(program, priors.around(0.5)))
    start = density.start(np.random.default_rng(0))
    trained = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).double().numpy()
    assert 0.05 < abs(start - trained).max() <= 0.1 + 1e-6

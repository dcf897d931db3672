"""In a double density, its predictions and its scores, what was written in double or as a Python number is a double."""

import math
import threading
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

import sursum as su
import sursum.distributions as dist
from sursum.common.precision import in_double, is_double
from sursum.distributions import constraints
from sursum.distributions.bijections import bijection
from sursum.distributions.rebuild import recast
from sursum.distributions.written import as_written
from sursum.errors import SiteError

D = torch.float64
ENGINES = ("native", "torch")
F = torch.tensor


def log_sigmoid(x):
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


def site_log_prob(fn, value, z):
    """The log density of one observed site as a density computes it, and its gradient by z."""

    def model():
        u = su.sample("z", dist.ImproperUniform())
        su.sample("y", fn(u), obs=value)

    q = torch.tensor([z], dtype=D, requires_grad=True)
    found = su.infer.LogDensity(model)(q)
    (slope,) = torch.autograd.grad(found, q)
    return float(found.detach()), float(slope)


# A family at probability exp(z): the distribution, a value, log p of it by lp = log p and r = log(1 − p), and the slope by lp.
BY_PROBS = {
    "Bernoulli 1": (lambda m, p: m.Bernoulli(p), F(1.0), lambda lp, r: lp),
    "Bernoulli 0": (lambda m, p: m.Bernoulli(p), F(0.0), lambda lp, r: r),
    "Binomial": (lambda m, p: m.Binomial(10, p), F(3.0), lambda lp, r: 3 * lp + 7 * r + math.log(120)),
    "Geometric": (lambda m, p: m.Geometric(p), F(3.0), lambda lp, r: lp + 3 * r),
    "NegativeBinomial": (lambda m, p: m.NegativeBinomial(5.0, p), F(2.0), lambda lp, r: 2 * lp + 5 * r + math.log(15)),
    "Categorical": (lambda m, p: m.Categorical(torch.stack([p, 1 - p])), F(0), lambda lp, r: lp),
    "OneHotCategorical": (lambda m, p: m.OneHotCategorical(torch.stack([p, 1 - p])), F([1.0, 0.0]), lambda lp, r: lp),
    "Multinomial": (
        lambda m, p: m.Multinomial(3, torch.stack([p, 1 - p])),
        F([2.0, 1.0]),
        lambda lp, r: 2 * lp + r + math.log(3),
    ),
    "ContinuousBernoulli": (
        lambda m, p: m.ContinuousBernoulli(p),
        F(0.25),
        # log(2 artanh(1 − 2p) / (1 − 2p)) = log(r − lp) − log(1 − 2p)
        lambda lp, r: math.log(r - lp) - math.log1p(-2 * math.exp(lp)) + 0.25 * lp + 0.75 * r,
    ),
}


@pytest.mark.parametrize("probability", [1e-12, 1e-300])
@pytest.mark.parametrize("module", [dist, td], ids=["sursum", "torch"])
@pytest.mark.parametrize(("make", "value", "expected"), BY_PROBS.values(), ids=BY_PROBS)
def test_improbable_events_have_their_probability(make, value, expected, module, probability):
    lp, r = math.log(probability), math.log1p(-probability)
    found, slope = site_log_prob(lambda z: make(module, z.exp()), value, lp)
    assert found == pytest.approx(expected(lp, r), rel=1e-13, abs=2e-14)
    assert math.isfinite(slope)


BY_LOGITS = {
    "Bernoulli 1": (lambda z: dist.Bernoulli(logits=z), F(1.0), lambda lp, r, z: lp),
    "Bernoulli 0": (lambda z: dist.Bernoulli(logits=z), F(0.0), lambda lp, r, z: r),
    "Binomial": (lambda z: dist.Binomial(10, logits=z), F(3.0), lambda lp, r, z: 3 * lp + 7 * r + math.log(120)),
    "Geometric": (lambda z: dist.Geometric(logits=z), F(3.0), lambda lp, r, z: lp + 3 * r),
    "NegativeBinomial": (
        lambda z: dist.NegativeBinomial(5.0, logits=z),
        F(2.0),
        lambda lp, r, z: 2 * lp + 5 * r + math.log(15),
    ),
    "Categorical": (lambda z: dist.Categorical(logits=torch.stack([z, 0 * z])), F(0), lambda lp, r, z: lp),
    "ContinuousBernoulli": (
        lambda z: dist.ContinuousBernoulli(logits=z),
        F(0.25),
        lambda lp, r, z: math.log(abs(z) / math.tanh(abs(z) / 2)) + 0.25 * lp + 0.75 * r,
    ),
    "RelaxedBernoulli": (
        lambda z: dist.RelaxedBernoulli(F(0.5), logits=z),
        F(0.25),
        lambda lp, r, z: (
            math.log(0.5 / (0.25 * 0.75)) + (lambda d: log_sigmoid(d) + log_sigmoid(-d))(z - 0.5 * math.log(0.25 / 0.75))
        ),
    ),
}


@pytest.mark.parametrize("logit", [50.0, -50.0, 800.0, -800.0])
@pytest.mark.parametrize(("make", "value", "expected"), BY_LOGITS.values(), ids=BY_LOGITS)
def test_extreme_logits_are_exact(make, value, expected, logit):
    found, slope = site_log_prob(make, value, logit)
    assert found == pytest.approx(expected(log_sigmoid(logit), log_sigmoid(-logit), logit), rel=1e-13, abs=2e-14)
    assert math.isfinite(slope)


@pytest.mark.parametrize("engine", ENGINES)
def test_improbable_events_through_the_compiled_density(engine):
    names = ("Bernoulli 1", "Binomial", "NegativeBinomial", "Categorical")

    def model():
        p = su.sample("z", dist.ImproperUniform()).exp()
        for name in names:
            make, value, _ = BY_PROBS[name]
            su.sample(name, make(dist, p), obs=value)

    density = su.compile(model, engine=engine)
    for p in (1e-12, 1e-300):
        value, gradient = density.value_and_grad([math.log(p)])
        expected = sum(BY_PROBS[name][2](math.log(p), math.log1p(-p)) for name in names)
        assert value == pytest.approx(expected, rel=1e-13)
        assert gradient[0] == pytest.approx(1 + 3 + 2 + 1, rel=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sparse_beta_is_symmetric_also_where_p_is_rounded_to_one(engine):
    density = su.compile(lambda: su.sample("p", dist.Beta(0.1, 0.1)), engine=engine)
    constant = 2 * math.lgamma(0.1) - math.lgamma(0.2)
    for u in (0.0, 5.0, 30.0, 40.0, 300.0):
        expected = 0.1 * (log_sigmoid(u) + log_sigmoid(-u)) - constant
        for place in (u, -u):
            value, gradient = density.value_and_grad([place])
            assert value == pytest.approx(expected, rel=1e-13)
            slope = 0.1 * (1 - 2 / (1 + math.exp(-place)))
            assert gradient[0] == pytest.approx(slope, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sparse_dirichlet_at_the_edges(engine):
    density = su.compile(lambda: su.sample("x", dist.Dirichlet(torch.full((3,), 0.1))), engine=engine)
    constant = math.lgamma(0.3) - 3 * math.lgamma(0.1)
    for u, v in ((0.0, 0.0), (50.0, 1.0), (-200.0, 60.0), (60.0, 300.0), (-300.0, -300.0)):
        # A share σ(t) of the stick each time: both are Beta(0.1, 0.2) and Beta(0.1, 0.1), in logits.
        first, second = u - math.log(2), v
        log_x = [log_sigmoid(first), log_sigmoid(-first) + log_sigmoid(second), log_sigmoid(-first) + log_sigmoid(-second)]
        jacobian = log_x[0] + log_sigmoid(-first) + log_x[1] + log_sigmoid(-second)
        value, gradient = density.value_and_grad([u, v])
        assert value == pytest.approx(constant - 0.9 * sum(log_x) + jacobian, rel=1e-12)
        sigma = 1 / (1 + math.exp(-first))
        assert gradient[0] == pytest.approx(0.1 * (1 - sigma) - 0.2 * sigma, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("u", [-700.0, -300.0, -40.0, -1.0, 30.0])
def test_the_way_back_from_the_unit_interval_and_the_simplex(u):
    onto = bijection(constraints.unit_interval)
    q = torch.tensor(u, dtype=D)
    x = onto(q)
    assert float(onto.inv(x.clone())) == pytest.approx(u, rel=1e-14 if u < 0 else 1e-3)
    assert float(onto.log_abs_det_jacobian(q, x)) == pytest.approx(log_sigmoid(u) + log_sigmoid(-u), rel=1e-15)
    stick = bijection(constraints.simplex)
    q = torch.tensor([2.0, u, 3.0], dtype=D)
    assert stick.inv(stick(q)).tolist() == pytest.approx(q.tolist(), rel=1e-13, abs=1e-13)


# Python's numbers ---------------------------------------------------------------------------------------------------

JULIAN = 2451545.1


def normal(x, loc, scale):
    return -((x - loc) ** 2) / (2 * scale**2) - math.log(scale) - 0.5 * math.log(2 * math.pi)


GLOBAL = dist.Normal(JULIAN, 0.3)
PLACES = {
    "in the program": lambda: su.sample("t", dist.Normal(JULIAN, 0.3)),
    "outside the program": lambda: su.sample("t", GLOBAL),
    "expanded": lambda: su.sample("t", GLOBAL.expand([1]).to_event(1))[0],
    "masked": lambda: su.sample("t", GLOBAL.mask(True)),
    "lifted": su.lift(lambda: su.param("t", torch.tensor(JULIAN)), {"t": dist.Normal(JULIAN, 0.3)}),
    "lifted from double": su.lift(lambda: su.param("t", torch.tensor(JULIAN, dtype=D)), {"t": GLOBAL}),
    "lifted by a function": su.lift(lambda: su.param("t", torch.tensor(1.0)), lambda value: GLOBAL),
    "new prior": su.reprior(lambda: su.sample("t", dist.Normal(0.0, 1.0)), {"t": GLOBAL}),
    "a mixture": lambda: su.sample(
        "t", dist.MixtureSameFamily(dist.Categorical(torch.ones(1)), dist.Normal(torch.full((1,), JULIAN), 0.3))
    ),
    "a tensor of numbers": lambda: su.sample("t", dist.Normal(torch.tensor(JULIAN), torch.tensor([0.3])[0])),
    "a narrow dtype asked for": lambda: su.sample("t", td.Normal(torch.tensor(JULIAN, dtype=torch.float32), 0.3)),
    "beside a narrow tensor": lambda: su.sample("t", dist.Normal(torch.zeros(()) + JULIAN, 0.3)),
}


@pytest.mark.parametrize("model", PLACES.values(), ids=PLACES)
def test_python_numbers_are_doubles(model):
    density = su.infer.LogDensity(model)
    q = torch.full((1,), JULIAN + 0.1, dtype=D)
    assert float(density(q)) == pytest.approx(normal(JULIAN + 0.1, JULIAN, 0.3), rel=1e-9)
    assert float(density(torch.full((1,), JULIAN, dtype=D))) == pytest.approx(normal(0.0, 0.0, 0.3), rel=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_in_arithmetic_are_doubles_whatever_is_closed_over(engine):
    x = torch.tensor([1.0, 3.0])
    counts = torch.tensor([1, 2])

    def model():
        z = su.sample("z", dist.ImproperUniform())
        su.factor(
            "f", (z * x * 0.1).sum() + (counts / 3).sum() + torch.where(x > 2, 0.1, x).sum() + torch.full((2,), 0.7).sum()
        )

    value, gradient = su.compile(model, engine=engine).value_and_grad([0.3])
    assert value == pytest.approx(0.3 * 0.4 + 1.0 + 1.1 + 1.4, rel=1e-15)
    assert gradient[0] == pytest.approx(0.4, rel=1e-15)


def test_a_distribution_remembers_its_numbers_through_copies():
    made = as_written(dist.LogNormal(0.1, 0.3).expand([2]).to_event(1))
    assert made.base_dist.base_dist.loc.tolist() == [0.1, 0.1]
    assert as_written(dist.Normal(0.0, 1.0)).loc.dtype is torch.float32  # nothing was rounded
    double = recast(dist.Uniform(0.1, 0.7), D, torch.device("cpu"))
    assert (float(double.low), float(double.high)) == (0.1, 0.7)
    assert dist.Normal(0.1, 0.3).loc.dtype is torch.float32  # outside of a density torch's own rule holds


# Data ----------------------------------------------------------------------------------------------------------------


def test_predictions_and_scores_of_data_far_from_zero():
    y = 1e8 + torch.linspace(-1.0, 1.0, 21, dtype=D)

    def model(y):
        m = su.sample("m", dist.Normal(1e8, 100.0))
        with su.plate("n", 21):
            su.sample("y", dist.Normal(m, 0.1), obs=y)

    draws = {"m": 1e8 + torch.tensor([0.0, 0.25], dtype=D)}
    scores = su.infer.log_likelihood(model, draws, y)["y"]
    expected = [[normal(v, m, 0.1) for v in y.tolist()] for m in draws["m"].tolist()]
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=D), rtol=1e-12, atol=0.0)
    predicted = su.infer.Predictive(model, {"m": 1e8 + torch.zeros(400, dtype=D)}, seed=0)(None)["y"]
    assert predicted.dtype is D
    assert abs(float(predicted.std()) - 0.1) < 5 * 0.1 / math.sqrt(2 * predicted.numel())


def test_counts_beyond_int32_are_exact():
    n, k = 2**33 + 1, 2**32 + 1
    found, _ = site_log_prob(lambda z: dist.Poisson(z.exp()), torch.tensor(k), 22.0)
    assert found == pytest.approx(22.0 * k - math.exp(22.0) - math.lgamma(k + 1), rel=1e-15)
    found, _ = site_log_prob(lambda z: dist.Binomial(n, logits=z), torch.tensor(k), 0.0)
    assert found == pytest.approx(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2), rel=1e-7)


@pytest.mark.parametrize("make", [dist.Bernoulli, td.Bernoulli], ids=["sursum", "torch"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32])
def test_a_bernoulli_takes_integers(make, dtype):
    y = torch.tensor([1, 0, 1]).to(dtype)
    found, slope = site_log_prob(lambda z: make(logits=z.expand(3)), y, 0.5)
    assert found == pytest.approx(2 * log_sigmoid(0.5) + log_sigmoid(-0.5), rel=1e-15)
    assert slope == pytest.approx(2 - 3 / (1 + math.exp(-0.5)), rel=1e-14)


def test_integers_outside_of_a_density():
    assert dist.Bernoulli(0.25).log_prob(torch.tensor([1, 0])).exp().tolist() == pytest.approx([0.25, 0.75], rel=1e-6)


# Programs of two dtypes ----------------------------------------------------------------------------------------------

X = torch.linspace(-1.0, 1.0, 12, dtype=D).reshape(4, 3)
Y = torch.linspace(0.0, 1.0, 4, dtype=D)


def regression(x, y):
    b = su.sample("b", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    su.sample("y", dist.Normal(x @ b, 0.5).to_event(1), obs=y)


@pytest.mark.parametrize("engine", ENGINES)
def test_double_data_times_a_narrow_site(engine):
    b = torch.tensor([0.1, -0.2, 0.3], dtype=D)
    expected = sum(normal(v, 0.0, 1.0) for v in b.tolist())
    expected += sum(normal(v, m, 0.5) for v, m in zip(Y.tolist(), (X @ b).tolist(), strict=True))
    assert su.compile(regression, X, Y, engine=engine).value_and_grad(b)[0] == pytest.approx(expected, rel=1e-14)
    score = su.infer.log_likelihood(regression, {"b": b[None]}, X, Y)["y"]
    assert float(score) == pytest.approx(expected - sum(normal(v, 0.0, 1.0) for v in b.tolist()), rel=1e-14)
    assert su.infer.Predictive(regression, {"b": b[None]}, seed=0)(X, None)["y"].shape == (1, 4)


def test_double_data_times_a_narrow_parameter_are_fitted():
    def model(x, y):
        su.sample("y", dist.Normal(x @ su.param("b", torch.zeros(3)), 0.5).to_event(1), obs=y)
        su.sample("ridge", dist.Normal(su.param("b", torch.zeros(3)), 1.0).to_event(1), obs=torch.zeros(3))

    found = su.infer.Fit(model).run(X, Y)["b"].double()
    exact = torch.linalg.solve(X.T @ X / 0.25 + torch.eye(3, dtype=D), X.T @ Y / 0.25)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-6)


def test_a_training_step_says_what_does_not_fit():
    with pytest.raises(SiteError, match=r"site 'b'.*float32.*the data in x are torch.float64") as said:
        su.infer.SVI(regression, su.infer.autoguide.AutoNormal(regression), su.optim.Adam({"lr": 0.1}), seed=0).run(2, X, Y)
    assert "x.to(torch.float32)" in str(said.value)
    with pytest.raises(SiteError, match="site 'b'"):
        su.infer.Fit(regression, optim=partial(torch.optim.Adam, lr=0.1), num_steps=2).run(X, Y)


def test_an_improper_site_in_a_program_in_double():
    precision = torch.eye(3, dtype=D)

    def model():
        x = su.sample("x", dist.ImproperUniform(constraints.real, event_shape=(3,)))
        su.factor("f", -0.5 * x @ precision @ x)

    assert su.compile(model).value_and_grad([1.0, 2.0, 3.0])[0] == -7.0


def test_a_narrow_network_of_narrow_data_is_computed_in_double():
    net = torch.nn.Linear(3, 1).requires_grad_(False)
    x = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)

    def model():
        scale = su.sample("s", dist.LogNormal(0.0, 1.0))
        su.factor("f", (net(x) * scale).sum())

    q = torch.tensor([0.0], dtype=D)
    expected = float(linear(x.double(), net.weight.double(), net.bias.double()).sum()) + normal(0.0, 0.0, 1.0)
    assert float(su.infer.LogDensity(model)(q).detach()) == pytest.approx(expected, rel=1e-14)


# Starts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [lambda v: v, lambda v: v.tolist(), lambda v: v.double().numpy()], ids=["", "list", "array"]
)
def test_a_run_starts_at_a_draw_of_its_prior(written):
    def model():
        su.sample("lp", dist.LKJCholesky(5, 1.0))
        su.sample("x", dist.Dirichlet(torch.ones(5)))

    values = {name: site.value for name, site in su.trace(su.seed(model, 3)).get_trace().items()}
    assert values["lp"].dtype is torch.float32
    density = su.infer.LogDensity(model)
    q = density.start(np.random.default_rng(0), {name: written(value) for name, value in values.items()})
    found = density.unravel(torch.from_numpy(q))
    torch.testing.assert_close(found["lp"], values["lp"].double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["x"], values["x"].double(), rtol=1e-5, atol=1e-6)


# The mode itself -----------------------------------------------------------------------------------------------------


def test_nothing_of_the_process_is_changed():
    seen = []

    def other():
        seen.append((torch.zeros(1).dtype, torch.tensor(0.1).dtype, is_double()))

    with in_double():
        assert torch.get_default_dtype() is torch.float32
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with in_double():
            assert torch.zeros(1).dtype is D
        assert torch.zeros(1).dtype is D
    assert seen == [(torch.float32, torch.float32, False)]
    assert torch.zeros(1).dtype is torch.float32
    assert not is_double()


def test_what_is_made_and_computed_inside_is_double():
    x, lstm = torch.ones(2, 3), torch.nn.LSTM(3, 2)
    with in_double():
        made = [
            torch.rand(2),
            torch.arange(3) / 2,
            torch.arange(0.0, 1.0, 0.1),
            torch.linspace(0, 1, 3),
            torch.eye(2),
            torch.tensor([1, 2]).lgamma(),
            torch.tensor([True, False]).float().mean(),
            x.new_full((1,), 0.1),
            x.new_tensor([0.1]),
            torch.as_tensor([0.1], dtype=torch.float32),
            x.double().to(torch.float32),
            td.Normal(x, 0.1).scale,
            td.Gamma(0.1, 1.0).sample(),
            lstm(x)[0],
            torch.func.vmap(lambda row: row * 0.1)(x),
            x.expand(4, 2, 3) * 0.1,
        ]
        integers = [torch.arange(3), torch.randint(3, (2,)), torch.randperm(3), torch.full((2,), 3), torch.tensor([1])]
    assert [tensor.dtype for tensor in made] == [D] * len(made)
    assert [tensor.dtype for tensor in integers] == [torch.int64] * len(integers)
    assert float(made[2][1]) == 0.1
    assert float(made[7]) == float(made[8]) == float(made[9]) == 0.1
    assert float(made[-1][0, 0, 0]) == 0.1


def test_a_tensor_that_is_written_is_converted_anew():
    x = torch.ones(2)
    with in_double():
        before = x * 1.0
        x.fill_(3.0)
        after = x * 1.0
    assert before.tolist() == [1.0, 1.0]
    assert after.tolist() == [3.0, 3.0]


def test_the_gradient_of_a_density_may_be_taken_outside_of_it():
    net, x = torch.nn.Linear(3, 2), torch.linspace(-1.0, 1.0, 12).reshape(4, 3)

    def model():
        su.factor("f", su.module("net", net)(x).tanh().square().sum())

    density = su.infer.LogDensity(su.lift(model, dist.ImproperUniform()))
    q = torch.linspace(-1.0, 1.0, density.dim, dtype=D, requires_grad=True)
    (slope,) = torch.autograd.grad(density(q), q)
    assert slope.tolist() == pytest.approx(su.compile(density.model).value_and_grad(q.detach())[1].tolist(), rel=1e-13)


POINT = torch.tensor([0.25, -1.5, 3.0], dtype=D)

# What no mode need compute, and what only looks as if it were so: (what is called, the same in NumPy's doubles).
PASSED_BY = {
    "float": (lambda x: x.float(), lambda x: x),
    "half": (lambda x: x.half(), lambda x: x),
    "to float32": (lambda x: x.to(torch.float32), lambda x: x),
    "to a tensor's": (lambda x: x.to(F(1.0)), lambda x: x),
    "zeros like": (lambda x: torch.zeros_like(x, dtype=torch.float32) + 0.1, lambda x: 0 * x + 0.1),
    "truth times a number": (lambda x: (x > 0) * 0.1, lambda x: (x > 0) * 0.1),
    "truth divided": (lambda x: (x > 0) / 3, lambda x: (x > 0) / 3.0),
    "exp of truth": (lambda x: torch.exp(x > 0), lambda x: np.exp(1.0 * (x > 0))),
    "where of numbers": (lambda x: torch.where(x > 0, 0.1, 0.2), lambda x: np.where(x > 0, 0.1, 0.2)),
    "number less": (lambda x: 0.1 - x, lambda x: 0.1 - x),
    "number over": (lambda x: 0.1 / x, lambda x: 0.1 / x),
    "number to the power": (lambda x: 0.1**x, lambda x: 0.1**x),
    "power": (lambda x: x**3, lambda x: x**3),
    "entropy of truth": (
        lambda x: torch.binary_cross_entropy_with_logits(x, x > 0),
        lambda x: np.logaddexp(0, x) - x * (x > 0),
    ),
    "by a float32": (lambda x: torch.mul(x, F(0.5)), lambda x: 0.5 * x),
    "a list with a float32": (lambda x: torch.stack([x[0], F(0.5)]), lambda x: np.array([x[0], 0.5])),
    "counted": (lambda x: x[torch.tensor([2, 0])], lambda x: x[[2, 0]]),
}


@pytest.mark.parametrize(("call", "expected"), PASSED_BY.values(), ids=PASSED_BY)
def test_what_passes_the_modes_by_is_in_double_too(call, expected):
    with in_double():
        found = call(POINT)
    assert found.dtype is D
    np.testing.assert_allclose(found.numpy(), expected(POINT.numpy()), rtol=1e-15, atol=0)


def test_draws_are_made_once():
    torch.manual_seed(0)
    with in_double():
        first = [torch.rand_like(POINT), torch.normal(0.0, POINT.abs()), torch.randn(2), torch.bernoulli(POINT.abs() / 3)]
        last = torch.randn(())
    torch.manual_seed(0)
    again = [torch.rand_like(POINT), torch.normal(0.0, POINT.abs()), torch.randn(2, dtype=D), torch.bernoulli(POINT.abs() / 3)]
    assert all(map(torch.equal, first, again))
    assert torch.equal(last, torch.randn((), dtype=D))


def test_modes_that_the_program_enters_see_every_operator():
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with in_double(), Watch():
        POINT.exp() * POINT
    with Watch(), in_double():
        POINT.exp() * POINT
    assert seen == ["exp.default", "mul.Tensor"] * 2

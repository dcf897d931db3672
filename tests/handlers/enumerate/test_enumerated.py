"""Discrete sites that are summed out, against sums over all assignments, closed forms and programs summed by hand."""

import math

import numpy as np
import pytest
import torch
from tests.handlers.enumerate.programs import RandomProgram

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError
from sursum.infer import LogDensity

normal = dist.Normal


def small(seeds, most):
    """Random programs that have few enough assignments to go through them."""
    return [seed for seed in seeds if RandomProgram(seed).assignments() <= most]


def compared(seed):
    """Our log density and the exact one, at random weights; None where plates entangle sites."""
    program = RandomProgram(seed)
    w = torch.as_tensor(np.random.default_rng(seed).normal(size=3))
    if program.entangled():
        with pytest.raises(DensityError, match="every element of one plate"):
            LogDensity(program)
        return None
    return float(LogDensity(program)(w)), float(program.exact(w)[0])


@pytest.mark.parametrize("seed", small(range(40), 24))
def test_random_programs(seed):
    found = compared(seed)
    assert found is None or found[0] == pytest.approx(found[1], rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", small(range(1000, 1400), 600))
def test_many_random_programs(seed):
    found = compared(seed)
    assert found is None or found[0] == pytest.approx(found[1], rel=1e-10)


DATA = torch.tensor([-2.1, 2.3, 1.9, -1.0], dtype=torch.float64)


def mixture(y, summed=True):
    w = su.sample("w", dist.Dirichlet(torch.ones(3)))
    mu = su.sample("mu", normal(torch.zeros(3), 3.0).to_event(1))
    with su.plate("data", len(y)):
        if not summed:
            su.sample("y", dist.MixtureSameFamily(dist.Categorical(w), normal(mu, 1.0)), obs=y)
        else:
            k = su.sample("k", dist.Categorical(w))
            su.sample("y", normal(mu[k], 1.0), obs=y)


def test_a_mixture_is_that_of_its_family_in_value_and_gradient():
    ours, theirs = su.compile(mixture, DATA), su.compile(mixture, DATA, False)
    q = np.array([0.3, -0.4, 0.1, 1.0, -2.0])
    (value, slope), (other, theirs_slope) = ours.value_and_grad(q), theirs.value_and_grad(q)
    assert ours.engine == "native"
    assert value == pytest.approx(other, rel=1e-12)
    np.testing.assert_allclose(slope, theirs_slope, rtol=1e-10, atol=1e-10)
    assert list(ours.unravel(q)) == ["w", "mu"]


@pytest.mark.parametrize("family", [dist.Categorical, dist.OneHotCategorical])
def test_tables_of_values_are_logits_and_nothing_is_scattered(family):
    """The density of all values of a categorical site is what it is made of: no element is looked up, none added back."""
    weights = torch.softmax(torch.arange(12.0, dtype=torch.float64).reshape(3, 4), -1)

    def program():
        shift = su.sample("shift", normal(torch.zeros((), dtype=torch.float64), 1.0))
        first = su.sample("first", family(weights[0, :3]))
        with su.plate("data", 3):
            second = su.sample("second", family(logits=weights.log() * shift))
            value = (second if second.dim() and family is dist.Categorical else second.argmax(-1)) + (
                first if family is dist.Categorical else first.argmax(-1)
            )
            su.sample("y", normal(value.double(), 1.0), obs=torch.tensor([0.5, 1.0, 4.0]).double())

    density = LogDensity(program)
    q = torch.tensor([0.7], dtype=torch.float64)
    y = torch.tensor([0.5, 1.0, 4.0]).double()
    inner = torch.log_softmax(weights.log() * q, -1)[None] + torch.distributions.Normal(
        torch.arange(3.0).reshape(3, 1, 1) + torch.arange(4.0), 1.0
    ).log_prob(y[:, None])
    first = torch.log_softmax(weights[0, :3].log(), -1)
    exact = torch.logsumexp(first + torch.logsumexp(inner, -1).sum(-1), 0) + torch.distributions.Normal(0.0, 1.0).log_prob(q[0])
    assert float(density(q)) == pytest.approx(float(exact), rel=1e-12)
    names = {node.op.__name__.split(".")[0] for node in su.compile(program, engine="torch").graph.nodes}
    assert names.isdisjoint({"gather", "scatter_add", "scatter"})


def joint(program, values):
    with su.trace() as t:
        su.condition(program, data=values)()
    return float(t.trace.log_prob_sum())


@pytest.mark.parametrize(
    ("fn", "values"),
    [
        (dist.Bernoulli(0.3), [0.0, 1.0]),
        (dist.Categorical(torch.tensor([0.2, 0.3, 0.5])), [0, 1, 2]),
        (dist.Binomial(3, torch.tensor(0.3)), [0.0, 1.0, 2.0, 3.0]),
        (dist.BetaBinomial(2.0, 3.0, 2), [0.0, 1.0, 2.0]),
        (dist.DiscreteUniform(torch.tensor(1), torch.tensor(3)), [1, 2, 3]),
        (dist.Categorical(torch.ones(1)), [0]),
        (dist.Categorical(logits=torch.tensor([0.3, -torch.inf, 0.1])), [0, 1, 2]),
        (dist.Bernoulli(torch.tensor([0.2, 0.6])).to_event(1), [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        (dist.OneHotCategorical(torch.tensor([0.2, 0.8])), [[1.0, 0.0], [0.0, 1.0]]),
        (
            dist.MixtureSameFamily(dist.Categorical(torch.tensor([0.4, 0.6])), dist.Bernoulli(torch.tensor([0.1, 0.9]))),
            [0.0, 1.0],
        ),
        (torch.distributions.Bernoulli(0.3), [0.0, 1.0]),
        (dist.Bernoulli(0.3).mask(False), [0.0, 1.0]),
    ],
    ids=lambda part: type(part).__name__,
)
def test_every_family(fn, values):
    def program():
        x = su.sample("x", normal(0.0, 1.0))
        z = su.sample("z", fn)
        total = z.double().sum(-1) if fn.event_shape else z
        su.sample("y", normal(total + x, 1.0), obs=torch.tensor(0.5))

    x = torch.tensor(0.3, dtype=torch.float64)
    terms = [joint(program, {"x": x, "z": torch.tensor(value)}) for value in values]
    # A masked site has no density of its own: its values count equally.
    even = math.log(2) if isinstance(fn, dist.Masked) else 0.0
    assert float(LogDensity(program)(x[None])) == pytest.approx(float(np.logaddexp.reduce(terms)) - even, rel=1e-6)


def test_binomials_of_different_totals():
    totals = torch.tensor([1.0, 3.0])

    def program():
        x = su.sample("x", normal(0.0, 1.0))
        with su.plate("n", 2):
            z = su.sample("z", dist.Binomial(totals, torch.tensor(0.4)))
            su.sample("y", normal(z + x, 1.0), obs=torch.zeros(2))

    exact = normal(0.0, 1.0).log_prob(torch.tensor(0.2))
    for total in (1, 3):
        z = torch.arange(total + 1.0)
        exact = exact + torch.logsumexp(
            dist.Binomial(total, 0.4).log_prob(z) + normal(z + 0.2, 1.0).log_prob(torch.tensor(0.0)), 0
        )
    q = np.array([0.2])
    compiled = su.compile(program)
    assert compiled.value_and_grad(q)[0] == pytest.approx(float(exact), rel=1e-6)
    assert compiled.check(q).passed()


def test_a_lifted_parameter_with_a_discrete_prior():
    def program(y):
        rate = su.param("rate", torch.tensor(1.0))
        x = su.sample("x", normal(0.0, 1.0))
        su.sample("y", normal(rate + x, 1.0), obs=y)

    prior = {"rate": dist.Categorical(torch.tensor([0.5, 0.25, 0.25]))}
    density = LogDensity(su.lift(program, prior), (torch.tensor(1.5),))
    rates = torch.arange(3.0)
    terms = torch.tensor([0.5, 0.25, 0.25]).log() + normal(rates + 0.1, 1.0).log_prob(torch.tensor(1.5))
    exact = torch.logsumexp(terms, 0) + normal(0.0, 1.0).log_prob(torch.tensor(0.1))
    assert float(density(torch.tensor([0.1], dtype=torch.float64))) == pytest.approx(float(exact), rel=1e-6)


def test_an_unknown_number_of_animals():
    """Values at which the data are impossible have no weight, and no gradient that is not a number."""
    y = torch.tensor([4.0, 6.0, 5.0])

    def program(y):
        p = su.sample("p", dist.Beta(2.0, 2.0))
        n = su.sample("n", dist.Categorical(logits=-0.3 * torch.arange(30.0)))
        with su.plate("visits", len(y)):
            su.sample("y", dist.Binomial(n, p), obs=y)

    compiled = su.compile(program, y)
    value, slope = compiled.value_and_grad(np.zeros(1))
    p = torch.tensor(0.5, dtype=torch.float64)
    n = torch.arange(30, dtype=torch.float64)
    weights = (-0.3 * n).log_softmax(0)
    terms = [
        weights[k] + dist.Binomial(int(k), p).log_prob(y.double()).sum() if k >= 6 else torch.tensor(-torch.inf)
        for k in range(30)
    ]
    prior = dist.Beta(2.0, 2.0).log_prob(torch.tensor(0.5)) + math.log(0.25)
    assert value == pytest.approx(float(torch.logsumexp(torch.stack(terms).double(), 0) + prior), rel=1e-6)
    assert np.isfinite(slope).all()
    assert compiled.check(np.zeros(1)).passed()


def test_states_that_cannot_be_have_no_gradient_that_is_not_a_number():
    def program():
        x = su.sample("x", normal(0.0, 1.0))
        z = su.sample("z", dist.Categorical(torch.ones(2)))
        su.factor("f", torch.where(z == 0, torch.tensor(-torch.inf), x))
        k = su.sample("k", dist.Categorical(logits=torch.stack([x, -x]).expand(2, 2)[z]))
        su.factor("g", torch.where((z == 0) & (k == 1), torch.tensor(-torch.inf), -x))

    value, slope = su.compile(program).value_and_grad(np.array([0.4]))
    exact = math.log(0.5) + 0.4 - 0.4 + float(normal(0.0, 1.0).log_prob(torch.tensor(0.4)))
    assert value == pytest.approx(exact, rel=1e-6)
    assert slope == pytest.approx([-0.4])


def test_nothing_possible_is_a_log_density_of_minus_infinity():
    def program():
        x = su.sample("x", normal(0.0, 1.0))
        z = su.sample("z", dist.Bernoulli(0.5))
        su.factor("f", torch.where(z + x > -torch.inf, torch.tensor(-torch.inf), x))

    assert float(LogDensity(program)(torch.zeros(1, dtype=torch.float64))) == -math.inf


def test_scale_multiplies_the_sum():
    def program(scale):
        x = su.sample("x", normal(0.0, 1.0))
        with su.scale(scale=scale), su.plate("n", 2):
            z = su.sample("z", dist.Bernoulli(0.3))
            su.sample("y", normal(z + x, 1.0), obs=torch.tensor([0.5, 1.0]))

    q = torch.tensor([0.1], dtype=torch.float64)
    one, two = (float(LogDensity(program, (scale,))(q)) for scale in (1.0, 2.0))
    rows = LogDensity(program, (torch.tensor([2.0, 2.0]),))
    prior = float(normal(0.0, 1.0).log_prob(torch.tensor(0.1)))
    assert two - prior == pytest.approx(2 * (one - prior), rel=1e-6)
    assert float(rows(q)) == pytest.approx(two, rel=1e-6)


def test_scales_that_differ_within_a_sum_are_an_error():
    def program():
        su.sample("x", normal(0.0, 1.0))
        z = su.sample("z", dist.Bernoulli(0.3))
        with su.scale(scale=0.5):
            su.sample("y", normal(z, 1.0), obs=torch.tensor(0.5))

    with pytest.raises(DensityError, match=r"'z', 'y' are summed together, and `scale` multiplies .* different factors"):
        LogDensity(program)


def test_masked_rows_count_nothing():
    def program(y, present):
        mu = su.sample("mu", normal(torch.zeros(2), 1.0).to_event(1))
        with su.plate("n", len(y)), su.mask(mask=present):
            z = su.sample("z", dist.Bernoulli(0.3))
            su.sample("y", normal(mu[z.long()], 1.0), obs=y)

    q = torch.tensor([0.1, -1.0], dtype=torch.float64)
    some = LogDensity(program, (torch.tensor([0.5, torch.nan, 1.0]), torch.tensor([True, False, True])))(q)
    rest = LogDensity(program, (torch.tensor([0.5, 1.0]), torch.tensor(True)))(q)
    assert float(some) == pytest.approx(float(rest), rel=1e-12)


def test_a_masked_site_has_its_distribution_where_others_depend_on_it():
    seen = torch.tensor([0.5, 2.0])

    def program(mask):
        def run():
            x = su.sample("x", normal(0.0, 1.0))
            with su.plate("n", 2):
                with su.mask(mask=mask):
                    z = su.sample("z", dist.Bernoulli(0.3))
                    su.sample("v", normal(z, 1.0), obs=-seen)
                su.sample("y", normal(x + z, 1.0), obs=seen)

        return run

    q, mask = torch.tensor([0.2], dtype=torch.float64), torch.tensor([True, False])
    weights, values = torch.tensor([0.7, 0.3]).log(), torch.arange(2.0, dtype=torch.float64)
    terms = weights + normal(q + values, 1.0).log_prob(seen[:, None])
    terms[0] += normal(values, 1.0).log_prob(-seen[0])
    exact = terms.logsumexp(-1).sum() + normal(0.0, 1.0).log_prob(q)
    assert float(LogDensity(program(mask))(q)) == pytest.approx(float(exact), rel=1e-6)
    odd = torch.tensor([0.3, torch.nan])  # nothing is known of what is left out

    def unknown():
        x = su.sample("x", normal(0.0, 1.0))
        with su.plate("n", 2), su.mask(mask=mask):
            z = su.sample("z", dist.Bernoulli(odd, validate_args=False))
            su.sample("y", normal(x + z, 1.0), obs=seen)

    exact = (weights + normal(q + values, 1.0).log_prob(seen[0])).logsumexp(-1) + normal(0.0, 1.0).log_prob(q)
    assert float(LogDensity(unknown)(q)) == pytest.approx(float(exact), rel=1e-6)


def test_a_mask_may_depend_on_a_state():
    def program(y):
        x = su.sample("x", normal(0.0, 1.0))
        with su.plate("n", len(y)):
            there = su.sample("there", dist.Bernoulli(0.3))
            with su.mask(mask=there == 1):
                su.sample("y", normal(x, 1.0), obs=y)

    y, q = torch.tensor([0.5, 1.0]), torch.tensor([0.2], dtype=torch.float64)
    terms = (0.7 + 0.3 * normal(q, 1.0).log_prob(y).exp()).log().sum() + normal(0.0, 1.0).log_prob(q)
    assert float(LogDensity(program, (y,))(q)) == pytest.approx(float(terms), rel=1e-6)


def test_a_table_that_would_be_too_large_is_not_made():
    message = r"needs a table of 320,000,000 numbers, 20 values of 'z0' × .* × 2000 elements of plate 'rows'; at most"

    def entered():
        su.sample("x", normal(0.0, 1.0))
        with su.plate("rows", 2000):
            zs = [su.sample(f"z{k}", dist.Categorical(torch.ones(20))) for k in range(4)]
            for k, (one, other) in enumerate([(0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2)]):
                su.factor(f"f{k}", (zs[one] * zs[other]).double())

    with pytest.raises(DensityError, match=r"'z0'.*'z1'.*'z2'.*'z3'.*plate 'rows'"):
        LogDensity(entered)
    with pytest.raises(DensityError, match=message):
        LogDensity(_four)


def _four():
    su.sample("x", normal(0.0, 1.0))
    with su.plate("rows", 2000):
        a, b, c, d = (su.sample(f"z{k}", dist.Categorical(torch.ones(20))) for k in range(4))
        with su.mask(mask=(a == 0) & (b == 0)):
            su.sample("y", normal(c.double(), 1.0 + d.double()), obs=torch.zeros(2000))


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (lambda: su.sample("k", dist.Poisson(2.0)), r"'k' .* discrete \(Poisson\).*infinitely many values"),
        (lambda: su.sample("k", dist.Bernoulli(0.5), infer={"enumerate": None}), r"'k'.*keeps it from being summed out"),
        (lambda: su.sample("k", dist.Binomial(10_000, torch.tensor(0.5))), r"'k' .* has 10,001 values, and at most 4,096"),
        (
            lambda: su.infer.config_enumerate(lambda: su.sample("k", dist.Bernoulli(0.5)), default=None)(),
            "keeps it from being summed out",
        ),
    ],
    ids=["infinite", "left", "large", "configured"],
)
def test_what_is_not_summed_out(site, message):
    def program():
        x = su.sample("x", normal(0.0, 1.0))
        su.sample("y", normal(x + site(), 1.0), obs=torch.tensor(0.0))

    with pytest.raises(DensityError, match=message):
        LogDensity(program)


def branching():
    x = su.sample("x", normal(0.0, 1.0))
    if su.sample("z", dist.Bernoulli(0.5)) > 0:
        x = x + 1
    su.sample("y", normal(x, 1.0), obs=torch.tensor(0.0))


def branching_in_python():
    x = su.sample("x", normal(0.0, 1.0))
    z = su.sample("z", dist.Categorical(torch.ones(3)))
    su.sample("y", normal(x + int(z), 1.0), obs=torch.tensor(0.0))


def number():
    x, z = su.sample("x", normal(0.0, 1.0)), su.sample("z", dist.Bernoulli(0.5))
    su.sample("y", normal(x + z, 1.0), obs=1.0)


def summing():
    mu = su.sample("mu", normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("n", 3):
        z = su.sample("z", dist.Bernoulli(0.5))
    su.sample("y", normal(mu[0] * z.sum(), 1.0), obs=torch.tensor(0.0))


def outside():
    mu = su.sample("mu", normal(torch.zeros(3), 1.0).to_event(1))
    with su.plate("n", 3):
        z = su.sample("z", dist.Bernoulli(0.5))
    su.sample("y", normal((mu * z), 1.0).to_event(1), obs=torch.zeros(3))


def too_far():
    x = su.sample("x", normal(0.0, 1.0))
    first = z = torch.tensor(0.0)
    for t in su.markov(range(5)):
        z = su.sample(f"z{t}", dist.Bernoulli(0.3 + 0.4 * z))
        first = z if not t else first
    su.sample("y", normal(x + first, 1.0), obs=torch.tensor(0.0))


def growing():
    upper = torch.tensor([1.0, 2.0])
    z = su.sample("z", dist.Bernoulli(0.5)).long()
    su.sample("x", dist.Uniform(0.0, upper[z]))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (branching, "cannot be run with all values of the discrete sites 'z' at once.*torch.where"),
        (branching_in_python, "cannot be run with all values of the discrete sites 'z' at once: only one element tensors"),
        (number, "the value given to site 'y' .* is a float. It must be a tensor"),
        (summing, "site 'y' .* is not the same"),
        (outside, "'z'"),
        (too_far, "su.markov"),
        (growing, "latent site 'x' .* has a different shape for each value of the discrete sites"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_programs_that_cannot_take_all_values_at_once(program, message):
    with pytest.raises(DensityError, match=message):
        LogDensity(program)


def test_what_depends_on_discrete_sites_is_no_output_of_the_density():
    def program():
        x = su.sample("x", normal(0.0, 1.0))
        z = su.sample("z", dist.Bernoulli(0.5))
        su.deterministic("both", x + z)
        su.deterministic("twice", 2 * x)

    assert list(su.compile(program).unravel(np.zeros(1))) == ["x"]
    assert list(su.compile(program).expand(np.zeros((2, 1)))) == ["x", "twice"]


def test_a_continuous_site_that_depends_on_a_discrete_one():
    def program():
        z = su.sample("z", dist.Bernoulli(0.3))
        x = su.sample("x", normal(2 * z, 1.0))
        su.sample("y", normal(x, 1.0), obs=torch.tensor(1.5))

    x = torch.tensor(0.7)
    exact = (0.7 * normal(0.0, 1.0).log_prob(x).exp() + 0.3 * normal(2.0, 1.0).log_prob(x).exp()).log()
    exact = exact + normal(x, 1.0).log_prob(torch.tensor(1.5))
    assert float(LogDensity(program)(x.double()[None])) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_the_other_methods_sum_it_out_too():
    mode = su.infer.Fit(mixture, seed=0).run(DATA)
    assert set(mode) == {"w", "mu"}
    posterior = su.infer.MCMC(su.infer.NUTS(mixture), num_warmup=50, num_samples=20, num_chains=1, seed=0, progress=False).run(
        DATA
    )
    assert posterior["w"].shape == (1, 20, 3)
    assert set(posterior.predict(seed=0)) >= {"k", "y"}

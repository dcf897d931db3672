"""Gradients of every bound: exactly, by enumeration of what is discrete, and against finite differences for the rest."""

import itertools
import math

import pytest
import torch
from tests.support.few import few

import sursum as su
import sursum.distributions as dist
from sursum.errors import VariationalError
from sursum.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from sursum.training.noise import Noise
from sursum.vi.elbo import ELBO, join
from sursum.vi.particle import pair

D = torch.float64
UNIT = dist.constraints.unit_interval


# Draws that can be differentiated: with the noise fixed, the gradient is that of a plain function.


def continuous():
    z = su.sample("z", dist.Normal(torch.tensor([0.0, 1.0], dtype=D), 1.5).to_event(1))
    with su.plate("data", 3):
        w = su.sample("w", dist.Normal(z[..., 0], 1.0))
        su.sample("y", dist.Normal(w * z[..., 1], 0.7), obs=torch.tensor([0.3, -1.0, 2.0], dtype=D))


def approximate():
    loc = su.param("loc", torch.tensor([0.2, 0.4], dtype=D))
    scale = su.param("scale", torch.tensor([0.5, 0.8], dtype=D), constraint=dist.constraints.positive)
    z = su.sample("z", dist.Normal(loc, scale).to_event(1))
    slope = su.param("slope", torch.tensor(0.6, dtype=D))
    with su.plate("data", 3):
        su.sample("w", dist.Normal(slope * z[..., 0], 0.9))


LOSSES = [
    Trace_ELBO(),
    Trace_ELBO(num_particles=3),
    TraceMeanField_ELBO(num_particles=2),
    RenyiELBO(num_particles=3),
    RenyiELBO(0.5, num_particles=3),
    RenyiELBO(2.0, num_particles=3),
    Trace_ELBO(num_particles=3, vectorize_particles=True),
    RenyiELBO(num_particles=3, vectorize_particles=True),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_are_finite_differences_of_the_loss_at_the_same_noise(loss):
    noise = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=D)
    store = su.ParamStore(double=True)

    def value():
        with store, Noise(noise):
            return loss.differentiable_loss(continuous, approximate)

    value()
    leaves = store.leaves()
    slopes = torch.autograd.grad(value(), leaves)
    for leaf, slope in zip(leaves, slopes, strict=True):
        flat, found = leaf.detach().view(-1), slope.reshape(-1)
        for i in range(len(flat)):
            step, kept = 1e-5, float(flat[i])
            ends = []
            for sign in (1, -1):
                flat[i] = kept + sign * step
                ends.append(float(value().detach()))
            flat[i] = kept
            assert float(found[i]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", [Trace_ELBO, RenyiELBO])
def test_vectorised_particles_are_the_same_as_one_after_the_other(kind):
    """The mean over many draws agrees within its standard error, and the weights are joined in the same way."""
    store = su.ParamStore(double=True)
    with store, torch.no_grad(), su.poutine.seed(rng_seed=0):
        losses = {
            vectorised: torch.tensor(
                [
                    kind(num_particles=5, vectorize_particles=vectorised).loss(continuous, approximate)
                    for _ in range(120 if vectorised else 60)
                ]
            )
            for vectorised in (True, False)
        }
    means = [one.mean() for one in losses.values()]
    error = sum(one.var() / len(one) for one in losses.values()) ** 0.5
    assert abs(float(means[0] - means[1])) < 4 * float(error)


def test_orders_of_bounds():
    weights = torch.tensor([0.3, -1.2, 2.0], dtype=D)
    assert float(join(weights, 1.0)) == pytest.approx(float(weights.mean()))
    assert float(join(weights, 0.0)) == pytest.approx(math.log(float(weights.exp().mean())))
    assert float(join(weights, 2.0)) == pytest.approx(-math.log(float((-weights).exp().mean())))
    assert float(join(weights, 0.999999)) == pytest.approx(float(weights.mean()), abs=1e-5)


def test_divergences_in_closed_form():
    """KL(N(2, 1) ‖ N(0, 3)) without any noise, scaled by the plate and masked."""

    def model():
        with su.plate("all", 4, subsample=torch.tensor([0, 2])), su.poutine.mask(mask=torch.tensor([True, False])):
            su.sample("z", dist.Normal(torch.zeros(2, dtype=D), 3.0))

    def guide():
        with su.plate("all", 4, subsample=torch.tensor([0, 2])):
            su.sample("z", dist.Normal(su.param("m", torch.tensor(2.0, dtype=D)), 1.0))

    exact = math.log(3.0) + (1 + 4) / 18 - 0.5
    assert TraceMeanField_ELBO().loss(model, guide) == pytest.approx(2 * exact)


def test_where_no_divergence_is_known_the_draw_stands_for_it():
    def model():
        su.sample("z", dist.Gumbel(torch.tensor(0.0, dtype=D), 1.0))

    def guide():
        su.sample("z", dist.Cauchy(su.param("m", torch.tensor(0.0, dtype=D)), 1.0))

    noise = torch.tensor([0.3], dtype=D)
    values = []
    for loss in (Trace_ELBO(), TraceMeanField_ELBO()):
        with Noise(noise):
            values.append(loss.loss(model, guide))
    assert values[0] == values[1]


# Draws that cannot be differentiated: all of them are enumerated, and the expectation of the gradient is exact.


def mixture():
    """A coin, two more whose bias depends on it in a plate, and data."""
    a = su.sample("a", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
    with su.plate("data", 2):
        b = su.sample("b", dist.Bernoulli(0.2 + 0.5 * a))
        su.sample("y", dist.Normal(b + 0.5 * a, 0.8), obs=torch.tensor([0.1, 1.4], dtype=D))


def coins(baseline=None):
    infer = {} if baseline is None else {"baseline": baseline}
    a = su.sample("a", dist.Bernoulli(su.param("p", torch.tensor(0.4, dtype=D), constraint=UNIT)), infer=infer)
    q = su.param("q", torch.tensor([0.3, 0.6], dtype=D), constraint=UNIT)
    r = su.param("r", torch.tensor(0.2, dtype=D))
    with su.plate("data", 2):
        su.sample("b", dist.Bernoulli((q.logit() + r * a).sigmoid()), infer=infer)


def outcomes():
    for bits in itertools.product([0.0, 1.0], repeat=3):
        yield {"a": torch.tensor(bits[0], dtype=D), "b": torch.tensor(bits[1:], dtype=D)}


class Given:
    """A guide that draws a given outcome in each of its executions, one after the other."""

    def __init__(self, guide, draws):
        self.guide, self.draws = guide, iter(draws)

    def __call__(self):
        return su.poutine.substitute(self.guide, data=next(self.draws))()


def at_outcome(guide, outcome):
    found = pair(mixture, Given(guide, [outcome]), (), {})
    log_p, log_q = (sum(term.sum() for term in terms.values()) for terms in (found.log_p, found.log_q))
    return log_p, log_q


BASELINES = {
    "none": None,
    "running": {"use_decaying_avg_baseline": True, "baseline_beta": 0.7},
    "value": {"baseline_value": torch.tensor(-2.0, dtype=D)},
}


BOUNDS = {"one": (Trace_ELBO(), 1), "two": (Trace_ELBO(num_particles=2), 2), "renyi": (RenyiELBO(0.5), 2)}
SCORED = [(bound, baseline) for bound in BOUNDS for baseline in BASELINES]


@pytest.mark.parametrize(
    ("joined", "name"), few(SCORED, [*(("one", each) for each in BASELINES), ("two", "running"), ("renyi", "none")])
)
def test_score_function_gradients_are_unbiased_by_enumeration(joined, name):
    (loss, particles), baseline = BOUNDS[joined], BASELINES[name]
    guide = lambda: coins(baseline)
    store = su.ParamStore(double=True)
    with store:
        guide()
    leaves = store.leaves()
    exact, mean = torch.zeros(()), [torch.zeros_like(leaf) for leaf in leaves]
    with store:
        logs = [at_outcome(guide, outcome) for outcome in outcomes()]
    for draws in itertools.product(range(8), repeat=particles):
        outcome = [list(outcomes())[k] for k in draws]
        weight = torch.stack([logs[k][1] for k in draws]).sum().exp()
        bound = join(torch.stack([logs[k][0] - logs[k][1] for k in draws]), loss.order)
        exact = exact - weight * bound
        with store:
            estimate = loss.estimate(mixture, Given(guide, outcome), (), {}, {"a": torch.tensor(-1.5, dtype=D)})
        assert float(estimate.detach()) == pytest.approx(-float(bound.detach()))
        slopes = torch.autograd.grad(estimate, leaves)
        mean = [total + float(weight.detach()) * slope for total, slope in zip(mean, slopes, strict=True)]
    wanted = torch.autograd.grad(exact, leaves)
    for found, right in zip(mean, wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-9)


def test_score_functions_of_vectorised_particles_are_unbiased_by_enumeration():
    loss = Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    store = su.ParamStore(double=True)
    with store:
        coins()
    leaves = store.leaves()
    every = list(outcomes())
    exact, mean = torch.zeros(()), [torch.zeros_like(leaf) for leaf in leaves]
    with store:
        logs = [at_outcome(coins, outcome) for outcome in every]
    for i, j in itertools.product(range(8), repeat=2):
        both = {name: torch.stack([every[i][name], every[j][name]]) for name in ("a", "b")}
        both["a"] = both["a"].unsqueeze(-1)
        weight = (logs[i][1] + logs[j][1]).exp()
        bound = (logs[i][0] - logs[i][1] + logs[j][0] - logs[j][1]) / 2
        exact = exact - weight * bound
        with store:
            estimate = loss.estimate(mixture, Given(coins, [both]), (), {}, {})
        assert float(estimate.detach()) == pytest.approx(-float(bound.detach()))
        slopes = torch.autograd.grad(estimate, leaves)
        mean = [total + float(weight.detach()) * slope for total, slope in zip(mean, slopes, strict=True)]
    for found, right in zip(mean, torch.autograd.grad(exact, leaves), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-9)


def test_a_baseline_of_the_guides_own_is_fitted_to_the_cost():
    b = torch.tensor(0.0, dtype=D, requires_grad=True)

    def guide():
        su.sample("a", dist.Bernoulli(torch.tensor(0.4, dtype=D)), infer={"baseline": {"baseline_value": b}})

    def model():
        su.sample("a", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        su.factor("f", torch.tensor(-3.0, dtype=D))

    given = Given(guide, [{"a": torch.tensor(1.0, dtype=D)}])
    loss = Trace_ELBO().estimate(model, given, (), {}, {})
    cost = math.log(0.3) - 3.0 - math.log(0.4)
    assert float(loss.detach()) == pytest.approx(-cost)
    assert float(torch.autograd.grad(loss, b)[0]) == pytest.approx(-2 * cost)


def test_running_averages_are_kept():
    baselines = {}
    guide = lambda: coins({"use_decaying_avg_baseline": True, "baseline_beta": 0.5})
    costs = []
    for outcome in (next(outcomes()), list(outcomes())[5]):
        with su.ParamStore():
            Trace_ELBO().estimate(mixture, Given(guide, [outcome]), (), {}, baselines)
            log_p, log_q = at_outcome(guide, outcome)
            costs.append(float((log_p - log_q).detach()))
    assert float(baselines["a"]) == pytest.approx(0.5 * costs[0] + 0.5 * costs[1])


# Minibatches.


def test_minibatches_give_unbiased_gradients():
    """The mean of the gradient over all minibatches is that of all data, to rounding: local and global sites alike."""
    x = torch.tensor([0.3, -1.0, 2.0, 0.7, 1.1], dtype=D)

    def model(batch=None):
        mu = su.sample("mu", dist.Normal(torch.tensor(0.0, dtype=D), 1.0))
        with su.plate("data", 5, subsample=batch) as index:
            z = su.sample("z", dist.Normal(mu, 1.0).expand([len(index)]))
            su.sample("y", dist.Normal(z, 0.5), obs=x[index])

    def guide(batch=None):
        loc = su.param("loc", torch.tensor(0.1, dtype=D))
        mu = su.sample("mu", dist.Delta(loc))
        with su.plate("data", 5, subsample=batch):
            centre = su.param("centre", torch.arange(5, dtype=D), event_dim=0)
            su.sample("z", dist.Delta(centre + 0.1 * mu, log_density=-0.3 * centre))

    store = su.ParamStore(double=True)

    def gradient(batch):
        with store:
            return torch.autograd.grad(Trace_ELBO().differentiable_loss(model, guide, batch), store.leaves())

    with store:
        guide()
    whole = gradient(None)
    for size in (1, 2, 3):
        batches = [torch.tensor(one) for one in itertools.combinations(range(5), size)]
        for k, right in enumerate(whole):
            mean = sum(gradient(batch)[k] for batch in batches) / len(batches)
            torch.testing.assert_close(mean, right, rtol=1e-10, atol=1e-10)


def test_automatic_guides_take_minibatches_with_local_sites():
    x = torch.tensor([0.3, -1.0, 2.0, 0.7, 1.1])

    def model():
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("data", 5, subsample_size=2) as index:
            z = su.sample("z", dist.Normal(mu, 1.0))
            su.sample("y", dist.Normal(z, 0.5), obs=x[index])

    svi = SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam(lr=0.1), seed=0)
    svi.run(100)
    assert svi.params["auto.loc.z"].shape == (5,)
    assert svi.guide.median(svi.params)["z"].shape == (2,)
    # The posterior mean of each z lies between its datum and the common mean.
    moved = svi.params["auto.loc.z"].detach()
    assert float(torch.corrcoef(torch.stack([moved, x]))[0, 1]) > 0.9


# Bad input.


def test_a_discrete_site_under_a_bound_that_needs_derivatives():
    with pytest.raises(
        VariationalError, match=r"needs draws that can be differentiated, but those of site 'a' .* \(Bernoulli\)"
    ):
        TraceMeanField_ELBO().loss(mixture, coins)


def test_settings():
    with pytest.raises(VariationalError, match=r"`alpha` is 1, but must be a finite number other than 1"):
        RenyiELBO(1)
    with pytest.raises(VariationalError, match=r"the baseline of site 'a' .* has the settings 'betta', which are not known"):
        Trace_ELBO().loss(mixture, lambda: coins({"betta": 1}))
    with pytest.raises(NotImplementedError):
        ELBO().estimate(mixture, coins, (), {}, {})


# Guides that are written in another way than their model.


def chain():
    """x → y → data: the evidence is that of N(0, 3) at 0."""
    x = su.sample("x", dist.Normal(0.0, 1.0))
    y = su.sample("y", dist.Normal(x, 1.0))
    su.sample("d", dist.Normal(y, 1.0), obs=torch.tensor(0.0))


def backwards():
    """The posterior itself, y before x."""
    y = su.sample("y", dist.Normal(0.0, (2 / 3) ** 0.5))
    su.sample("x", dist.Normal(y / 2, 0.5**0.5))


def test_a_mean_field_bound_in_another_order_is_the_bound():
    evidence = float(dist.Normal(0.0, 3**0.5).log_prob(torch.tensor(0.0)))
    torch.manual_seed(0)
    loss = su.infer.TraceMeanField_ELBO(num_particles=20000, vectorize_particles=True).loss(chain, backwards)
    # A particle has log p(x | y) − log q(x | y) in closed form and the rest by draws: its sd is below 1.
    assert -loss == pytest.approx(evidence, abs=4.5 / 20000**0.5)


def test_a_mean_field_bound_in_the_models_order_is_in_closed_form():
    def model():
        su.sample("x", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(1.0, 2.0))

    def guide():
        su.sample("x", dist.Normal(0.5, 0.7))
        su.sample("y", dist.Normal(1.0, 0.6))

    ours, theirs = su.trace(guide).get_trace(), su.trace(model).get_trace()
    exact = sum(float(torch.distributions.kl_divergence(ours[name].fn, theirs[name].fn)) for name in ("x", "y"))
    # A draw would be another one each time.
    assert [TraceMeanField_ELBO().loss(model, guide) for _ in range(2)] == [pytest.approx(exact, rel=1e-6)] * 2


@pytest.mark.parametrize("elbo", [su.infer.Trace_ELBO, su.infer.TraceMeanField_ELBO, su.infer.RenyiELBO])
def test_a_factor_in_a_guide_is_a_term_of_its_log_density(elbo):
    model = lambda: su.sample("z", dist.Normal(0.0, 1.0))

    def guide():
        su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", torch.tensor(5.0))

    assert elbo().loss(model, guide) == pytest.approx(5.0, abs=1e-6)


@pytest.mark.parametrize("engine", ["eager", "native", "torch"])
def test_every_engine_counts_a_factor_in_a_guide(engine):
    def model():
        su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))

    def guide():
        su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", su.param("c", torch.tensor(2.0)))

    svi = SVI(model, guide, su.optim.SGD({"lr": 0.25}), seed=0, engine=engine)
    losses = svi.run(2).losses
    # log q has c in it, so that the loss is c and a constant, and a step takes 0.25 off it.
    assert float(losses[0] - losses[1]) == pytest.approx(0.25, abs=1e-6)
    assert float(losses[0]) == pytest.approx(2.0 + 0.5 * math.log(2 * math.pi), abs=1e-6)


@pytest.mark.parametrize("guide", ["AutoNormal", "AutoDelta", "AutoDiagonalNormal", "AutoMultivariateNormal"])
def test_a_guide_that_is_first_run_among_particles_is_the_models(guide):
    def model():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        with su.plate("data", 2):
            w = su.sample("w", dist.Normal(z, 1.0))
            su.sample("y", dist.Normal(w, 1.0), obs=torch.ones(2))

    def shapes(run):
        with su.ParamStore() as store:
            run(getattr(su.infer.autoguide, guide)(model))
        return {name: tuple(store[name].shape) for name in store}

    elbo = su.infer.Trace_ELBO(num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    alone = shapes(lambda made: made())
    assert shapes(lambda made: elbo.differentiable_loss(model, made)) == alone

    def by_hand(made):
        with su.plate("particles", 5, dim=-2):
            values = made()
        assert {name: tuple(v.shape) for name, v in values.items()} in (
            {"z": (5, 1), "w": (5, 2)},
            {"z": (), "w": (2,)},  # a point is the same for every particle
        )

    assert shapes(by_hand) == alone

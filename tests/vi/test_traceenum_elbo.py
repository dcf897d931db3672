"""`TraceEnum_ELBO`: exact sums over discrete sites of guide and model, in value and gradient."""

import itertools
import random

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DensityError, EngineWarning, VariationalError
from sursum.infer import SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from sursum.vi.particle import pair

Y = torch.tensor([0.3, -1.0, 2.0])
TABLE = torch.tensor([[0.2, 0.8], [0.6, 0.4]])


def model():
    a = su.sample("a", dist.Bernoulli(0.3))
    w = su.sample("w", dist.Normal(0.0, 1.0))
    with su.plate("rows", 3):
        b = su.sample("b", dist.Categorical(TABLE[a.long()]))
        k = su.sample("k", dist.Bernoulli(0.25 + 0.5 * b))  # of the model alone
        su.sample("y", dist.Normal(a + 2.0 * b + k + w, 1.0), obs=Y)


def guide():
    a_rate = su.param("a_rate", torch.tensor(0.4), constraint=constraints.unit_interval)
    b_rate = su.param("b_rate", torch.tensor([[0.3, 0.7], [0.5, 0.5]]), constraint=constraints.simplex)
    a = su.sample("a", dist.Bernoulli(a_rate), infer={"enumerate": "parallel"})
    su.sample("w", dist.Normal(su.param("mean", torch.tensor(0.1)), 0.5))
    with su.plate("rows", 3):
        su.sample("b", dist.Categorical(b_rate[a.long()]), infer={"enumerate": "sequential"})


def exact(w, a_rate, b_rate, mean):
    """The bound at one draw of w, by a sum over all values."""
    total = torch.zeros(())
    for a in (0, 1):
        q = a_rate if a else 1 - a_rate
        inner = torch.log(torch.tensor(0.3 if a else 0.7)) - torch.log(q)
        for n, b in itertools.product(range(3), (0, 1)):
            rate = torch.tensor([0.75 - 0.5 * b, 0.25 + 0.5 * b])
            seen = torch.logsumexp(rate.log() + dist.Normal(a + 2.0 * b + torch.arange(2.0) + w, 1.0).log_prob(Y[n]), 0)
            inner = inner + b_rate[a, b] * (TABLE[a, b].log() + seen - b_rate[a, b].log())
        total = total + q * inner
    return total + dist.Normal(0.0, 1.0).log_prob(w) - dist.Normal(mean, 0.5).log_prob(w)


def test_value_and_gradient_are_those_of_all_values():
    store = su.ParamStore()
    with store, su.seed(rng_seed=3):
        found = pair(model, guide, (), {}, averages=True)
        ours = TraceEnum_ELBO().log_weight(found, None)
    theirs = exact(found.guide["w"].value, store["a_rate"], store["b_rate"], store["mean"])
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    slopes = (torch.autograd.grad(one, store.leaves(), retain_graph=True) for one in (ours, theirs))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_particles_at_once_have_the_mean_of_the_same_bound():
    store = su.ParamStore()
    with store, su.seed(rng_seed=5):
        guide()
        found = TraceEnum_ELBO(num_particles=4, vectorize_particles=True)._pairs(model, guide, (), {})
        weights = TraceEnum_ELBO().log_weight(found[0][0], found[1])
    draws = found[0][0].guide["w"].value.reshape(-1)
    theirs = torch.stack([exact(w, store["a_rate"], store["b_rate"], store["mean"]) for w in draws])
    torch.testing.assert_close(weights.reshape(-1), theirs, rtol=1e-4, atol=1e-5)


def test_a_program_without_noise_has_one_loss_and_is_trained_in_c():
    def coin():
        su.sample("z", dist.Bernoulli(0.8))

    @config_enumerate
    def guess():
        su.sample("z", dist.Bernoulli(su.param("p", torch.tensor(0.3), constraint=constraints.unit_interval)))

    svi = SVI(coin, guess, su.optim.Adam(lr=0.05), TraceEnum_ELBO(), seed=0)
    result = svi.run(400)
    assert result.engine == "native"
    p = torch.tensor([0.3, 0.7])
    assert float(result.losses[0]) == pytest.approx(float((p * (p / torch.tensor([0.8, 0.2])).log()).sum()), rel=1e-6)
    assert svi.params["p"].item() == pytest.approx(0.8, abs=1e-3)


def test_model_sites_are_summed_out_under_every_bound():
    y = torch.tensor([-2.0, 2.2, 1.9])

    def mixture(summed):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 3.0).to_event(1))
        with su.plate("rows", 3):
            if summed:
                k = su.sample("k", dist.Categorical(torch.tensor([0.3, 0.7])))
                su.sample("y", dist.Normal(mu[k], 1.0), obs=y)
            else:
                su.sample("y", dist.MixtureSameFamily(dist.Categorical(torch.tensor([0.3, 0.7])), dist.Normal(mu, 1.0)), obs=y)

    losses = (Trace_ELBO(), su.infer.TraceMeanField_ELBO(), su.infer.RenyiELBO(num_particles=3))
    for loss in losses:
        found = []
        for summed in (True, False):
            auto = su.infer.autoguide.AutoNormal(mixture)
            svi = SVI(mixture, auto, su.optim.Adam(lr=0.01), loss, seed=0)
            found.append(svi.run(5, summed).losses.tolist())
        assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_minibatch_of_a_plate_stands_for_all():
    y = torch.arange(6.0)

    def rows(size):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("rows", 6, subsample_size=size) as index:
            z = su.sample("z", dist.Bernoulli(0.3))
            su.sample("y", dist.Normal(mu + z, 1.0), obs=y[index])

    def point(size):
        su.sample("mu", dist.Delta(torch.tensor(0.5)))

    with su.ParamStore():
        whole = Trace_ELBO().loss(rows, point, None)
        prior = float(dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.5)))
        parts = []
        for first in range(0, 6, 2):

            def chosen(size, first=first):
                mu = su.sample("mu", dist.Normal(0.0, 1.0))
                with su.plate("rows", 6, subsample=torch.arange(first, first + 2)) as index:
                    z = su.sample("z", dist.Bernoulli(0.3))
                    su.sample("y", dist.Normal(mu + z, 1.0), obs=y[index])

            parts.append(Trace_ELBO().loss(chosen, point, 2))
    assert sum(part + prior for part in parts) / 3 == pytest.approx(whole + prior, rel=1e-6)


def test_a_bound_that_draws_says_so_where_sums_are_asked_for():
    coin = lambda: su.sample("z", dist.Bernoulli(0.5))
    guess = lambda: su.sample("z", dist.Bernoulli(su.param("p", torch.tensor(0.3))), infer={"enumerate": "parallel"})
    with pytest.warns(EngineWarning, match=r"asks for exact sums over 'z'.*Use loss=su.infer.TraceEnum_ELBO\(\)"):
        SVI(coin, guess, su.optim.Adam(lr=1e-3), Trace_ELBO(), seed=0).step()


def test_a_guide_with_states_in_a_scan():
    def states():
        su.scan(lambda z, _: (su.sample("z", dist.Bernoulli(0.3 + 0.4 * z)), None), torch.tensor(0.0), torch.zeros(3))

    with pytest.raises(VariationalError, match="cannot be enumerated in a scan"):
        TraceEnum_ELBO().loss(states, config_enumerate(states))


MOVES = torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64)
SERIES = torch.tensor([0.3, -0.5, 1.2, 0.4], dtype=torch.float64)


def regimes(loop=su.markov):
    """States that the guide averages over, and others that are summed out."""
    z = 0
    for t in loop(range(4)):
        z = su.sample(f"z{t}", dist.Categorical(MOVES[z]))
        k = su.sample(f"k{t}", dist.Bernoulli(0.3 + 0.2 * z))
        su.sample(f"y{t}", dist.Normal(z + 0.5 * k, 1.0), obs=SERIES[t])


def guess_regimes(loop=su.markov):
    moves = su.param("moves", torch.tensor([[0.6, 0.4], [0.35, 0.65]], dtype=torch.float64), constraint=constraints.simplex)
    z = 0
    for t in loop(range(4)):
        z = su.sample(f"z{t}", dist.Categorical(moves[z]), infer={"enumerate": "parallel"})


def exact_regimes(moves):
    states, total = torch.arange(2.0, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for path in itertools.product((0, 1), repeat=4):
        log_q, log_p, before = torch.zeros(()), torch.zeros(()), 0
        for t, z in enumerate(path):
            share = torch.tensor([0.7 - 0.2 * z, 0.3 + 0.2 * z], dtype=torch.float64)
            seen = torch.logsumexp(share.log() + dist.Normal(z + 0.5 * states, 1.0).log_prob(SERIES[t]), 0)
            log_q, log_p, before = log_q + moves[before, z].log(), log_p + MOVES[before, z].log() + seen, z
        total = total + log_q.exp() * (log_p - log_q)
    return -total


@pytest.mark.parametrize("loops", [(su.markov, su.markov), (su.markov, iter), (iter, iter)], ids=["both", "model", "neither"])
def test_states_of_a_loop_in_guide_and_model(loops):
    """In a loop that is su.markov their values share dimensions, and each is known by the site of its name."""
    of_model, of_guide = loops
    with su.ParamStore() as store:
        loss = TraceEnum_ELBO().differentiable_loss(lambda: regimes(of_model), lambda: guess_regimes(of_guide))
        theirs = exact_regimes(store["moves"])
        slopes = [torch.autograd.grad(one, store.leaves(), retain_graph=True)[0] for one in (loss, theirs)]
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)


def test_what_is_masked_in_the_guide_counts_nothing_and_leads_on():
    """The states of the second row are left out in the first step: those of the second step depend on them."""
    known = torch.tensor([[True, False], [True, True]])
    q, p = torch.tensor([[0.6, 0.4], [0.35, 0.65]], dtype=torch.float64), MOVES

    def rows(moves, see):
        with su.plate("rows", 2):
            z = 0
            for t in su.markov(range(2)):
                with su.mask(mask=known[t]):
                    z = su.sample(f"z{t}", dist.Categorical(moves[z]), infer={"enumerate": "parallel"})
                    if see:
                        su.sample(f"y{t}", dist.Normal(z, 1.0), obs=SERIES[t : t + 2])

    exact = torch.zeros((), dtype=torch.float64)
    for row, (a, b) in itertools.product((0, 1), itertools.product((0, 1), repeat=2)):
        terms = [p[before, z].log() - q[before, z].log() + dist.Normal(z * 1.0, 1.0).log_prob(SERIES[t + row])
                 for t, (before, z) in enumerate([(0, a), (a, b)]) if known[t, row]]  # fmt: skip
        exact = exact - q[0, a] * q[a, b] * sum(terms)
    found = TraceEnum_ELBO().loss(lambda: rows(p, True), lambda: rows(q, False))
    assert found == pytest.approx(float(exact), rel=1e-6)


def test_a_loop_of_the_model_that_may_look_back_further_than_the_guides():
    with pytest.raises(DensityError, match=r"'z0' and 'z2' .* have their values along one dimension in the guide"):
        TraceEnum_ELBO().loss(lambda: regimes(iter), guess_regimes)


def whole_numbers(use):
    def program():
        x = su.sample("x", dist.Normal(0.0, 1.0))
        z = su.sample("z", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        with su.plate("rows", 3):
            su.sample("y", dist.Normal(x + use(z), 1.0), obs=Y)

    return program


@pytest.mark.parametrize("loss", [Trace_ELBO(), TraceEnum_ELBO()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda z: z.sum(), "'y' .* is not the same"),
        (lambda z: torch.arange(9.0).reshape(3, 3)[z].softmax(0)[..., 1], "'y' .* is not the same"),
        (lambda z: int(z), "cannot be run with all values of the discrete sites 'z' at once: only one element"),
        (lambda z: z.item(), "cannot be run with all values of the discrete sites 'z' at once"),
    ],
    ids=["sum", "softmax", "int", "item"],
)
def test_a_model_that_cannot_take_all_values_at_once(use, message, loss):
    """Without a comparison a sum over the values would be a sum of the program, and another model."""
    program = whole_numbers(use)
    svi = SVI(program, su.infer.autoguide.AutoNormal(program), su.optim.Adam(lr=1e-2), loss, seed=0)
    with pytest.raises(DensityError, match=message):
        svi.step()


def guessing(use):
    def guide():
        z = su.sample("z", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])), infer={"enumerate": "parallel"})
        su.sample("x", dist.Delta(su.param("at", torch.tensor(0.3))))
        su.sample("w", dist.Bernoulli(0.2 + 0.1 * use(z)), infer={"enumerate": "parallel"})

    return guide


def judged():
    x = su.sample("x", dist.Normal(0.0, 1.0))
    z = su.sample("z", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
    w = su.sample("w", dist.Bernoulli(0.5))
    su.sample("y", dist.Normal(x + z + w, 1.0), obs=torch.tensor(0.3))


def test_a_guide_that_cannot_take_all_values_at_once():
    SVI(judged, guessing(lambda z: z), su.optim.Adam(lr=1e-2), TraceEnum_ELBO(), seed=0).step()
    with pytest.raises(DensityError, match="'w' .* is not the same"):
        SVI(judged, guessing(lambda z: z.sum()), su.optim.Adam(lr=1e-2), TraceEnum_ELBO(), seed=0).step()


def test_a_guide_that_draws_for_each_value_is_not_compared():
    def guide():
        z = su.sample("z", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])), infer={"enumerate": "parallel"})
        su.sample("x", dist.Normal(su.param("at", torch.tensor([0.3, 0.1, 0.2]))[z], 0.1))
        su.sample("w", dist.Bernoulli(0.2), infer={"enumerate": "parallel"})

    assert torch.isfinite(torch.tensor(SVI(judged, guide, su.optim.Adam(lr=1e-2), TraceEnum_ELBO(), seed=0).step()))


def test_dropout_is_the_same_in_the_runs_that_are_compared():
    """What is drawn by layers is no difference between single values and all values."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))

    def program():
        f = su.module("network", network)
        with su.plate("rows", 3):
            z = su.sample("z", dist.Bernoulli(0.3))
            su.sample("y", dist.Normal(f(torch.ones(3, 1))[:, 0] + z, 1.0), obs=Y)

    assert np.isfinite(SVI(program, lambda: None, su.optim.Adam(lr=1e-2), Trace_ELBO(), seed=0).step())


def test_noise_of_numpy_and_python_is_the_same_in_the_runs_that_are_compared():
    """Nor is what a program draws by their global generators, which go on from where they were."""

    def program():
        noise = random.gauss(0.0, 1.0) + np.random.randn(3)
        with su.plate("rows", 3):
            z = su.sample("z", dist.Bernoulli(0.3))
            su.sample("y", dist.Normal(torch.as_tensor(noise) + su.param("a", torch.tensor(0.0)) + z, 1.0), obs=Y)

    random.seed(3)
    np.random.seed(3)
    svi = SVI(program, lambda: None, su.optim.Adam(lr=1e-2), Trace_ELBO(), seed=0)
    with pytest.warns(EngineWarning, match="a random generator"):
        losses = [svi.step() for _ in range(5)]
    assert len(set(losses)) == 5

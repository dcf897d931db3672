"""Discrete states in scans and loops, against forward algorithms written by hand."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, ScanError
from sursum.infer import LogDensity

K = 3
DATA = torch.tensor([0.3, -1.0, 2.0, 0.1, 1.2, -0.4, 0.9], dtype=torch.float64)


def unknowns():
    mu = su.sample("mu", dist.Normal(torch.zeros(K), 1.0).to_event(1))
    return mu, su.sample("P", dist.Normal(torch.zeros(K, K), 1.0).to_event(2))


def emit(mu, logits, y):
    z = su.sample("z", dist.Categorical(logits=logits))
    su.sample("y", dist.Normal(mu[z], 1.0), obs=y)
    return z


def chain(y):
    mu, matrix = unknowns()

    def step(z, y):
        return emit(mu, matrix[z], y), None

    su.scan(step, torch.tensor(0), y)


def first_outside(y):
    mu, matrix = unknowns()
    z = su.sample("z0", dist.Categorical(logits=matrix[0]))
    su.sample("y0", dist.Normal(mu[z], 1.0), obs=y[0])

    def step(z, y):
        return emit(mu, matrix[z], y), None

    su.scan(step, z, y[1:])


def by_sentinel(y):
    """The first state is none of the states, and a function of the state is carried as well."""
    mu, matrix = unknowns()

    def step(carry, y):
        z, mean = carry
        logits = torch.where((z < 0)[..., None], matrix[0], matrix[z.clamp(min=0)])
        su.factor("none", 0.0 * mean)
        z = emit(mu, logits, y)
        return (z, mu[z]), None

    su.scan(step, (torch.tensor(-1), torch.tensor(0.0, dtype=torch.float64)), y)


def by_loop(y):
    mu, matrix = unknowns()
    z = torch.tensor(0)
    for t in su.markov(range(len(y))):
        z = su.sample(f"z{t}", dist.Categorical(logits=matrix[z]))
        su.sample(f"y{t}", dist.Normal(mu[z], 1.0), obs=y[t])


def by_context(y):
    mu, matrix = unknowns()
    z, step = torch.tensor(0), su.markov(history=1)
    for t in range(len(y)):
        with step:
            z = su.sample(f"z{t}", dist.Categorical(logits=matrix[z]))
            su.sample(f"y{t}", dist.Normal(mu[z], 1.0), obs=y[t])


def one_hot(y):
    mu, matrix = unknowns()

    def step(z, y):
        z = su.sample("z", dist.OneHotCategorical(logits=(z[..., None] * matrix).sum(-2)))
        su.sample("y", dist.Normal((z * mu).sum(-1), 1.0), obs=y)
        return z, None

    su.scan(step, torch.eye(K, dtype=torch.float64)[0], y)


def forward(y):
    mu, matrix = unknowns()
    log_a = matrix.log_softmax(-1)
    alpha = log_a[0] + dist.Normal(mu, 1.0).log_prob(y[0])
    for value in y[1:]:
        alpha = torch.logsumexp(alpha[:, None] + log_a, 0) + dist.Normal(mu, 1.0).log_prob(value)
    su.factor("f", torch.logsumexp(alpha, 0))


Q = np.random.default_rng(0).normal(size=K + K * K)


@pytest.fixture(scope="module")
def exact():
    return su.compile(forward, DATA, engine="torch").value_and_grad(Q)


@pytest.mark.parametrize("program", [chain, first_outside, by_sentinel, by_loop], ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("error")
def test_a_hidden_markov_chain_is_its_forward_algorithm(program, exact):
    value, slope = su.compile(program, DATA, engine="torch").value_and_grad(Q)
    assert value == pytest.approx(exact[0], rel=1e-12)
    np.testing.assert_allclose(slope, exact[1], rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("program", [by_context, one_hot], ids=lambda f: f.__name__)
def test_other_spellings_of_it(program, exact):
    value, slope = su.compile(program, DATA).value_and_grad(Q)
    assert value == pytest.approx(exact[0], rel=1e-12)
    np.testing.assert_allclose(slope, exact[1], rtol=1e-9, atol=1e-11)


def test_the_code_does_not_grow_with_the_length():
    short, long = (su.compile(chain, torch.zeros(n), engine="torch") for n in (5, 500))
    assert len(short.graph.nodes) == len(long.graph.nodes)


def test_states_two_steps_back():
    def program(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        matrix = su.sample("P", dist.Normal(torch.zeros(2, 2, 2), 1.0).to_event(3))

        def step(carry, y):
            before, last = carry
            z = su.sample("z", dist.Categorical(logits=su.ops.vindex(matrix)[before, last, :]))
            su.sample("y", dist.Normal(mu[z], 1.0), obs=y)
            return (last, z), None

        su.scan(step, (torch.tensor(0), torch.tensor(0)), y, history=2)

    def by_pairs(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        matrix = su.sample("P", dist.Normal(torch.zeros(2, 2, 2), 1.0).to_event(3)).log_softmax(-1)
        alpha = torch.full((2, 2), -torch.inf, dtype=torch.float64)
        alpha[0, 0] = 0.0
        for value in y:
            alpha = torch.logsumexp(alpha[:, :, None] + matrix, 0) + dist.Normal(mu, 1.0).log_prob(value)
        su.factor("f", torch.logsumexp(alpha, (0, 1)))

    q = torch.as_tensor(np.random.default_rng(1).normal(size=10))
    assert float(LogDensity(program, (DATA,))(q)) == pytest.approx(float(LogDensity(by_pairs, (DATA,))(q)), rel=1e-12)


LENGTHS = torch.tensor([7, 4, 1])


def factorial(y):
    """Two chains of states that share what is seen, of several animals, of which some are seen for a shorter time."""
    mu, matrix = unknowns()
    other = su.sample("B", dist.Normal(torch.zeros(2, 2), 1.0).to_event(2))
    present = torch.arange(len(y))[:, None] < LENGTHS

    def step(carry, x):
        y, present = x
        with su.plate("animals", 3), su.mask(mask=present):
            x = su.sample("x", dist.Normal(carry[2], 1.0))
            a = su.sample("a", dist.Categorical(logits=matrix[carry[0]]))
            b = su.sample("b", dist.Categorical(logits=other[carry[1]]))
            su.sample("y", dist.Normal(mu[a] + b + x, 1.0), obs=y)
        return (a, b, x), None

    zero = torch.zeros(3, dtype=torch.long)
    su.scan(step, (zero, zero, torch.zeros(3, dtype=torch.float64)), (y, present))


def test_chains_in_plates_of_different_lengths_with_a_continuous_site():
    y = torch.as_tensor(np.random.default_rng(2).normal(size=(7, 3)))
    density = LogDensity(factorial, (y,))
    q = torch.as_tensor(np.random.default_rng(3).normal(size=density.dim))
    found = density.unravel(q)
    mu, matrix, other, x = (found[name] for name in ("mu", "P", "B", "x"))
    log_a, log_b = matrix.log_softmax(-1), other.log_softmax(-1)
    exact = sum(dist.Normal(0.0, 1.0).log_prob(found[name]).sum() for name in ("mu", "P", "B"))
    for n, length in enumerate(LENGTHS.tolist()):
        alpha = torch.full((K, 2), -torch.inf, dtype=torch.float64)
        alpha[0, 0], before = 0.0, torch.tensor(0.0)
        for t in range(length):
            moved = torch.logsumexp(alpha[:, :, None, None] + log_a[:, None, :, None] + log_b[None, :, None, :], (0, 1))
            means = mu[:, None] + torch.arange(2.0) + x[t, n]
            alpha = moved + dist.Normal(means, 1.0).log_prob(y[t, n])
            exact = exact + dist.Normal(before, 1.0).log_prob(x[t, n])
            before = x[t, n]
        exact = exact + torch.logsumexp(alpha, (0, 1))
    assert float(density(q)) == pytest.approx(float(exact), rel=1e-10)


def test_a_regime_outside_and_a_label_in_each_step():
    def program(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        regime = su.sample("regime", dist.Bernoulli(0.3))

        def step(carry, y):
            label = su.sample("label", dist.Bernoulli(0.2 + 0.5 * regime))
            su.sample("y", dist.Normal(mu[label.long()] + regime, 1.0), obs=y)
            return carry, None

        su.scan(step, None, y)

    q = torch.tensor([0.3, -1.0], dtype=torch.float64)
    terms = []
    for regime in (0.0, 1.0):
        weights = torch.tensor([0.8 - 0.5 * regime, 0.2 + 0.5 * regime], dtype=torch.float64).log()
        rows = torch.logsumexp(weights + dist.Normal(q + regime, 1.0).log_prob(DATA[:, None]), -1)
        terms.append(np.log(0.3 if regime else 0.7) + float(rows.sum()))
    exact = np.logaddexp.reduce(terms) + float(dist.Normal(0.0, 1.0).log_prob(q).sum())
    assert float(LogDensity(program, (DATA,))(q)) == pytest.approx(exact, rel=1e-6)


def test_the_last_state_may_be_used_after_the_loop():
    def program(y, more):
        mu, matrix = unknowns()

        def step(z, y):
            return emit(mu, matrix[z], y), None

        z, _ = su.scan(step, torch.tensor(0), y)
        su.sample("next", dist.Normal(mu[z], 1.0), obs=more)

    def by_hand(y, more):
        mu, matrix = unknowns()
        log_a = matrix.log_softmax(-1)
        alpha = log_a[0] + dist.Normal(mu, 1.0).log_prob(y[0])
        for value in y[1:]:
            alpha = torch.logsumexp(alpha[:, None] + log_a, 0) + dist.Normal(mu, 1.0).log_prob(value)
        su.factor("f", torch.logsumexp(alpha + dist.Normal(mu, 1.0).log_prob(more), 0))

    more, q = torch.tensor(0.4), torch.as_tensor(Q)
    ours, theirs = (float(LogDensity(one, (DATA, more))(q)) for one in (program, by_hand))
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_a_carry_that_remembers_everything_is_an_error():
    def program(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))

        def step(count, y):
            z = su.sample("z", dist.Bernoulli(0.5))
            su.sample("y", dist.Normal(mu * (count + z), 1.0), obs=y)
            return count + z, None

        su.scan(step, torch.tensor(0.0), y)

    with pytest.raises(ScanError, match=r"carry depends on the discrete site 'z' of 2 steps back and more.*history=2"):
        LogDensity(program, (DATA,))


def test_outputs_that_are_states_cannot_be_used_as_one_value_each():
    def program(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        _, states = su.scan(lambda z, _: (z, su.sample("z", dist.Categorical(torch.ones(2)))), None, torch.zeros(len(y)))
        with su.plate("time", len(y)):
            su.sample("y", dist.Normal(mu[states], 1.0), obs=y)

    with pytest.raises(DensityError, match=r"'z'|'y'"):
        LogDensity(program, (DATA,))

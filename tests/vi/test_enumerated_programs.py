"""Programs as they are written for Pyro's enumeration: each has the loss of the same program summed by hand."""

from __future__ import annotations

import math

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.infer import TraceEnum_ELBO, config_enumerate

PROBS = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
LOCS = torch.tensor([[-1.0, 1.0], [0.0, 2.0]])
DATA = torch.tensor([-0.5, 1.2, 0.3])


def simplex(name: str, value: torch.Tensor) -> torch.Tensor:
    return su.param(name, value, constraint=constraints.simplex)


def empty(*args):
    pass


def one_site(y):
    p = simplex("p", torch.tensor([0.25, 0.75]))
    x = su.sample("x", dist.Categorical(p))
    for n, value in enumerate(y):
        su.sample(f"y{n}", dist.Normal(LOCS[0][x], 1.0), obs=value)


def one_site_by_hand(y):
    p = simplex("p", torch.tensor([0.25, 0.75]))
    su.factor("y", torch.logsumexp(p.log() + dist.Normal(LOCS[0], 1.0).log_prob(y[:, None]).sum(0), 0))


def chain_of_three(y):
    """x → z → y, each twice: a Python loop whose sites have names."""
    moves = simplex("moves", PROBS)
    x = 0
    for n in su.markov(range(len(y))):
        x = su.sample(f"x{n}", dist.Categorical(moves[x]), infer={"enumerate": "parallel"})
        su.sample(f"y{n}", dist.Normal(LOCS[1][x], 1.0), obs=y[n])


def chain_by_hand(y):
    moves = simplex("moves", PROBS)
    alpha = moves[0].log()
    for n in range(len(y)):
        alpha = alpha + dist.Normal(LOCS[1], 1.0).log_prob(y[n])
        if n + 1 < len(y):
            alpha = torch.logsumexp(alpha[:, None] + moves.log(), 0)
    su.factor("y", torch.logsumexp(alpha, 0))


def outer_and_local(y):
    """A site outside of the plate, and one inside that depends on it, scaled as by a subsample."""
    p, moves = simplex("p", torch.tensor([0.4, 0.6])), simplex("moves", PROBS)
    x = su.sample("x", dist.Categorical(p))
    with su.plate("data", 10, subsample=torch.tensor([0, 4, 7])):
        z = su.sample("z", dist.Categorical(moves[x]))
        su.sample("y", dist.Normal(su.ops.vindex(LOCS)[x, z], 1.0), obs=y)


def outer_and_local_by_hand(y):
    p, moves = simplex("p", torch.tensor([0.4, 0.6])), simplex("moves", PROBS)
    seen = dist.Normal(LOCS, 1.0).log_prob(y[:, None, None])  # (row, x, z)
    rows = torch.logsumexp(moves.log() + seen, -1)
    su.factor("y", torch.logsumexp(p.log() + 10 / 3 * rows.sum(0), 0))


def two_plates(y):
    """A site in each of two plates, and one in both that depends on one of them."""
    p, moves = simplex("p", torch.tensor([0.4, 0.6])), simplex("moves", PROBS)
    with su.plate("a", 3, dim=-1):
        x = su.sample("x", dist.Categorical(p))
        with su.plate("b", 2, dim=-2):
            z = su.sample("z", dist.Categorical(moves[x]))
            su.sample("y", dist.Normal(LOCS[1][z], 1.0), obs=torch.stack([y, -y]))


def two_plates_by_hand(y):
    p, moves = simplex("p", torch.tensor([0.4, 0.6])), simplex("moves", PROBS)
    seen = dist.Normal(LOCS[1], 1.0).log_prob(torch.stack([y, -y])[..., None, None])  # (b, a, 1, z)
    inner = torch.logsumexp(moves.log() + seen, -1).sum(0)  # (a, x)
    su.factor("y", torch.logsumexp(p.log() + inner, -1).sum())


def ragged(lengths):
    """Series of different lengths in a plate: a Python loop, masked after the end of each."""

    def program(y):
        moves = simplex("moves", PROBS)
        with su.plate("series", len(lengths), dim=-1):
            x = 0
            for t in su.markov(range(int(lengths.max()))):
                with su.mask(mask=t < lengths):
                    x = su.sample(f"x{t}", dist.Categorical(moves[x]))
                    su.sample(f"y{t}", dist.Normal(LOCS[1][x], 1.0), obs=y[t] + 0.1 * torch.arange(len(lengths)))

    return program


def ragged_by_hand(lengths):
    def program(y):
        moves, total = simplex("moves", PROBS), torch.zeros(())
        for k, length in enumerate(lengths.tolist()):
            alpha = moves[0].log()
            for t in range(length):
                alpha = alpha + dist.Normal(LOCS[1], 1.0).log_prob(y[t] + 0.1 * k)
                if t + 1 < length:
                    alpha = torch.logsumexp(alpha[:, None] + moves.log(), 0)
            total = total + torch.logsumexp(alpha, 0)
        su.factor("y", total)

    return program


def factorial(y):
    """Two chains that are seen through their sum."""
    moves = simplex("moves", PROBS)
    w, x = 0, 0
    for t in su.markov(range(len(y))):
        w = su.sample(f"w{t}", dist.Categorical(moves[w]))
        x = su.sample(f"x{t}", dist.Categorical(moves[x]))
        su.sample(f"y{t}", dist.Normal(w + 0.5 * x, 1.0), obs=y[t])


def factorial_by_hand(y):
    moves = simplex("moves", PROBS)
    joint = (moves[:, None, :, None] * moves[None, :, None, :]).reshape(4, 4).log()
    locs = torch.tensor([0.0, 0.5, 1.0, 1.5])
    alpha = joint[0]
    for t in range(len(y)):
        alpha = alpha + dist.Normal(locs, 1.0).log_prob(y[t])
        if t + 1 < len(y):
            alpha = torch.logsumexp(alpha[:, None] + joint, 0)
    su.factor("y", torch.logsumexp(alpha, 0))


def topics(y):
    """Words of documents, each with a topic of its own: latent Dirichlet allocation at given shares."""
    shares, words = simplex("shares", PROBS), simplex("vocabulary", torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]))
    with su.plate("document", 2, dim=-1), su.plate("word", 3, dim=-2):
        topic = su.sample("topic", dist.Categorical(shares))
        su.sample("words", dist.Categorical(words[topic]), obs=torch.tensor([[0, 2], [1, 1], [2, 0]]))


def topics_by_hand(y):
    shares, words = simplex("shares", PROBS), simplex("vocabulary", torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]))
    seen = torch.tensor([[0, 1, 2], [2, 1, 0]])  # by document
    su.factor("y", (shares @ words).log().gather(1, seen).sum())


def captured(y):
    """Alive or not: seen with some probability while alive, and never after; and whether each was ever there."""
    stays, seen = su.param("stays", torch.tensor(0.8)), su.param("seen", torch.tensor(0.6))
    histories = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # (occasion, animal)
    with su.plate("animal", 2, dim=-1):
        alive = torch.ones(2)
        for t in su.markov(range(3)):
            alive = su.sample(f"alive{t}", dist.Bernoulli(alive * (stays if t else 1.0)))
            su.sample(f"seen{t}", dist.Bernoulli(alive * seen), obs=histories[t])


def captured_by_hand(y):
    stays, seen = su.param("stays", torch.tensor(0.8)), su.param("seen", torch.tensor(0.6))
    first = seen * stays * (1 - seen) * stays * seen
    gone = 1 - stays + stays * (1 - seen)
    second = (1 - seen) * stays * seen * gone
    su.factor("y", (first * second).log())


MARKED = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])


def marked(y):
    """Given that an animal was caught for the first time, and marked: what came before is masked, and the states there lead on
    to those that count. The mask is one tensor, into which each step writes. `MARKED` is (occasion, animal)."""
    stays, seen = su.param("stays", torch.tensor(0.8)), su.param("seen", torch.tensor(0.6))
    with su.plate("animal", 4, dim=-1):
        alive, known = torch.ones(4), torch.zeros(4, dtype=torch.bool)
        for t in su.markov(range(4)):
            with su.mask(mask=known):
                alive = su.sample(f"alive{t}", dist.Bernoulli(known.float() * stays * alive + ~known))
                su.sample(f"seen{t}", dist.Bernoulli(seen * alive), obs=MARKED[t])
            known |= MARKED[t] == 1


def marked_by_hand(y):
    stays, seen = su.param("stays", torch.tensor(0.8)), su.param("seen", torch.tensor(0.6))
    missed, caught = stays * (1 - seen), stays * seen
    once = 1 - stays + missed  # not seen once more, twice, and three times
    twice = 1 - stays + missed * once
    thrice = 1 - stays + missed * twice
    su.factor("y", (missed * caught * once).log() + once.log() + (missed * caught).log() + thrice.log())


LENGTHS = torch.tensor([3, 1, 2])
PROGRAMS = {
    "one site": (one_site, one_site_by_hand),
    "chain": (chain_of_three, chain_by_hand),
    "outer and local, scaled": (outer_and_local, outer_and_local_by_hand),
    "two plates": (two_plates, two_plates_by_hand),
    "ragged": (ragged(LENGTHS), ragged_by_hand(LENGTHS)),
    "factorial": (factorial, factorial_by_hand),
    "topics": (topics, topics_by_hand),
    "captured": (captured, captured_by_hand),
    "marked": (marked, marked_by_hand),
}


@pytest.mark.filterwarnings("ignore::sursum.errors.ObservationWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_loss_and_gradient_are_those_by_hand(name):
    found = []
    for program in PROGRAMS[name]:
        with su.ParamStore() as store:
            loss = TraceEnum_ELBO().differentiable_loss(program, empty, DATA)
            found.append((loss.detach(), torch.autograd.grad(loss, list(store.leaves()))))
    (ours, slopes), (theirs, their_slopes) = found
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    for one, other in zip(slopes, their_slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def inclined(y, g=9.81):
    """Friction of an inclined plane by noisy times of sliding: no discrete site, a density of one unknown."""
    mu = su.sample("mu", dist.Uniform(0.0, 0.5))
    steep = math.pi / 4
    time = torch.sqrt(2.0 * 2.0 / (g * (math.sin(steep) - mu * math.cos(steep))))
    with su.plate("data", len(y)):
        su.sample("times", dist.Normal(time, 0.1), obs=y)


def test_an_inclined_plane_has_the_posterior_of_a_grid():
    times = torch.tensor([0.85, 0.93, 0.88, 0.95])
    found = su.infer.Importance(inclined, num_samples=4000, seed=0).run(times)
    mu = torch.linspace(0.0, 0.5, 2001)[1:-1]
    time = torch.sqrt(4.0 / (9.81 * (1.0 - mu) * math.sin(math.pi / 4)))
    weights = dist.Normal(time, 0.1).log_prob(times[:, None]).sum(0).softmax(0)
    mean = float(weights @ mu)
    spread = float((weights @ (mu - mean) ** 2).sqrt())
    assert abs(float(found.mean("mu")) - mean) < 4.0 * spread / math.sqrt(found.ess)


def test_sites_of_the_guide_are_averaged_and_of_the_model_alone_summed():
    """A guide with a site of its own, and another that depends on it, against the sum over both."""

    def model():
        x = su.sample("x", dist.Categorical(torch.tensor([0.3, 0.7])))
        z = su.sample("z", dist.Categorical(PROBS[x]))
        su.sample("y", dist.Normal(LOCS[1][z], 1.0), obs=torch.tensor(0.4))

    @config_enumerate
    def guide():
        su.sample("x", dist.Categorical(simplex("q", torch.tensor([0.5, 0.5]))))

    with su.ParamStore():
        loss = float(TraceEnum_ELBO().loss(model, guide))
    seen = torch.logsumexp(PROBS.log() + dist.Normal(LOCS[1], 1.0).log_prob(torch.tensor(0.4)), 1)
    exact = -float((0.5 * (torch.tensor([0.3, 0.7]).log() + seen - math.log(0.5))).sum())
    assert loss == pytest.approx(exact, rel=1e-5)

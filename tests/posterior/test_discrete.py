"""Discrete sites that are recovered: against sums over all assignments, forward–backward and Viterbi by hand."""

import itertools

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.infer import discrete_probabilities, infer_discrete
from sursum.posterior.posterior import Posterior

Y = torch.tensor([0.5, -1.0, 1.5], dtype=torch.float64)


def tree(y):
    """A site outside a plate, one in it that depends on it, and a loop whose label depends on the first."""
    x = su.sample("x", dist.Normal(0.0, 1.0))
    a = su.sample("a", dist.Bernoulli(0.4))
    with su.plate("rows", 3):
        b = su.sample("b", dist.Categorical(torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])[a.long()]))
        su.sample("y", dist.Normal(x + a + b, 1.0), obs=y)
    su.sample("e", dist.Normal(2.0 * a, 1.0), obs=torch.tensor(0.7))


def by_hand(model, names, count, *args):
    """A posterior of `count` draws of the sites `names`, from the prior, whose program is `model` with `args`."""
    density = su.infer.LogDensity(model, args)
    q = np.random.default_rng(0).normal(size=(1, count, density.dim))
    rows = [density.unravel(torch.as_tensor(row)) for row in q[0]]
    sites = {name: torch.stack([row[name] for row in rows])[None] for name in names}
    coordinates = tuple(density.coordinate_names())
    return Posterior(sites, {}, q, latents=tuple(names), coordinates=coordinates, program=density.program)


def assignments(x):
    """Every assignment of the sites of `tree`, and its probability given x."""
    found = []
    for a, *b in itertools.product([0, 1], range(3), range(3), range(3)):
        given = {"x": x, "a": torch.tensor(float(a)), "b": torch.tensor(b)}
        with su.trace() as t:
            su.condition(tree, data=given)(Y)
        found.append(((a, *b), float(t.trace.log_prob_sum())))
    weights = np.array([term for _, term in found])
    weights = np.exp(weights - weights.max())
    return [one for one, _ in found], weights / weights.sum()


def test_the_program_does_not_run_for_each_draw():
    """Data in single precision, and one family at every row: what was recorded once is replayed for all draws."""
    runs = 0

    def mixture(y):
        nonlocal runs
        runs += 1
        mu = su.sample("mu", dist.Normal(0.0, 3.0).expand((2,)).to_event(1))
        with su.plate("rows", len(y)):
            su.sample("y", dist.Normal(mu[su.sample("z", dist.Categorical(torch.tensor([0.4, 0.6])))], 1.0), obs=y)

    posterior = by_hand(mixture, ["mu"], 50, torch.tensor([0.5, -1.0, 1.5]))
    runs = 0
    discrete_probabilities(posterior)
    assert runs < 10


def test_probabilities_are_those_of_all_assignments():
    posterior = by_hand(tree, ["x"], 2, Y)
    found = discrete_probabilities(posterior)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"a": (1, 2, 2), "b": (1, 2, 3, 3)}
    for k in range(2):
        places, weights = assignments(posterior["x"][0, k])
        for place, name in enumerate(["a", 0, 1, 2]):
            size = 2 if name == "a" else 3
            exact = [sum(w for one, w in zip(places, weights, strict=True) if one[place] == value) for value in range(size)]
            ours = found["a"][0, k] if name == "a" else found["b"][0, k, name]
            np.testing.assert_allclose(ours, exact, rtol=1e-6)


def test_the_best_assignment_is_the_best_of_all():
    posterior = by_hand(tree, ["x"], 3, Y)
    found = infer_discrete(posterior, temperature=0)
    for k in range(3):
        places, weights = assignments(posterior["x"][0, k])
        best = places[int(weights.argmax())]
        assert (int(found["a"][0, k]), *found["b"][0, k].tolist()) == best


def test_draws_have_the_joint_distribution():
    """Of 4000 draws at one point the share of every assignment is within five standard errors of its probability."""
    one = by_hand(tree, ["x"], 1, Y)
    count = 4000
    many = Posterior(
        {"x": one["x"].expand(1, count).clone()},
        {},
        np.repeat(one.unconstrained, count, 1),
        latents=("x",),
        coordinates=one.coordinates,
        program=one.program,
    )
    found = infer_discrete(many, seed=0)
    assert list(found) == ["x", "a", "b"]
    assert found.latents == ("x", "a", "b")
    assert found.dims["b"] == ("rows",)
    again = infer_discrete(many, seed=0)
    assert torch.equal(found["b"], again["b"])
    drawn = [(int(a), *b) for a, b in zip(found["a"][0], found["b"][0].tolist(), strict=True)]
    places, weights = assignments(one["x"][0, 0])
    for place, weight in zip(places, weights, strict=True):
        error = np.sqrt(weight * (1 - weight) / count)
        assert abs(drawn.count(place) / count - weight) < 5 * error + 1e-3


def chain(y, stays=0.8):
    mu = su.sample("mu", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).to_event(1))
    matrix = torch.tensor([[stays, 1 - stays], [1 - stays, stays]], dtype=torch.float64)

    def step(z, y):
        with su.plate("series", 2):
            z = su.sample("z", dist.Categorical(matrix[z]))
            su.sample("y", dist.Normal(mu[z], 1.0), obs=y)
        return z, None

    su.scan(step, torch.zeros(2, dtype=torch.long), y)


def test_states_of_a_scan():
    y = torch.as_tensor(np.random.default_rng(3).normal(size=(12, 2)))
    posterior = by_hand(chain, ["mu"], 5, y)
    found, best = discrete_probabilities(posterior)["z"], infer_discrete(posterior, temperature=0)["z"]
    drawn = infer_discrete(posterior, seed=0)["z"]
    assert drawn.shape == best.shape == (1, 5, 12, 2)
    log_matrix = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=torch.float64).log()
    for k, series in itertools.product(range(5), range(2)):
        seen = dist.Normal(posterior["mu"][0, k], 1.0).log_prob(y[:, series, None])
        forward, way = [log_matrix[0] + seen[0]], [log_matrix[0] + seen[0]]
        backward, came = [torch.zeros(2, dtype=torch.float64)], []
        for t in range(1, 12):
            forward.append(torch.logsumexp(forward[-1][:, None] + log_matrix, 0) + seen[t])
            reached = way[-1][:, None] + log_matrix
            came.append(reached.argmax(0))
            way.append(reached.max(0).values + seen[t])
            backward.append(torch.logsumexp(log_matrix + seen[12 - t] + backward[-1], 1))
        exact = torch.stack([(a + b).softmax(0) for a, b in zip(forward, backward[::-1], strict=True)])
        np.testing.assert_allclose(found[0, k, :, series], exact, rtol=1e-9)
        path = [int(way[-1].argmax())]
        for before in reversed(came):
            path.append(int(before[path[-1]]))
        assert best[0, k, :, series].tolist() == path[::-1]


@pytest.mark.slow
def test_neighbouring_states_are_drawn_together():
    """States that almost never change are drawn as one block, which independent draws of their marginals would not be."""
    y = torch.zeros(6, 2, dtype=torch.float64)

    def first(y):
        su.sample("mu", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).to_event(1))
        z0 = su.sample("z0", dist.Bernoulli(0.5)).long()
        matrix = torch.tensor([[1.0, 1e-9], [1e-9, 1.0]], dtype=torch.float64)
        su.scan(lambda z, _: (su.sample("z", dist.Categorical(matrix[z])), None), z0, torch.zeros(6))

    posterior = by_hand(first, ["mu"], 400, y)
    found = infer_discrete(posterior, seed=0)
    assert torch.equal(found["z"], found["z0"].long()[..., None].expand_as(found["z"]))
    share = float(found["z0"].mean())
    assert abs(share - 0.5) < 5 * 0.5 / 20


def test_predictions_use_the_recovered_values():
    posterior = infer_discrete(by_hand(tree, ["x"], 50, Y), seed=0)
    predicted = posterior.predict(seed=0)
    assert set(predicted.drawn) == {"y", "e"}
    away = predicted["y"] - posterior["x"][..., None] - posterior["a"][..., None] - posterior["b"]
    assert float(away.std()) == pytest.approx(1.0, abs=5 / np.sqrt(2 * 150))
    likelihood = posterior.log_likelihood()["y"]
    means = posterior["x"][..., None] + posterior["a"][..., None] + posterior["b"]
    np.testing.assert_allclose(likelihood, dist.Normal(means, 1.0).log_prob(Y), rtol=1e-6)


def test_arviz_has_them():
    tree_ = infer_discrete(by_hand(tree, ["x"], 4, Y), seed=0).to_arviz()
    assert tree_["posterior"]["b"].dims == ("chain", "draw", "rows")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: 3, "takes a Posterior"),
        (lambda: Posterior({}, {}, np.zeros((1, 1, 1))), "has no program"),
        (lambda: by_hand(lambda: su.sample("x", dist.Normal(0.0, 1.0)), ["x"], 1), "no discrete site that was summed out"),
    ],
    ids=["number", "loaded", "continuous"],
)
@pytest.mark.filterwarnings("ignore::sursum.errors.UnusedSiteWarning")
def test_what_cannot_be_recovered(given, message):
    with pytest.raises(PredictionError, match=message):
        infer_discrete(given())


def test_a_temperature_between():
    with pytest.raises(PredictionError, match="must be 1, for draws, or 0"):
        infer_discrete(by_hand(tree, ["x"], 1, Y), temperature=2)


def test_what_is_masked_does_not_choose_the_best_path_and_has_its_most_probable_values():
    """Series of different lengths: each has the path that it has alone, and goes on with what is likely after it."""
    moves = torch.tensor([[0.7, 0.3], [0.1, 0.9]], dtype=torch.float64)
    y = torch.tensor([[0.4, 0.65], [1.1, 5.0], [0.1, 5.0]], dtype=torch.float64)
    lengths = torch.tensor([3, 1])

    def series(y):
        mu = su.sample("mu", dist.Normal(torch.tensor(1.0, dtype=torch.float64), 0.1))
        with su.plate("series", 2):
            z = torch.zeros(2, dtype=torch.long)
            for t in su.markov(range(3)):
                with su.mask(mask=t < lengths):
                    z = su.sample(f"z{t}", dist.Categorical(moves[z]))
                    su.sample(f"y{t}", dist.Normal(mu * z, 0.5), obs=y[t])

    posterior = su.infer.Laplace(series, num_samples=1, seed=0).run(y)
    best = su.infer.infer_discrete(posterior, temperature=0)
    mu = posterior["mu"][0, 0]
    for k, length in enumerate(lengths.tolist()):
        score = lambda path, k=k: sum(
            moves[(0, *path)[t], z].log() + dist.Normal(mu * z, 0.5).log_prob(y[t, k]) for t, z in enumerate(path)
        )
        exact = max(itertools.product((0, 1), repeat=length), key=score)
        while len(exact) < 3:
            exact = (*exact, int(moves[exact[-1]].argmax()))
        assert tuple(int(best[f"z{t}"][0, 0, k]) for t in range(3)) == exact

"""An index out of range: torch's many words for it become one error, which has the line of the program."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Factor
from sursum.core.out_of_range import outside
from sursum.errors import OutOfRangeError

ONE = torch.tensor([7])
REFUSED = {
    "indexing": lambda: torch.zeros(3)[ONE],
    "indexing by a number": lambda: torch.zeros(3)[7],
    "index_select": lambda: torch.zeros(3).index_select(0, ONE),
    "gather": lambda: torch.zeros(3).gather(0, ONE),
    "take": lambda: torch.zeros(3).take(ONE),
    "scatter": lambda: torch.zeros(3).scatter(0, ONE, 1.0),
    "embedding": lambda: functional.embedding(ONE, torch.zeros(3, 2)),
    "embedding_bag": lambda: functional.embedding_bag(ONE[None], torch.zeros(3, 2)),
    "nll_loss": lambda: functional.nll_loss(torch.zeros(1, 3), ONE),
    "cross_entropy": lambda: functional.cross_entropy(torch.zeros(1, 3), ONE),
    "multi_margin_loss": lambda: functional.multi_margin_loss(torch.zeros(1, 3), ONE),
    "one_hot": lambda: functional.one_hot(ONE, 3),
}


def caught(run):
    with pytest.raises((RuntimeError, IndexError)) as found:
        run()
    return found.value


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_says_is_understood(name):
    error = caught(REFUSED[name])
    found = outside(error, after="k")
    assert isinstance(found, OutOfRangeError)
    line = REFUSED[name].__code__.co_firstlineno
    assert f"out of range (test_out_of_range.py:{line}, after site 'k'); torch says: " in str(found)
    assert str(error).splitlines()[0] in str(found)


def test_a_site_that_is_scored_is_named():
    found = outside(caught(REFUSED["gather"]), Factor(name="f", value=None, where="model.py:3"), after="k")
    assert "out of range at site 'f' (model.py:3); torch says" in str(found)


def test_where_nothing_is_known_of_the_place():
    assert "out of range; torch says: index out of range in self." in str(outside(IndexError("index out of range in self")))


@pytest.mark.parametrize(
    "error", [ValueError("no"), caught(lambda: torch.zeros(3) + torch.zeros(2)), OutOfRangeError("index out of range in self")]
)
def test_other_errors_are_left_alone(error):
    assert outside(error) is None


TABLE = torch.tensor([1.0, 2.0, 5.0])


def looked_up(k, y):
    m = su.sample("m", dist.Normal(0.0, 1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(TABLE[k] * m, 1.0), obs=y)


def test_an_index_outside_is_said_as_ours_wherever_the_program_runs():
    k, y = torch.tensor([0, 3]), torch.zeros(2)
    guide = su.infer.autoguide.AutoNormal(looked_up)
    draws = {"m": torch.zeros(2)}
    for run in (
        lambda: su.infer.SVI(looked_up, guide, su.optim.Adam({"lr": 0.1}), su.infer.Trace_ELBO()).step(k, y),
        lambda: su.infer.Predictive(looked_up, draws)(k, y),
        lambda: su.infer.Predictive(looked_up, num_samples=2)(k, y),
        lambda: su.infer.log_likelihood(looked_up, draws, k, y),
        lambda: su.infer.Fit(looked_up).run(k, y),
        lambda: su.infer.Fit(looked_up, optim=lambda p: torch.optim.SGD(p, 0.1), num_steps=2).run(k, y),
    ):
        with pytest.raises(OutOfRangeError, match=r"index is out of range.* \(test_out_of_range.py:\d+, after site 'm'\)"):
            run()


def test_a_class_that_there_is_not_is_said_at_its_site():
    def model(y):
        m = su.sample("m", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with su.plate("data", len(y)):
            su.sample("y", dist.Categorical(logits=m, validate_args=False), obs=y)

    with pytest.raises(OutOfRangeError, match=r"index is out of range at site 'y'"):
        su.infer.log_likelihood(model, {"m": torch.zeros(2, 3)}, torch.tensor([0, 3]))

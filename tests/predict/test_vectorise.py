"""A program at many draws: mapped or one by one, in whatever pieces, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum.distributions as dist
from sursum.core.messages import Sample
from sursum.errors import PredictionError
from sursum.predict import vectorise
from sursum.predict.vectorise import agree, at_draws, pieces

COUNT = 7
Z = torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(0))


def run(values, draw):
    """Something computed and something drawn: vmap maps it."""
    z = values["z"]
    fn = dist.Normal(z.sum(), 1.0)
    return {"f": 2 * z, "y": draw(Sample(name="y", fn=fn)), "p": draw(Sample(name="p", fn=dist.Poisson(z.exp())))}


def branching(values, draw):
    """The same, which vmap cannot map."""
    return run(values, draw) if float(values["z"].sum()) < 1e9 else {}


@pytest.fixture
def how(monkeypatch):
    """Which draws were mapped, and how many were run by themselves."""
    seen = {"mapped": [], "single": 0}
    mapped, single = vectorise._map, vectorise._single

    def _mapped(run, values, rows, streams):
        found = mapped(run, values, rows, streams)
        seen["mapped"].append((rows.start, rows.stop, found is not None))
        return found

    def _single(*args):
        seen["single"] += 1
        return single(*args)

    monkeypatch.setattr(vectorise, "_map", _mapped)
    monkeypatch.setattr(vectorise, "_single", _single)
    return seen


def test_mapped_or_one_by_one_in_any_pieces(how):
    whole = at_draws(run, {"z": Z}, COUNT, seed=(3,))
    assert how == {"mapped": [(0, COUNT, True)], "single": 1}
    torch.testing.assert_close(whole["f"], 2 * Z)
    for other, chunk in ((run, 1), (run, 3), (branching, None), (branching, 3)):
        found = at_draws(other, {"z": Z}, COUNT, seed=(3,), chunk=chunk)
        assert list(found) == ["f", "y", "p"]
        for name, value in whole.items():
            assert torch.equal(found[name], value)


def test_what_cannot_be_mapped_is_tried_once(how):
    at_draws(branching, {"z": Z}, COUNT, seed=(3,), chunk=2)
    assert how == {"mapped": [(0, 2, False)], "single": COUNT}


def test_streams_are_each_draws_own():
    first = at_draws(run, {"z": Z}, COUNT, seed=(3,))
    assert len(set(first["y"].tolist())) == COUNT
    same = at_draws(run, {"z": Z[:1].expand(COUNT, 2)}, COUNT, seed=(3,))
    assert len(set(same["y"].tolist())) == COUNT
    fewer = at_draws(run, {"z": Z[:3]}, 3, seed=(3,))
    assert torch.equal(fewer["y"], first["y"][:3])
    assert not torch.equal(at_draws(run, {"z": Z}, COUNT, seed=(4,))["y"], first["y"])
    before = torch.get_rng_state()
    at_draws(run, {"z": Z}, COUNT, seed=(3,))
    assert torch.equal(before, torch.get_rng_state())


def test_draws_have_the_distribution():
    """Of 4,000 normal draws around 0: the mean within 5 standard errors, and the variance too."""
    count = 4000
    y = at_draws(
        lambda values, draw: {"y": draw(Sample(name="y", fn=dist.Normal(values["m"], 2.0)))},
        {"m": torch.zeros(count)},
        count,
        seed=(0,),
    )["y"]
    assert abs(float(y.mean())) < 5 * 2.0 / count**0.5
    assert abs(float(y.var()) / 4.0 - 1) < 5 * (2 / count) ** 0.5


def test_a_program_that_is_mapped_wrongly_is_run_draw_by_draw(how):
    """The value that a function computes aside is that of the first draw under vmap, here by intention."""
    number = iter(range(100))

    def aside(values, draw):
        return {"f": values["z"] + next(number)}

    found = at_draws(aside, {"z": torch.zeros(4)}, 4)
    assert how["mapped"] == [(0, 4, True)]
    assert found["f"].tolist() == [0.0, 2.0, 3.0, 4.0]


def test_checks_inside_are_looked_at_afterwards(how):
    def checked(values, draw):
        return {"l": dist.Normal(0.0, values["s"], validate_args=True).log_prob(torch.ones(()))}

    scales = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(
        at_draws(checked, {"s": scales}, 3)["l"], torch.distributions.Normal(0.0, scales).log_prob(torch.ones(3))
    )
    assert how["mapped"] == [(0, 3, True)]
    with pytest.raises(ValueError, match="scale"):
        at_draws(checked, {"s": torch.tensor([1.0, 2.0, -3.0])}, 3)
    assert how["mapped"][-1] == (0, 3, False)


def test_chains_go_on_side_by_side_from_what_was_done():
    values = {"z": torch.arange(12.0)}
    twice = lambda values, draw: {"f": 2 * values["z"]}
    rows = [(rows.start, rows.stop) for rows, _ in pieces(twice, values, 12, chunk=3, done=(0, 0))]
    assert rows == [(0, 3), (6, 9), (3, 6), (9, 12)]
    found = list(pieces(twice, values, 12, chunk=4, done=(5, 1)))
    assert [(rows.start, rows.stop) for rows, _ in found] == [(7, 10), (5, 6), (10, 12)]
    for rows, piece in found:
        torch.testing.assert_close(piece["f"], 2.0 * torch.arange(rows.start, rows.stop))


def test_how_many_at_once_is_by_their_size(monkeypatch, how):
    """Of 1,000 numbers of float64 the draw, its only element and twice that are 24,000 bytes."""
    monkeypatch.setattr(vectorise, "BUDGET", 3 * 24000)
    at_draws(lambda values, draw: {"f": 2 * values["z"]}, {"z": torch.zeros(7, 1000, dtype=torch.float64)}, 7)
    assert [rows[:2] for rows in how["mapped"]] == [(0, 3), (3, 6), (6, 7)]


def test_results_without_gradients_from_programs_that_differentiate():
    def slope(values, draw):
        x = values["z"].clone().requires_grad_()
        return {"d": torch.autograd.grad(x**2, x)[0], "x": x}

    with torch.no_grad():
        found = at_draws(slope, {"z": torch.arange(3.0)}, 3)
    assert found["d"].tolist() == [0.0, 2.0, 4.0]
    assert not found["x"].requires_grad


@pytest.mark.parametrize(
    ("ragged", "said"),
    [
        (
            lambda values, draw: {"f": torch.zeros(int(values["z"]))},
            r"site 'f' has shape \(1,\) at the first draw and \(2,\) at draw 1",
        ),
        (
            lambda values, draw: {"f": values["z"]} if values["z"] < 2 else {},
            r"site 'f' has shape \(\) at the first draw and None at draw 1",
        ),
        (
            lambda values, draw: {"f" if values["z"] < 2 else "g": values["z"]},
            r"has shape .* at draw 1 \(None: it was not reached\)",
        ),
    ],
)
def test_draws_of_different_shapes(ragged, said):
    with pytest.raises(PredictionError, match=said):
        at_draws(ragged, {"z": torch.tensor([1.0, 2.0])}, 2)


def test_when_two_executions_agree():
    one = {"a": torch.tensor([1.0, np.nan]), "b": torch.tensor([True])}
    assert agree(one, {"a": torch.tensor([1.0005, np.nan]), "b": torch.tensor([True])})
    for other in (
        {"a": one["a"]},
        one | {"a": torch.tensor([1.01, np.nan])},
        one | {"a": torch.tensor([1.0, 1.0])},
        one | {"a": one["a"].double()},
        one | {"a": one["a"][None]},
        one | {"b": torch.tensor([False])},
    ):
        assert not agree(one, other)

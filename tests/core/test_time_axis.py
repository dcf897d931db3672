"""The steps of a scan as one site: rows by step, and log densities that are those of the steps."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

import sursum.distributions as dist
from sursum.core.messages import Deterministic, Factor, Frame, Sample, Step
from sursum.core.time_axis import Ledger, StackedFactor, StackedSample, keep, stack_steps
from sursum.errors import DuplicateSiteError, ScanError

LOOP = object()


class Rolled(Step):
    """One step that stands for all: what is wanted of each is joined by adding a dimension."""

    rolled = True

    def join(self, values):
        return torch.stack([values[0]] * self.size)


def steps(size=3, kind=Step, loop=LOOP):
    return [kind("scan", None, size, index=t, loop=loop) for t in range(size)]


def test_rows_by_name_in_the_order_of_steps_and_then_forgotten():
    ledger, every = Ledger(), steps()
    for step in every:
        ledger.add("b", step, f"b{step.index}")
        ledger.add("a", step, f"a{step.index}")
        ledger.add("c", Step("other", None, 3, index=step.index, loop="other"), step.index)
    assert ledger.leave(every[-1]) == [["b0", "b1", "b2"], ["a0", "a1", "a2"]]
    assert ledger.leave(every[-1]) == []
    assert [name for _, name in ledger.rows] == ["c"]


def test_a_step_that_is_run_again_takes_the_place_of_the_first():
    ledger, first, again = Ledger(), steps(2), steps(2)
    for step in (*first, again[0]):
        ledger.add("a", step, step)
    (rows,) = ledger.leave(first[-1])
    assert rows[0] is again[0]
    assert rows[1] is first[1]


def test_one_name_twice_in_a_step():
    ledger, (step, _, _) = Ledger(), steps()
    ledger.add("a", step, 0)
    with pytest.raises(DuplicateSiteError, match="two sites are named 'a' in one step of a scan"):
        ledger.add("a", step, 1)


def test_a_site_that_is_not_in_every_step():
    ledger, every = Ledger(), steps()
    for step in every[:2]:
        ledger.add("a", step, 0)
    with pytest.raises(ScanError, match="site 'a' is in 2 of the 3 steps of a scan"):
        ledger.leave(every[-1])


def test_a_rolled_scan_has_two_rows_whatever_its_length():
    ledger, every = Ledger(), steps(9, Rolled)
    for step in every[:2]:
        ledger.add("a", step, step.index)
    assert ledger.leave(every[1]) == [[0, 1]]


VALUES, PLATE = torch.tensor([0.5, -1.0, 2.0]), Frame("p", -1, 1)


def samples(every, **changes):
    return [
        Sample(
            name="z",
            fn=dist.Normal(float(step.index), 2.0),
            value=VALUES[step.index],
            plates=(PLATE, step),
            where="m.py:1",
            **changes,
        )
        for step in every
    ]


def test_the_log_density_is_that_of_each_step():
    every = steps()
    found = stack_steps([keep(site, step) for site, step in zip(samples(every, scale=3.0), every, strict=True)], every[-1])
    assert isinstance(found, StackedSample)
    assert (found.name, found.plates, found.where, found.scale, found.term) == ("z", (PLATE,), "m.py:1", 3.0, None)
    torch.testing.assert_close(found.value, VALUES)
    own = Normal(torch.arange(3.0), 2.0).log_prob(VALUES)
    torch.testing.assert_close(found.log_prob(), 3.0 * own)
    torch.testing.assert_close(found.fn.log_prob(VALUES), own)
    torch.testing.assert_close(found.but(scale=2.0, mask=torch.tensor(True)).log_prob(), 2.0 * own)
    assert float(found.but(mask=torch.tensor(False)).log_prob().abs().sum()) == 0.0
    assert found.but(name="y").parts[0].name == "z"


def test_in_a_rolled_scan_it_is_computed_in_the_step():
    every = steps(kind=Rolled)[:2]
    rows = [keep(site, step) for site, step in zip(samples(every), every, strict=True)]
    torch.testing.assert_close(rows[1].term, Normal(1.0, 2.0).log_prob(torch.tensor(-1.0)))
    found = stack_steps(rows, every[-1])
    assert found.parts == ()
    torch.testing.assert_close(found.log_prob(), torch.stack([rows[0].term] * 3))
    assert keep(Deterministic(name="d", value=torch.zeros(())), every[0]).term is None


def test_factors_and_deterministic_sites():
    every = steps()
    factors = [Factor(name="f", value=VALUES[t], plates=(step,), scale=2.0) for t, step in enumerate(every)]
    found = stack_steps([keep(site, step) for site, step in zip(factors, every, strict=True)], every[-1])
    assert isinstance(found, StackedFactor)
    torch.testing.assert_close(found.value, VALUES)
    torch.testing.assert_close(found.log_prob(), 2.0 * VALUES)
    numbers = [Deterministic(name="d", value=float(t), plates=(PLATE, step)) for t, step in enumerate(every)]
    found = stack_steps([keep(site, step) for site, step in zip(numbers, every, strict=True)], every[-1])
    assert type(found) is Deterministic
    assert found.plates == (PLATE,)
    torch.testing.assert_close(found.value, torch.arange(3.0))


def test_the_steps_of_another_scan_stay():
    outer = Step("outer", None, 2, index=0, loop="outer")
    every = steps()
    sites = [Deterministic(name="d", value=VALUES[t], plates=(outer, step)) for t, step in enumerate(every)]
    assert stack_steps([keep(site, step) for site, step in zip(sites, every, strict=True)], every[-1]).plates == (outer,)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"value": torch.zeros(2)},
            r"site 'z' \(m.py:1\) has the value's shape \(\) in the first step of a scan, and \(2,\) in step 1",
        ),
        ({"is_observed": True}, r"is observed: False in the first step of a scan, and True in step 1"),
        ({"value": 3}, r"has the value's shape \(\) in the first step of a scan, and int in step 1"),
    ],
)
def test_steps_that_are_not_alike(other, said):
    every = steps()
    rows = [keep(site, step) for site, step in zip(samples(every), every, strict=True)]
    rows[1] = rows[1]._replace(site=rows[1].site.but(**other))
    with pytest.raises(ScanError, match=said):
        stack_steps(rows, every[-1])


def test_steps_of_another_kind():
    every = steps()
    rows = [keep(site, step) for site, step in zip(samples(every), every, strict=True)]
    rows[2] = rows[2]._replace(site=Factor(name="z", value=VALUES[0], where="m.py:1"))
    with pytest.raises(ScanError, match=r"is a sample in the first step of a scan, and factor in step 2"):
        stack_steps(rows, every[-1])

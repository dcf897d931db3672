"""Plates at a site: its shape against broadcasting by hand, its scale, its parameters, its steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sursum.distributions as dist
from sursum.core.messages import Factor, Frame, Param, Sample, Step
from sursum.core.plates import by_step, local_plates, place, plate_scale, take_present
from sursum.errors import ObservationError, PlateError


def sample(batch, *frames, event=()):
    return Sample(
        name="z", fn=dist.Normal(torch.zeros(*batch, *event), 1.0).to_event(len(event)), plates=frames, where="m.py:1"
    )


def factor(shape, *frames):
    return Factor(name="f", value=torch.ones(shape), plates=frames, where="m.py:1")


@given(st.data())
def test_the_shape_is_that_of_the_site_broadcast_with_its_plates(data):
    sizes = {-k: data.draw(st.integers(1, 4)) for k in data.draw(st.sets(st.integers(1, 4)))}
    own = [data.draw(st.sampled_from([1, sizes.get(-k, 3)])) for k in range(data.draw(st.integers(0, 4)), 0, -1)]
    frames = [Frame(f"p{-dim}", dim, size) for dim, size in sizes.items()]
    wide = [sizes.get(-k, 1) for k in range(max((-dim for dim in sizes), default=0), 0, -1)]
    expected = torch.broadcast_shapes(own, wide)
    site = place(sample(own, *frames, event=(2,)))
    assert (site.fn.batch_shape, site.fn.event_shape) == (expected, (2,))
    assert place(site) is site
    assert place(factor(own, *frames)).value.shape == expected


def test_without_a_dimension_a_plate_changes_nothing():
    for site in (sample((3,), Frame("s", None, 5), Step("t", None, 2)), factor((3,), Frame("s", None, 5))):
        assert place(site) is site
    drawn = Sample(name="z", fn=lambda: torch.zeros(2), plates=(Frame("p", -1, 3),))
    assert place(drawn) is drawn


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (
            sample((3,), Frame("p", -1, 4)),
            r"site 'z' \(m.py:1\) is in plate 'p' of size 4 at dim -1, .* batch shape \(3,\), 3 at that dim. Make.*to_event",
        ),
        (
            sample((9,), Frame("p", -1, 9, torch.tensor([0, 4]))),
            r"'p' of size 9 \(2 of them present\) at dim -1, but .* \(9,\), 9 at that dim",
        ),
        (
            factor((2, 3), Frame("p", -2, 4)),
            r"'p' of size 4 at dim -2, but its value has shape \(2, 3\), 2 at that dim. Make them agree, or sum over",
        ),
    ],
)
def test_what_does_not_fit(site, said):
    with pytest.raises(PlateError, match=said):
        place(site)


def test_the_present_copies_stand_for_all():
    frames = (Frame("a", -1, 10, torch.arange(4)), Frame("b", -2, 3), Frame("c", None, 6, torch.arange(2)))
    assert plate_scale(()) == 1.0
    assert plate_scale(frames) == 10 / 4 * 6 / 2


def param(value, event_dim, *frames):
    return Param(name="w", initial=value, event_dim=event_dim, plates=frames, where="m.py:1")


ROWS, COLUMNS = Frame("rows", -2, 4), Frame("columns", -1, 3)


@pytest.mark.parametrize(
    ("shape", "event_dim", "expected"),
    [
        ((4, 3), None, ()),
        ((4, 3), 0, (ROWS, COLUMNS)),
        ((4, 1), 0, (ROWS,)),
        ((3,), 0, (COLUMNS,)),
        ((), 0, ()),
        ((4, 3, 7), 1, (ROWS, COLUMNS)),
        ((4, 3), 2, ()),
        ((1, 1), 0, ()),
    ],
)
def test_the_plates_that_own_a_parameter(shape, event_dim, expected):
    value = torch.zeros(shape)
    assert local_plates(param(value, event_dim, ROWS, Frame("s", None, 5), COLUMNS), value) == expected
    assert local_plates(param(value, event_dim), value) == ()


@pytest.mark.parametrize(("shape", "event_dim"), [((2, 3), 0), ((4,), 0), ((5, 4, 3), 0), ((4, 3), 1)])
def test_a_batch_that_only_some_plates_claim(shape, event_dim):
    value = torch.zeros(shape)
    batch = tuple(shape[: len(shape) - event_dim])
    with pytest.raises(PlateError) as caught:
        local_plates(param(value, event_dim, ROWS, COLUMNS), value)
    assert (
        f"has batch shape {batch} (shape {shape}, event_dim {event_dim}), and the open plates are 'rows' (size 4, dim -2), "
        in str(caught.value)
    )


@pytest.mark.parametrize("event_dim", [-1, 3])
def test_an_event_of_more_dimensions_than_there_are(event_dim):
    value = torch.zeros(4, 3)
    with pytest.raises(PlateError, match=rf"shape \(4, 3\) and event_dim {event_dim}: .* from 0 to 2"):
        local_plates(param(value, event_dim, ROWS, COLUMNS), value)


@pytest.mark.parametrize("event", [(), (2,)])
def test_the_elements_that_are_present(event):
    rows, columns = torch.tensor([3, 0]), torch.tensor([2, 1, 1])
    frames = Frame("rows", -2, 4, rows), Frame("columns", -1, 3, columns)
    value = torch.arange(24.0)[: 12 * (event[0] if event else 1)].reshape(4, 3, *event)
    assert torch.equal(take_present(param(value, len(event), *frames), value), value[rows][:, columns])
    assert take_present(param(value, None, *frames), value) is value


def test_the_part_of_a_step():
    outer, inner = Step("outer", None, 2, index=1), Step("inner", None, 3, index=2)
    value = torch.arange(12.0).reshape(2, 3, 2)
    assert torch.equal(by_step(Sample(name="z", fn=None, plates=(outer, inner)), value), torch.tensor([10.0, 11.0]))
    assert by_step(Sample(name="z", fn=None, plates=(COLUMNS,)), 3) == 3


@pytest.mark.parametrize(
    ("value", "found"), [(torch.zeros(2), r"shape \(2,\)"), (torch.zeros(()), r"shape \(\)"), (3.0, "a float")]
)
def test_a_value_without_the_steps(value, found):
    site = Sample(name="z", fn=None, plates=(Step("scan", None, 3, index=0),), where="m.py:1")
    with pytest.raises(
        ObservationError, match=rf"'z' \(m.py:1\) is in each of the 3 steps of a scan, but .* is {found}. Give .* of size 3"
    ):
        by_step(site, value)

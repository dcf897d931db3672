"""What handlers say to a handler at work without a message."""

from __future__ import annotations

import pytest
import torch

import sursum as su
from sursum.core import scope
from sursum.core.messages import Deterministic, Frame, Sample, Step
from sursum.core.runtime import STACK, Messenger, handler, perform
from sursum.core.scope import Global, open_plates

P = su.poutine


def test_open_plates_end_at_what_is_global_but_for_those_opened_again():
    def names():
        return [frame.name for frame in open_plates()]

    with su.plate("a", 2), su.plate("b", 3):
        assert names() == ["a", "b"]
        with Global(plates=(Frame("c", -1, 4),)):
            assert names() == []
            with su.plate("d", 5):
                assert names() == ["d"]
            with su.plate("c", 4):
                assert names() == ["c"]


def test_the_innermost_generator_and_the_innermost_store_win():
    outer, inner = su.ParamStore(), su.ParamStore()
    with outer:
        su.param("s", torch.tensor(1.0))
    with inner:
        su.param("s", torch.tensor(2.0))
    with outer, inner:
        assert scope.recall("s").detach() == 2
    with inner, outer:
        assert scope.recall("s").detach() == 1
    assert scope.recall("s") is None
    with P.seed(rng_seed=1) as a, P.seed(rng_seed=1) as b:
        assert scope.current_generator() is b.generator is not a.generator


def test_errors_can_ask_which_site_is_worked_on():
    seen = []

    @handler
    class look(Messenger):
        def handle(self, site):
            seen.append(scope.current_site())
            return perform(site)

    with look():
        su.deterministic("x", torch.tensor(1.0))
    assert [site.name for site in seen] == ["x"]
    assert isinstance(seen[0], Deterministic)
    assert scope.current_site() is None


def test_a_plate_that_is_opened_again_is_remembered_by_the_innermost_scope():
    with su.plate("p", 2), Global(plates=(Frame("p", -1, 2),)) as outer, Global(plates=(Frame("q", -2, 3),)) as inner:
        assert scope.reopen("p") is None
        assert scope.reopen("q") == Frame("q", -2, 3)
    assert (outer.entered, inner.entered) == (set(), {"q"})
    assert scope.reopen("q") is None


@handler
class hold(Messenger):
    """Around the steps of a scan, or one of them; writes down what it is told."""

    step: Step | None = None
    log: list = None

    @property
    def frame(self):
        return self.step

    def leave(self, step):
        self.log.append((step.name, len(STACK.get())))

    @property
    def roller(self):
        return self.log.append if self.log is not None else None


def test_the_steps_of_a_site_are_its_own_only_outside_of_the_scan():
    outer, inner = Step("outer", None, 3, index=1), Step("inner", None, 3, index=1)
    site = Sample(name="z", fn=None, plates=(outer, Frame("p", -1, 2), inner))
    assert scope.own_steps(site) == (outer, inner)
    with hold(step=outer):
        assert scope.own_steps(site) == (inner,)
        with hold(step=inner):
            assert scope.own_steps(site) == ()
    with hold(step=Step("outer", None, 3, index=1)):  # an equal one is another scan's
        assert scope.own_steps(site) == (outer, inner)


def test_handlers_are_told_that_a_scan_is_over_the_innermost_first_with_what_is_outside_of_each():
    log = []
    with hold(log=log), hold(log=log), P.scale(scale=1.0), hold(log=log):
        before = STACK.get()
        scope.leave(Step("t", None, 2))
        assert STACK.get() is before
    assert log == [("t", 3), ("t", 1), ("t", 0)]


def test_the_stack_is_whole_where_a_handler_fails_at_the_end_of_a_scan():
    with hold(log=None):
        before = STACK.get()
        with pytest.raises(AttributeError):
            scope.leave(Step("t", None, 2))
        assert STACK.get() is before


def test_the_innermost_roller_runs_the_scans():
    assert scope.current_roller() is None
    one, two = [], []
    with hold(log=one), hold(log=two), hold(), P.seed(rng_seed=0):
        scope.current_roller()(1)
    assert (one, two) == ([], [1])


def test_no_store_and_no_seed():
    assert scope.recall("s") is None
    assert scope.current_generator() is None


def test_sites_at_work_nest():
    first, second = Deterministic(name="a"), Deterministic(name="b")

    def fails():
        with scope.at_site(second):
            assert scope.current_site() is second
            raise KeyError

    with scope.at_site(first):
        with pytest.raises(KeyError):
            fails()
        assert scope.current_site() is first
    assert scope.current_site() is None

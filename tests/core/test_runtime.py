"""The stack, `perform`, and what every handler can do."""

import asyncio
import threading

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core import runtime
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.errors import HandlerError

P = su.poutine


@handler
class note(Messenger):
    """Writes into a list when a message passes, on the way up and on the way down."""

    log: list = required()
    label: str = ""

    def handle(self, site):
        self.log.append(f"{self.label}↑{site.name}")
        out = perform(site)
        self.log.append(f"{self.label}↓{site.name}")
        return out


@handler
class stop(Messenger):
    def handle(self, site):
        return site.run()


@pytest.fixture(autouse=True)
def _clean_stack():
    assert runtime.STACK.get() == ()
    yield
    assert runtime.STACK.get() == ()


def test_messages_go_outwards_and_come_back():
    log = []
    with note(log=log, label="a"), note(log=log, label="b"):
        su.deterministic("x", torch.tensor(1.0))
    assert log == ["b↑x", "a↑x", "a↓x", "b↓x"]


def test_not_asking_outwards_stops_a_message():
    log = []
    with note(log=log, label="a"), stop(), note(log=log, label="b"):
        su.deterministic("x", torch.tensor(1.0))
    assert log == ["b↑x", "b↓x"]


def test_sites_that_a_handler_reaches_are_seen_outside_of_it_only():
    @handler
    class double(Messenger):
        def handle(self, site):
            su.deterministic(f"{site.name}_inner", torch.tensor(0.0))
            return perform(site)

    with P.trace() as outer, double(), P.trace() as inner:
        su.deterministic("x", torch.tensor(1.0))
    assert list(outer.trace) == ["x_inner", "x"]
    assert list(inner.trace) == ["x"]


def test_an_exception_in_a_handler_leaves_the_stack_whole():
    @handler
    class fail(Messenger):
        def handle(self, site):
            raise KeyError(site.name)

    with P.trace() as t:
        with pytest.raises(KeyError), fail():
            su.deterministic("x", torch.tensor(1.0))
        su.deterministic("y", torch.tensor(1.0))
    assert list(t.trace) == ["y"]


def test_required_fields_are_named():
    with pytest.raises(TypeError, match=r"condition needs `data`: condition\(model, data=…\) or with condition\(data=…\)"):
        P.condition(lambda: 1)


def test_a_handler_without_a_program_says_so():
    with pytest.raises(TypeError, match="this scale has no program yet"):
        P.scale(scale=2.0)(1.0)


def test_a_handler_decorates_methods():
    class Model:
        offset = 10.0

        @P.condition(data={"z": torch.tensor(2.0)})
        def run(self, x):
            return su.sample("z", dist.Normal(0.0, 1.0)) + self.offset + x

        class_level = P.trace(lambda self: self.offset)

    model = Model()
    assert float(model.run(1.0)) == 13
    assert float(Model.run(model, 1.0)) == 13
    assert model.class_level() == 10.0
    assert isinstance(Model.run, P.condition)


def test_a_network_in_a_class_is_not_a_method():
    class Holder:
        net = P.scale(torch.nn.Linear(2, 1), 2.0)

    assert Holder().net(torch.ones(2)).shape == (1,)


# Leaving.


def test_left_out_of_order():
    outer, inner = P.scale(scale=2.0), P.mask(mask=True)
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(HandlerError, match="scale exits while mask is the innermost handler.*nest the `with` blocks"):
        outer.__exit__(None, None, None)


def test_left_without_being_entered():
    with pytest.raises(HandlerError, match="mask exits while nothing is the innermost handler"):
        P.mask(mask=True).__exit__(None, None, None)
    with P.scale(scale=1.0), pytest.raises(HandlerError, match="mask exits while scale"):
        P.mask(mask=True).__exit__(None, None, None)


def test_a_handler_that_is_never_left_does_not_stay_for_ever():
    def leaky():
        with P.scale(scale=2.0):
            P.mask(mask=True).__enter__()

    with pytest.raises(HandlerError, match="scale exits while mask"):
        leaky()
    assert P.trace(lambda: su.factor("f", torch.tensor(1.0))).get_trace().log_prob_sum() == 1


def test_finish_runs_only_where_nothing_went_wrong():
    ended = []

    @handler
    class ending(Messenger):
        def finish(self):
            ended.append(runtime.STACK.get())

    with ending():
        assert ended == []
    assert ended == [()]
    with pytest.raises(ZeroDivisionError), ending():
        1 / 0  # noqa: B018
    assert len(ended) == 1


# Threads and tasks.


def test_a_thread_starts_with_an_empty_stack():
    seen = []
    with P.scale(scale=2.0):
        thread = threading.Thread(target=lambda: seen.append(runtime.STACK.get()))
        thread.start()
        thread.join()
    assert seen == [()]


def test_a_task_inherits_the_stack_and_cannot_disturb_it():
    async def inner():
        with P.mask(mask=True):
            await asyncio.sleep(0)
            return len(runtime.STACK.get())

    async def outer():
        with P.scale(scale=2.0):
            sizes = await asyncio.gather(*(inner() for _ in range(5)))
            return sizes, len(runtime.STACK.get())

    assert asyncio.run(outer()) == ([2] * 5, 1)

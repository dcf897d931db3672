"""The stack, `perform`, and what every handler can do."""

import asyncio
import functools
import threading

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core import runtime, scope
from sursum.core.messages import Deterministic, Frame
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.core.scope import Global, open_plates
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
    with pytest.raises(HandlerError, match="scale is left while mask is the innermost handler.*nest the `with` blocks"):
        outer.__exit__(None, None, None)


def test_left_without_being_entered():
    with pytest.raises(HandlerError, match="mask is left while nothing is the innermost handler"):
        P.mask(mask=True).__exit__(None, None, None)
    with P.scale(scale=1.0), pytest.raises(HandlerError, match="mask is left while scale"):
        P.mask(mask=True).__exit__(None, None, None)


def test_a_handler_that_is_never_left_does_not_stay_for_ever():
    def leaky():
        with P.scale(scale=2.0):
            P.mask(mask=True).__enter__()

    with pytest.raises(HandlerError, match="scale is left while mask"):
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


# Programs that would run too late.


async def coroutine():
    su.sample("z", dist.Normal(0.0, 1.0))


def generator():
    yield su.sample("z", dist.Normal(0.0, 1.0))


async def asynchronous_generator():
    yield su.sample("z", dist.Normal(0.0, 1.0))


class Callable:
    def __call__(self):
        yield 1


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (coroutine, "is a coroutine"),
        (generator, "is a generator"),
        (asynchronous_generator, "is an asynchronous generator"),
        (functools.partial(generator), "is a generator"),
        (P.scale(scale=1.0), None),
        (Callable(), "is a generator"),
    ],
    ids=["coroutine", "generator", "asynchronous generator", "partial", "handler", "callable"],
)
def test_programs_that_run_later_are_refused(program, kind):
    if kind is None:
        assert P.trace(program).fn is program
        return
    with pytest.raises(HandlerError, match=rf"{kind}: its body would run after the handlers around it are left"):
        P.trace(program)
    with pytest.raises(HandlerError, match=kind):
        su.infer.LogDensity(program)


@pytest.mark.parametrize(
    ("made", "kind"), [(coroutine, "a coroutine"), (generator, "a generator"), (asynchronous_generator, "an asynchronous")]
)
@pytest.mark.parametrize(
    "call", [lambda p: P.trace(p).get_trace(), lambda p: P.scale(p, 1.0)(), lambda p: su.infer.LogDensity(p)]
)
def test_functions_that_return_such_programs_are_refused(made, kind, call):
    with pytest.raises(HandlerError, match=f"returned {kind}"):
        call(lambda: made())


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


# What handlers tell without messages.


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

"""What every handler keeps to. A new handler is one row in HANDLERS."""

import asyncio
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core import runtime
from sursum.core.runtime import Messenger
from sursum.errors import HandlerError, PlateError
from sursum.infer.reparam import LocScaleReparam

P = su.poutine


def keep(site):
    return site.name == "absent"


# Name → a function that makes one for `program`, or, without a program, as it is entered by `with`.
HANDLERS = {
    "block": partial(P.block, hide_fn=keep),
    "condition": partial(P.condition, data={"z": torch.tensor(0.3)}),
    "config_enumerate": P.config_enumerate,
    "do": partial(P.do, data={"z": torch.tensor(0.3)}),
    "lift": partial(P.lift, prior={"s": dist.LogNormal(0.0, 1.0)}),
    "mask": partial(P.mask, mask=True),
    "ParamStore": P.ParamStore,
    "plate": lambda fn=None: P.plate("outer", 2)(fn) if fn else P.plate("outer", 2),
    "reparam": partial(P.reparam, config={"z": LocScaleReparam(0.0)}),
    "replay": partial(P.replay, trace={}),
    "reprior": partial(P.reprior, prior={"z": dist.Normal(1.0, 2.0)}),
    "scale": partial(P.scale, scale=2.0),
    "scope": partial(P.scope, prefix="p"),
    "seed": partial(P.seed, rng_seed=3),
    "substitute": partial(P.substitute, data={"s": torch.tensor(2.0)}),
    "trace": P.trace,
    "uncondition": P.uncondition,
}
every = pytest.mark.parametrize("make", HANDLERS.values(), ids=HANDLERS)


def program(offset=0.0):
    """Touches every kind of site; module-level, so that it can be pickled."""
    s = su.param("s", torch.tensor(1.0), constraint=su.distributions.constraints.positive)
    z = su.sample("z", dist.Normal(0.0, 1.0))
    su.deterministic("d", z + s)
    su.factor("f", torch.tensor(-1.0))
    su.sample("y", dist.Normal(z, s), obs=torch.tensor(offset))
    return z + s


def summary(tr):
    """What a handler made of the program: kinds, shapes, log density given the values; all values are known."""
    return [(n, site.type, tuple(site.value.shape), site["is_observed"]) for n, site in tr.items()]


def executed(handled, *args):
    """Two summaries and values of `handled`, drawn from a seed of our own."""
    with P.seed(rng_seed=0), P.trace() as t:
        result = handled(*args)
    return summary(t.trace), result.detach().tolist(), t.trace.log_prob_sum().detach().tolist()


@pytest.fixture(autouse=True)
def _stack():
    yield
    assert runtime.STACK.get() == ()


def test_every_handler_is_in_the_table():
    classes = {
        name
        for name in su.handlers.__all__
        if inspect.isclass(cls := getattr(su.handlers, name)) and issubclass(cls, Messenger) and cls.__name__ == name
    }
    assert classes - {"Messenger"} == set(HANDLERS)


@every
def test_it_is_used_in_three_ways(make):
    def inside(*args):
        with make():
            return program(*args)

    first = executed(make(program), 0.5)
    assert executed(make()(program), 0.5) == first
    assert executed(inside, 0.5) == first


@every
def test_every_execution_starts_afresh(make):
    handled = make(program)
    assert executed(handled) == executed(handled)
    entered, found = make(), []
    for _ in range(2):
        with entered as running:
            found.append((running, executed(program)))
    (first, one), (second, two) = found
    assert one == two
    assert first is not second or isinstance(entered, P.plate)
    assert first is not entered
    assert entered.origin is None


# What the inner one has done is not there for the outer one, which says so.
@pytest.mark.filterwarnings("ignore::sursum.errors.UnusedPriorWarning", "ignore::sursum.errors.UnusedSiteWarning")
@every
def test_it_can_be_nested_in_another_of_its_kind_and_in_itself(make):
    one = make()
    if isinstance(one, P.plate):
        with one, pytest.raises(PlateError, match="opened inside itself"), one:
            pass
        return
    found = []
    for nested in (lambda: make(make(program)), lambda: one(one(program))):
        with P.seed(rng_seed=0), P.trace() as t:
            nested()()
        found.append([name for name in (name.rpartition("/")[2] for name in t.trace) if name in "szdfy"])
    assert found == [list("szdfy")] * 2


def test_a_handler_object_may_be_called_while_it_runs():
    depth = []

    @P.scale(scale=2.0)
    def recursive(n):
        depth.append(n)
        su.factor(f"f{n}", torch.tensor(1.0))
        if n:
            recursive(n - 1)

    assert P.trace(recursive).get_trace(2).log_prob_sum() == 2 + 4 + 8


@every
def test_it_pickles(make):
    again = pickle.loads(pickle.dumps(make(program)))
    assert type(again) is type(make(program))
    assert executed(again) == executed(make(program))
    assert type(pickle.loads(pickle.dumps(make()))) is type(make())


@every
def test_it_leaves_the_stack_as_it_was_when_the_program_fails(make):
    def fails():
        su.deterministic("d", torch.tensor(1.0))
        raise KeyError("on purpose")

    with P.scale(scale=1.0):
        before = runtime.STACK.get()
        with pytest.raises(KeyError, match="on purpose"):
            make(fails)()
        with pytest.raises(KeyError, match="on purpose"), make():
            fails()
        assert runtime.STACK.get() == before


@every
def test_it_refuses_programs_that_would_run_later(make):
    async def coroutine():
        return program()

    def generator():
        yield program()

    for late, kind in ((coroutine, "a coroutine"), (generator, "a generator")):
        with pytest.raises(HandlerError, match=f"is {kind}"):
            make(late)
        with pytest.raises(HandlerError, match=f"returned {kind}"):
            make(lambda late=late: late())()


@every
def test_left_out_of_order(make):
    one, other = make(), P.scale(scale=1.0)
    one.__enter__()
    other.__enter__()
    with pytest.raises(HandlerError, match=f"{type(one).__name__} exits while scale is the innermost handler"):
        one.__exit__(None, None, None)


@every
def test_threads_share_one_object_undisturbed(make):
    handled = make(program)
    expected = [executed(handled, float(k)) for k in range(4)]
    if isinstance(handled, P.ParamStore):
        handled = make(program)
    start = threading.Barrier(4)

    def work(k):
        start.wait()
        return [executed(handled, float(k)) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(work, range(4))):
            assert all(one == expected[k] for one in found)


@every
def test_tasks_share_one_object_undisturbed(make):
    shared = make()
    expected = executed(make(program), 1.0)

    async def work():
        with P.seed(rng_seed=0), P.trace() as t, shared:
            s = su.param("s", torch.tensor(1.0), constraint=su.distributions.constraints.positive)
            await asyncio.sleep(0)
            z = su.sample("z", dist.Normal(0.0, 1.0))
            await asyncio.sleep(0)
            su.deterministic("d", z + s)
            await asyncio.sleep(0)
            su.factor("f", torch.tensor(-1.0))
            su.sample("y", dist.Normal(z, s), obs=torch.tensor(1.0))
            await asyncio.sleep(0)
        return summary(t.trace), (z + s).detach().tolist(), t.trace.log_prob_sum().detach().tolist()

    async def main():
        return await asyncio.gather(*(work() for _ in range(4)))

    assert asyncio.run(main()) == [expected] * 4


@every
def test_it_leaves_the_global_generator_alone(make):
    handled = make(program)
    before = torch.random.get_rng_state()
    executed(handled)
    assert torch.equal(torch.random.get_rng_state(), before)


@every
def test_decorated_methods_get_their_instance(make):
    class Model:
        @make()
        def run(self, offset):
            return program(offset)

    assert executed(Model().run, 0.5) == executed(make(program), 0.5)


@every
def test_it_says_what_it_is(make):
    cls = type(make())
    assert inspect.getdoc(cls)
    assert ">>>" in inspect.getdoc(cls)
    assert repr(make()) == repr(make()) or cls is P.plate

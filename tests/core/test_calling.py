"""How a program is called: what it may be, with which arguments, and what is said where it cannot."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program, innermost, run_program, valued
from sursum.errors import CallError, HandlerError

P = su.poutine


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
    with pytest.raises(HandlerError, match=rf"{kind}: its body would run after the handlers around it have exited"):
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


@pytest.mark.parametrize("made", [coroutine, generator])
def test_what_has_been_made_is_closed(made):
    """A coroutine that is never awaited warns where it is collected, and warnings are errors here."""
    with pytest.raises(HandlerError, match="returned a "):
        run_program(lambda: made(), (), {})


def line(x, slope=2.0, *, shift=0.0):
    return slope * x + shift


CALLS = {
    "too few": ((), {}, r"\(\): missing a required argument: 'x'"),
    "too many": ((1, 2, 3), {}, r"\(int, int, int\): too many positional arguments"),
    "another name": ((1,), {"seed": 0.5}, r"\(int, seed=float\): got an unexpected keyword argument 'seed'"),
    "twice": ((1,), {"x": 1}, r"\(int, x=int\): multiple values for argument 'x'"),
}


@pytest.mark.parametrize("case", CALLS)
def test_arguments_that_the_program_does_not_take(case):
    args, kwargs, said = CALLS[case]
    expected = rf"the program line\(x, slope=2.0, \*, shift=0.0\) cannot be called with {said}\. Pass its data"
    with pytest.raises(CallError, match=expected):
        run_program(line, args, kwargs)


def test_a_network_is_asked_for_its_forward():
    with pytest.raises(CallError, match=r"the program Linear\(input: .*cannot be called with \(\): missing .*'input'"):
        run_program(nn.Linear(2, 1), (), {})
    net = nn.Linear(2, 1)
    net.register_forward_pre_hook(lambda layer, args: (torch.ones(2),))
    assert run_program(net, (), {}).shape == (1,)
    net.register_forward_pre_hook(lambda layer, args: (*args, 1, 2))
    with pytest.raises(TypeError) as caught:
        run_program(net, (), {})
    assert not isinstance(caught.value, CallError)


def test_a_type_error_from_the_body_stays_what_it_is():
    def program(x):
        return len(x)

    with pytest.raises(TypeError, match="has no len") as caught:
        run_program(program, (3,), {})
    assert not isinstance(caught.value, CallError)
    line = program.__code__.co_firstlineno + 1
    assert any(f"test_calling.py:{line}" in note for note in caught.value.__notes__)


def test_arguments_are_tensors_inside():
    numpy = pytest.importorskip("numpy")
    assert torch.equal(
        run_program(line, (numpy.array([1.0, 2.0]),), {"shift": 1.0}), torch.tensor([3.0, 5.0], dtype=torch.float64)
    )


def test_a_program_is_called_with_its_arguments_and_stays_in_its_process():
    program = Program(line, (3.0,), {"shift": 1.0})
    assert program() == 7.0
    assert copy.copy(program) is copy.deepcopy(program) is program
    assert pickle.loads(pickle.dumps([program, 1])) == [None, 1]


def test_a_program_run_for_its_values_may_differentiate_and_the_modes_come_back():
    x = torch.tensor(3.0)

    def fails():
        with valued():
            leaf = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(leaf**2, leaf)
            raise KeyError(float(slope))

    for outside in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with outside():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            with pytest.raises(KeyError, match="6.0"):
                fails()
            assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())


def test_the_innermost_program():
    assert innermost(P.scale(functools.partial(P.mask(functools.partial(line, 1), mask=True)), 2.0)) is line
    net = nn.Linear(2, 1)
    assert innermost(P.trace(net)) is net

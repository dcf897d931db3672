"""Settings and the arguments of a program never share a namespace: the same call means the same everywhere."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptionError

Y = torch.tensor([1.0, 2.0])


class Seen(list):
    """A program with parameters that are called like settings, which notes what it was given."""

    def __call__(self, y=None, seed=0, num_samples=0, num_steps=0, engine="", chunk=0, store=0, init=0, optim=0):
        self.append((seed, num_samples, num_steps, engine, chunk, store, init, optim))
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("data", 2):
            su.sample("y", dist.Normal(mu, 1.0), obs=y)


GIVEN = {"seed": 5, "num_samples": 6, "num_steps": 7, "engine": "diesel", "chunk": 8, "store": 9, "init": 10, "optim": 11}
METHODS = {
    "MCMC": lambda m: su.infer.MCMC(su.infer.NUTS(m), num_warmup=20, num_samples=20, num_chains=1, progress=False, seed=0).run,
    "Fit": lambda m: su.infer.Fit(m, engine="torch").run,
    "Fit by steps": lambda m: su.infer.Fit(m, optim=su.optim.SGD(lr=0.1), num_steps=20, engine="torch").run,
    "Laplace": lambda m: su.infer.Laplace(m, num_samples=5, seed=0, engine="torch").run,
    "Pathfinder": lambda m: su.infer.Pathfinder(m, num_samples=5, num_paths=1, seed=0, engine="torch").run,
    "Importance": lambda m: su.infer.Importance(m, num_samples=5, seed=0).run,
    "SBC": lambda m: (
        su.infer.SBC(m, num_simulations=2, max_rank=5, num_warmup=20, num_samples=20, num_chains=1, seed=0, engine="torch").run
    ),
    "SVI": lambda m: partial(
        su.infer.SVI(m, su.infer.autoguide.AutoNormal(m), su.optim.SGD(lr=0.1), seed=0, engine="eager").run, 2
    ),
    "Predictive": lambda m: su.infer.Predictive(m, num_samples=2, seed=0),
}


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning", "ignore::sursum.errors.ObservationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_passes_every_argument_on(method):
    program = Seen()
    METHODS[method](program)(Y, **GIVEN)
    assert set(program) == {tuple(GIVEN.values())}


def line(x, y=None, engine=None, chunk=None, seed=None, store=None, num_samples=None):
    su.sample("y", dist.Normal(su.sample("b", dist.Normal(0.0, 1.0)) * x, 1.0).to_event(1), obs=y)


SVI = su.infer.SVI(line, su.infer.autoguide.AutoNormal(line), su.optim.SGD(lr=0.1), seed=0)
POSTERIOR = su.Posterior({"b": torch.zeros(1, 3, dtype=torch.float64)}, {}, np.zeros((1, 3, 1)), latents=("b",))

FUNCTIONS = [
    (lambda: su.compile(line, Y, Y), "compile", "engine"),
    (lambda: su.compile(su.condition(line, data={"y": Y}), Y, engine="torch"), "compile", "engine"),
    (lambda: su.infer.log_likelihood(line, POSTERIOR, Y, Y), "log_likelihood", "chunk"),
    (lambda: su.infer.log_likelihood(partial(line, chunk=3), POSTERIOR, Y, Y), "log_likelihood", "store"),
    (lambda: SVI.sample(10, Y, Y), "sample", "num_samples"),
]


@pytest.mark.parametrize(("call", "verb", "name"), FUNCTIONS)
def test_a_function_refuses_a_program_with_a_parameter_like_an_option(call, verb, name):
    said = rf"`{verb}` has an option `{name}`, and the program line a parameter of that name: .*partial\(line, {name}=…\)"
    with pytest.raises(OptionError, match=said):
        call()


def test_what_is_bound_is_the_programs_own():
    bound = partial(line, engine="diesel", chunk=1, store=2)
    assert su.compile(bound, Y, Y, engine="torch").engine == "torch"
    assert su.infer.log_likelihood(bound, POSTERIOR, Y, Y, chunk=2)["y"].shape == (1, 3)


def test_a_method_of_a_posterior_refuses_what_it_cannot_tell_apart():
    posterior = su.infer.Laplace(line, num_samples=20, seed=0, engine="torch").run(Y, Y)
    calls = (lambda: posterior.predict(Y, seed=3), lambda: posterior.predict(seed=3), lambda: posterior.predict(Y, chunk=1))
    for call in calls:
        with pytest.raises(OptionError, match=r"`predict` has an option .* Write su\.infer\.Predictive\(model, posterior, …\)"):
            call()
    with pytest.raises(OptionError, match="`log_likelihood` has an option `chunk`"):
        posterior.log_likelihood(Y, Y, chunk=1)
    assert posterior.predict(Y)["y"].shape == (1, 20, 2)
    assert posterior.log_likelihood()["y"].shape == (1, 20)


def test_programs_may_call_their_argument_what_they_like():
    def program(model, program, posterior_samples=0):
        su.sample("y", dist.Normal(su.sample("b", dist.Normal(0.0, 1.0)) * model, 1.0).to_event(1), obs=program)

    assert su.compile(program, model=Y, program=Y, engine="torch").dim == 1
    assert su.check(program, model=Y, program=Y).passed()
    assert su.report(program, model=Y, program=Y).rows
    assert "y" in su.render(program, model=Y, program=Y).source
    assert su.infer.log_likelihood(program, POSTERIOR, model=Y, program=Y, posterior_samples=1)["y"].shape == (1, 3)


def test_old_and_foreign_names_of_num_samples():
    def program(y):
        su.sample("y", dist.Normal(su.sample("b", dist.Normal(0.0, 1.0)), 1.0).expand([2]).to_event(1), obs=y)

    svi = su.infer.SVI(program, su.infer.autoguide.AutoNormal(program), su.optim.SGD(lr=0.1), seed=0, engine="eager")
    svi.run(1, Y)
    assert svi.sample(num_samples=7).num_samples == 7
    with pytest.raises(OptionError, match="`sample` has no option `num_draws`, .* Write `num_samples=`"):
        svi.sample(num_draws=7)
    with pytest.raises(OptionError, match="`run` cannot be called this way: .*It takes num_steps by position"):
        svi.run(num_steps=7)

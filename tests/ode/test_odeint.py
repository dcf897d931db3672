"""Differential equations: solutions in closed form, another solver's, and the same in a compiled density."""

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from benchmarks import odes

import sursum as su
import sursum.distributions as dist
from sursum.density.search import runs
from sursum.errors import DensityError, IntegrationError

D = torch.float64
TIMES = torch.arange(8.0, dtype=D)


def lotka_volterra(rates):
    alpha, beta, gamma, delta = rates

    def slope(t, y):
        return torch.stack([(alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]])

    return slope


RATES = torch.tensor([0.55, 0.028, 0.8, 0.024], dtype=D)
HARES = torch.tensor([30.0, 4.0], dtype=D)


def test_the_error_follows_the_tolerance():
    wanted = torchdiffeq.odeint(lotka_volterra(RATES), HARES, TIMES, rtol=1e-11, atol=1e-11)
    for tolerance in (1e-4, 1e-6, 1e-9):
        found = su.odeint(lotka_volterra(RATES), HARES, TIMES, rtol=tolerance, atol=tolerance, max_steps=2000)
        assert ((found - wanted).abs() / wanted).max() < 10 * tolerance


def test_closed_forms():
    def turn(t, y):
        return torch.stack([y[1], -y[0]])

    start = torch.tensor([1.0, 0.0], dtype=D)
    for times in (TIMES, -TIMES, 3 - TIMES, torch.tensor([0.0, 1e-3, 1e-3 + 1e-9, 5.0], dtype=D)):
        found = su.odeint(turn, start, times, rtol=1e-10, atol=1e-10, max_steps=2000)
        since = times - times[0]
        assert (found - torch.stack([since.cos(), -since.sin()], 1)).abs().max() < 1e-8
    # A slope that depends on time alone is integrated: by fifth order, exactly up to degree four.
    quartic = su.odeint(lambda t, y: 5 * t**4 + 0 * y, torch.tensor(0.0, dtype=D), TIMES[:4], rtol=1e-3, atol=1e-3)
    assert torch.allclose(quartic, TIMES[:4] ** 5, rtol=1e-12, atol=1e-12)


def test_a_solution_may_have_any_shape():
    rates = torch.linspace(0.1, 2.0, 6, dtype=D).reshape(2, 3)
    found = su.odeint(lambda t, y: -rates * y, torch.ones(2, 3, dtype=D), TIMES, rtol=1e-9, atol=1e-9)
    assert found.shape == (8, 2, 3)
    assert (found - torch.exp(-rates * TIMES[:, None, None])).abs().max() < 1e-8


def test_single_precision():
    found = su.odeint(lambda t, y: -y, torch.tensor(1.0), TIMES, rtol=1e-4, atol=1e-5)
    assert found.dtype is torch.float32
    assert (found - torch.exp(-TIMES)).abs().max() < 1e-4


def summed(rates, start, solver, **options):
    y = solver(lotka_volterra(rates), start, TIMES, **options)
    return (y[1:].log() * torch.linspace(-1, 1, 14, dtype=D).reshape(7, 2)).sum()


def test_the_gradient_is_that_of_the_steps():
    rates, start = RATES.clone().requires_grad_(), HARES.clone().requires_grad_()
    found = torch.autograd.grad(summed(rates, start, su.odeint), (rates, start))
    # Of finite differences, since sizes of steps do not change with small changes of the parameters;
    given = torch.cat([RATES, HARES])
    for k in (0, 3, 4):
        step = torch.zeros(6, dtype=D)
        step[k] = 1e-6 * given[k]
        up, down = (summed((given + s)[:4], (given + s)[4:], su.odeint).detach() for s in (step, -step))
        assert math.isclose((up - down) / (2e-6 * given[k]), torch.cat(found)[k], rel_tol=1e-6)
    # and of another solver, within the tolerance.
    wanted = torch.autograd.grad(summed(rates, start, torchdiffeq.odeint, rtol=1e-9, atol=1e-9), (rates, start))
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3)
    precise = torch.autograd.grad(summed(rates, start, su.odeint, rtol=1e-9, atol=1e-9, max_steps=2000), (rates, start))
    for ours, theirs in zip(precise, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6)


def test_a_step_that_is_not_taken_does_not_spoil_the_gradient():
    # The first try is far too long, and has the root of a negative number.
    rate = torch.tensor(2.0, dtype=D, requires_grad=True)

    def slope(t, y):
        return -rate * y.sqrt() + 0 * t

    times = torch.tensor([0.0, 0.9], dtype=D)
    found = su.odeint(slope, torch.tensor(1.0, dtype=D), times)[-1]
    assert math.isclose(found.detach(), (1 - 0.9) ** 2, abs_tol=1e-5)  # (1 − rate t / 2)²
    assert math.isclose(torch.autograd.grad(found, rate)[0], -0.9 * (1 - 0.9), abs_tol=1e-4)


SEEN = torch.tensor([1.9, 1.31, 0.95, 0.66, 0.46, 0.31, 0.22, 0.15], dtype=D)


def decay(y, max_steps=None):
    rate = su.sample("rate", dist.LogNormal(torch.tensor(-1.0, dtype=D), 1.0))
    start = su.sample("start", dist.LogNormal(torch.tensor(0.5, dtype=D), 0.5))
    level = su.odeint(lambda t, y: -rate * y.clamp(min=0.0).sqrt() * y.clamp(min=0.0).sqrt(), start, TIMES, max_steps=max_steps)
    su.deterministic("level", level)
    su.sample("y", dist.LogNormal(level.log(), 0.1), obs=y)


def exactly(q):
    rate, start = q.exp()
    level = start * torch.exp(-rate * TIMES)
    prior = dist.Normal(torch.tensor([-1.0, 0.5], dtype=D), torch.tensor([1.0, 0.5], dtype=D)).log_prob(q).sum()
    return prior + dist.LogNormal(level.log(), 0.1).log_prob(SEEN).sum()


@pytest.fixture(scope="module")
def density():
    return su.compile(decay, SEEN)


@pytest.mark.parametrize("point", [(-1.0, 0.6), (-3.0, 0.0), (0.5, 1.5)])
def test_a_compiled_density(density, point):
    assert density.engine == "native"
    q = torch.tensor(point, dtype=D, requires_grad=True)
    wanted = exactly(q)
    value, gradient = density.value_and_grad(np.array(point))
    scale = 1 + abs(float(wanted.detach()))
    assert abs(value - float(wanted.detach())) < 1e-3 * scale
    assert np.abs(gradient - torch.autograd.grad(wanted, q)[0].numpy()).max() < 2e-3 * scale
    for k in range(2):
        step = np.eye(2)[k] * 1e-6
        slope = (density.value_and_grad(point + step)[0] - density.value_and_grad(point - step)[0]) / 2e-6
        assert math.isclose(slope, gradient[k], rel_tol=1e-5, abs_tol=1e-5)


def test_many_at_once():
    rates = torch.linspace(0.1, 3.0, 5, dtype=D)

    def solved(rate):
        return su.odeint(lambda t, y: -rate * y, torch.ones((), dtype=D), TIMES[:4], rtol=1e-8, atol=1e-8, max_steps=100)

    found = torch.func.vmap(solved)(rates)
    assert (found - torch.exp(-rates[:, None] * TIMES[:4])).abs().max() < 1e-7
    # Each with its own steps.
    assert torch.allclose(found, torch.stack([solved(rate) for rate in rates]), rtol=1e-13)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_nuts_has_the_exact_posterior():
    sampler = su.infer.MCMC(su.infer.NUTS(decay), num_warmup=300, num_samples=500, num_chains=2, seed=0)
    posterior = sampler.run(SEEN)
    axes = torch.linspace(-1.4, -0.7, 141, dtype=D), torch.linspace(0.3, 1.1, 141, dtype=D)
    points = torch.cartesian_prod(*axes)
    weights = torch.softmax(torch.func.vmap(exactly)(points), 0)
    mean = (weights[:, None] * points).sum(0)
    sd = (weights[:, None] * (points - mean) ** 2).sum(0).sqrt()
    for k, name in enumerate(("rate", "start")):
        draws = torch.as_tensor(posterior[name]).log()
        assert abs(draws.mean() - mean[k]) < 4.5 * sd[k] / math.sqrt(200)  # of 1000 draws
        assert abs(draws.std() / sd[k] - 1) < 0.2
    again = torch.as_tensor(posterior.predict()["level"])
    wanted = torch.as_tensor(posterior["start"])[..., None] * torch.exp(-torch.as_tensor(posterior["rate"])[..., None] * TIMES)
    assert (again - wanted).abs().max() < 1e-4


def test_too_few_steps():
    with pytest.raises(IntegrationError, match=r"come to t = .* in 5 steps, of the times up to 7.*max_steps="):
        su.odeint(lotka_volterra(RATES), HARES, TIMES, max_steps=5)
    found = {}

    def program():
        rate = su.sample("rate", dist.Normal(torch.tensor(0.0, dtype=D), 1.0))
        y = su.odeint(lambda t, y: -rate * y, torch.tensor(1.0, dtype=D), TIMES, max_steps=12)
        found["y"] = y.detach()
        su.factor("f", -y.square().sum())

    density = su.compile(program)
    assert np.isfinite(density.value_and_grad(np.array([0.1]))[0])
    value, _ = density.value_and_grad(np.array([3.0]))  # a rate that needs more steps
    assert not np.isfinite(value)


@pytest.mark.slow
def test_lynxes_and_hares():
    """posteriordb's `hudson_lynx_hare-lotka_volterra`: its means, root mean squares and their Monte-Carlo errors."""
    # From the prior a chain may stay where the noise is large and nothing oscillates.
    start = {
        "theta": torch.tensor([0.5, 0.03, 0.7, 0.03]),
        "z_init": torch.tensor([25.0, 6.0]),
        "sigma": torch.tensor([0.5, 0.5]),
    }
    kernel = su.infer.NUTS(odes.lotka_volterra)
    posterior = su.infer.MCMC(kernel, num_warmup=500, num_samples=500, num_chains=4, seed=0, init=start).run(odes.PELTS)
    names = ("theta", "z_init", "sigma")
    draws = torch.cat([torch.as_tensor(posterior[name]) for name in names], -1)
    wanted = [0.546864499783931, 0.0277472877678081, 0.800095360233122, 0.0240859152534545]
    wanted += [34.0352224770469, 5.93589713368062, 0.24805686320252, 0.251016914583618]
    error = [6.263e-4, 4.116e-5, 8.846e-4, 3.500e-5, 0.02931, 0.005339, 4.393e-4, 4.395e-4]
    squares = [0.30303629, 0.0007871719, 0.6481388153, 0.0005925775, 1166.9038171313, 35.5163321009, 0.0634036795, 0.0649094189]
    for k in range(8):
        mine = draws[..., k]
        own = mine.std() / math.sqrt(400)  # effective draws, of 2000
        assert abs(mine.mean() - wanted[k]) < 4.2 * math.hypot(own, error[k])
        sd = math.sqrt(squares[k] - wanted[k] ** 2)
        assert abs(math.log(mine.std() / sd)) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", odes.PROGRAMS)
def test_programs_with_another_solver(name):
    program, arguments, point = odes.PROGRAMS[name]
    args, q = arguments(), np.log(point)
    density = su.compile(program, *args)
    assert density.engine == "native"
    value, gradient = density.value_and_grad(q)

    def solve(f, y0, t, *, rtol, atol):
        return torchdiffeq.odeint(f, y0, t, rtol=1e-9, atol=1e-11)

    at = torch.from_numpy(q).requires_grad_()
    wanted = su.infer.LogDensity(program, (*args, solve))(at)
    assert math.isclose(value, wanted.detach(), rel_tol=1e-5)
    slopes = torch.autograd.grad(wanted, at)[0].numpy()
    assert np.abs(gradient - slopes).max() < 1e-3 * np.abs(slopes).max()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": TIMES.flip(0)[[0, 2, 1]]}, "strictly increasing or strictly decreasing"),
        ({"t": torch.tensor([0.0, 0.0, 1.0])}, "strictly increasing"),
        ({"t": [0.0, 1.0]}, "t of odeint is a list"),
        ({"t": TIMES[:1]}, "at least two times"),
        ({"t": torch.tensor([0.0, math.nan])}, "strictly increasing"),
        ({"y0": 1.0}, "y0 of odeint must be a tensor of floats"),
        ({"y0": torch.tensor([1, 2])}, "tensor of floats"),
        ({"rtol": 0.0}, "`rtol` is 0.0"),
        ({"atol": math.nan}, "`atol` is nan"),
        ({"max_steps": 2.5}, "`max_steps` is 2.5"),
        ({"f": lambda t, y: y[:1]}, r"has shape \(1,\), and y0 has shape \(2,\)"),
        ({"f": lambda t, y: (y[1], y[0])}, "no tensor but a tuple"),
    ],
)
def test_mistakes(change, words):
    given = {"f": lotka_volterra(RATES), "y0": HARES, "t": TIMES} | change
    with pytest.raises(IntegrationError, match=words):
        su.odeint(given.pop("f"), given.pop("y0"), given.pop("t"), **given)


def test_a_density_whose_solution_never_ends_names_the_steps(monkeypatch):
    monkeypatch.setattr(runs, "__defaults__", (3, ""))  # a hundred tries, a tenth of a second each, say no more
    times = torch.linspace(0.0, 10.0, 5, dtype=torch.float64)

    def program(y):
        rate = su.sample("rate", dist.LogNormal(3.0, 0.1))
        solution = su.odeint(lambda t, s: -rate * s, torch.ones(1, dtype=torch.float64), times, max_steps=5)
        su.sample("y", dist.Normal(solution[:, 0], 1.0), obs=y)

    with pytest.raises(DensityError, match=r"in 5 steps, of the times up to 10.*max_steps="):
        su.infer.Fit(program).run(torch.zeros(5, dtype=torch.float64))

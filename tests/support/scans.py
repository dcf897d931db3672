"""Programs with a scan, of every kind that must stay a loop, and data for them."""

from __future__ import annotations

import torch

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam

P = su.poutine


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def volatility(y):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    phi = su.sample("phi", dist.Uniform(-1.0, 1.0))
    sigma = su.sample("sigma", dist.HalfNormal(1.0))

    def step(h, y):
        h = su.sample("h", dist.Normal(mu + phi * (h - mu), sigma))
        su.sample("y", dist.Normal(0.0, (h / 2).exp()), obs=y)
        return h, h

    last, path = su.scan(step, mu, y)
    su.deterministic("path", path)
    su.deterministic("last", last)


def standardised(y):
    return su.reparam(volatility, {"h": LocScaleReparam(0.0)})(y)


def hidden_markov(y):
    trans = su.sample("trans", dist.Dirichlet(torch.ones(3, 3)).to_event(1)).log()
    emit = su.sample("emit", dist.Dirichlet(torch.ones(3, 4)).to_event(1)).log()
    alpha, _ = su.scan(lambda a, y: (torch.logsumexp(a[:, None] + trans, 0) + emit[:, y], None), torch.zeros(3), y)
    su.factor("seen", alpha.logsumexp(0))


def garch(y):
    w = su.sample("w", dist.HalfNormal(1.0))
    a, b = su.sample("a", dist.Uniform(0.0, 0.5)), su.sample("b", dist.Uniform(0.0, 0.5))

    def step(carry, y):
        variance, before, count, total = carry
        variance = w + a * before**2 + b * variance
        su.sample("y", dist.Normal(0.0, variance.sqrt()), obs=y)
        return (variance, y, count + 1, total + variance), {"variance": variance}

    init = (torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0), torch.tensor(0.0))
    (_, _, count, total), kept = su.scan(step, init, y)
    su.deterministic("count", count)
    su.deterministic("total", total)
    su.deterministic("variance", kept["variance"])


def kalman(y):
    q, r = su.sample("q", dist.HalfNormal(1.0)), su.sample("r", dist.HalfNormal(1.0))
    move, see = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])

    def step(carry, y):
        m, p = carry
        m, p = move @ m, move @ p @ move.T + q**2 * torch.eye(2)
        s = see @ p @ see.T + r**2 * torch.eye(1)
        gain = torch.linalg.solve(s, see @ p).T
        su.factor("y", dist.MultivariateNormal(see @ m, s).log_prob(y[None]))
        return (m + gain @ (y[None] - see @ m), p - gain @ see @ p), None

    su.scan(step, (torch.zeros(2), torch.eye(2)), y)


def panel(y):
    scale = su.sample("scale", dist.HalfNormal(1.0))

    def step(x, row):
        y, here = row
        with su.plate("series", 3):
            x = su.sample("x", dist.StudentT(4.0, 0.9 * x, scale))
            level = su.sample("level", dist.LogNormal(x, 0.5))
            with P.mask(mask=here):
                su.sample("y", dist.Exponential(level), obs=y)
        return x, level

    present = torch.arange(len(y) * 3).reshape(-1, 3) % 4 != 1
    y = torch.where(present, y[:, None].abs().expand(-1, 3) + 0.1, torch.nan)
    _, levels = su.scan(step, torch.zeros(3), (y, present))
    su.deterministic("levels", levels)


def lagged(y):
    """Two lags, two states that change places, and a running product: every way in which a carry can depend on carries."""
    a, b = su.sample("a", dist.Normal(0.0, 0.3)), su.sample("b", dist.Normal(0.0, 0.3))

    def step(carry, y):
        one, two, left, right, product, same = carry
        x = su.sample("x", dist.Normal(a * one + b * two, 1.0))
        su.factor("mix", -((left - right * y) ** 2) * same)
        return (x, one, right, left * torch.cos(b * y), product * torch.sigmoid(x), same), product

    init = (torch.tensor(0.0), torch.tensor(0.5), torch.tensor(1.0), a, torch.tensor(1.0), torch.tensor(0.7))
    _, products = su.scan(step, init, y)
    su.factor("products", products.sum())


def lifted(y):
    def program():
        def step(x, y):
            w = su.param("w", torch.full((2,), 0.5))
            x = torch.tanh(w[0] * x + w[1] * y)
            su.sample("y", dist.Normal(x, su.param("s", torch.tensor(1.0), constraint=dist.constraints.positive)), obs=y)
            return x, x

        su.scan(step, torch.tensor(0.1), y)

    return P.lift(program, {"w": dist.Normal(0.0, 1.0), "s": dist.LogNormal(0.0, 1.0)})()


def no_xs(y):
    a = su.sample("a", dist.Normal(0.0, 1.0))

    def step(carry, _):
        t, x = carry
        return (t + 1, torch.sin(a * x) + 0.1 * t), x

    _, path = su.scan(step, (torch.tensor(0), torch.tensor(1.0)), length=len(y))
    su.sample("y", dist.Normal(path, 1.0), obs=y)


MODELS = {
    "volatility": volatility,
    "standardised": standardised,
    "hidden_markov": hidden_markov,
    "garch": garch,
    "kalman": kalman,
    "panel": panel,
    "lagged": lagged,
    "lifted": lifted,
    "no_xs": no_xs,
}


def data(name, steps):
    return torch.arange(steps) * 7 % 4 if name == "hidden_markov" else normal(steps)

"""Programs as Pyro's users write them, unchanged but for where the names come from.

Each takes a namespace of names, Pyro's or those here, and returns numbers. Draws are in the same order in both, from torch's
generator, and of fewer than 16 numbers each, where torch draws them one after another on any processor.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.distributions import constraints


def names(root):
    """Pyro's modules under the names that programs import them by."""
    load = lambda path: importlib.import_module(f"{root}{path}")
    return SimpleNamespace(
        pyro=load(""),
        dist=load(".distributions"),
        poutine=load(".poutine"),
        infer=load(".infer"),
        auto=load(".infer.autoguide"),
        reparam=load(".infer.reparam"),
        optim=load(".optim"),
        nn=load(".nn"),
        stats=load(".ops.stats"),
        mcmc=load(".infer.mcmc"),
        easy=load(".contrib.easyguide"),
    )


def normal_by_hand(p):
    """A hand-written guide with constrained parameters, and a parameter of the model."""
    data = torch.tensor([1.0, 2.0, 3.0])

    def model(data):
        mu = p.pyro.sample("mu", p.dist.Normal(0.0, 1.0))
        scale = p.pyro.param("scale", torch.tensor(2.0), constraint=constraints.positive)
        with p.pyro.plate("data", len(data)):
            p.pyro.sample("y", p.dist.Normal(mu, scale), obs=data)

    def guide(data):
        loc = p.pyro.param("loc", torch.tensor(0.3))
        spread = p.pyro.param("spread", torch.tensor(0.5), constraint=constraints.positive)
        p.pyro.sample("mu", p.dist.Normal(loc, spread))

    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.05}), loss=p.infer.Trace_ELBO())
    losses = [svi.step(data) for _ in range(30)]
    found = {name: float(p.pyro.param(name).detach()) for name in ("loc", "spread", "scale")}
    assert sorted(p.pyro.get_param_store().keys()) == ["loc", "scale", "spread"]
    return {"first": losses[0], "last": losses[-1], **found, "evaluated": svi.evaluate_loss(data)}


def variational_autoencoder(p):
    """Two networks registered with `module`, whose results are dropped; minibatches."""

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder, self.encoder = nn.Linear(2, 5), nn.Sequential(nn.Linear(5, 4), nn.Softplus(), nn.Linear(4, 4))

        def model(self, x):
            p.pyro.module("decoder", self.decoder)
            with p.pyro.plate("data", x.shape[0]):
                loc, scale = x.new_zeros((x.shape[0], 2)), x.new_ones((x.shape[0], 2))
                z = p.pyro.sample("latent", p.dist.Normal(loc, scale).to_event(1))
                p.pyro.sample("obs", p.dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

        def guide(self, x):
            p.pyro.module("encoder", self.encoder)
            with p.pyro.plate("data", x.shape[0]):
                loc, scale = self.encoder(x).chunk(2, -1)
                p.pyro.sample("latent", p.dist.Normal(loc, scale.exp()).to_event(1))

    vae = VAE()
    before = vae.decoder.weight.detach().clone()
    batches = (torch.rand(3, 4, 5) > 0.5).float()
    svi = p.infer.SVI(vae.model, vae.guide, p.optim.Adam({"lr": 1.0e-2}), loss=p.infer.Trace_ELBO())
    losses = [svi.step(batch) for _ in range(4) for batch in batches]
    moved = float((vae.decoder.weight - before).detach().abs().mean())
    assert moved > 0.005, "the network itself is trained"
    kept = p.pyro.get_param_store()["decoder$$$weight"]
    assert torch.equal(kept, vae.decoder.weight)
    return {"first": losses[0], "last": losses[-1], "moved": moved}


EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(p):
    def model(sigma, y=None):
        mu = p.pyro.sample("mu", p.dist.Normal(0, 5))
        tau = p.pyro.sample("tau", p.dist.HalfCauchy(scale=5.0))
        with p.pyro.plate("J", len(sigma)):
            eta = p.pyro.sample("eta", p.dist.Normal(0.0, 1.0))
            return p.pyro.sample("obs", p.dist.Normal(mu + tau * eta, sigma), obs=y)

    return model


def eight_schools_by_svi(p):
    """A guide by hand, with a transformed distribution; parameters through the store."""
    model = schools(p)

    def guide(sigma, y=None):
        loc = p.pyro.param("loc", torch.zeros(10))
        scale = p.pyro.param("scale", 0.1 * torch.ones(10), constraint=constraints.positive)
        p.pyro.sample("mu", p.dist.Normal(loc[0], scale[0]))
        p.pyro.sample(
            "tau", p.dist.TransformedDistribution(p.dist.Normal(loc[1], scale[1]), [p.dist.transforms.ExpTransform()])
        )
        with p.pyro.plate("J", len(sigma)):
            p.pyro.sample("eta", p.dist.Normal(loc[2:], scale[2:]))

    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.01}), loss=p.infer.Trace_ELBO(num_particles=2))
    losses = [svi.step(ERROR, EFFECT) for _ in range(20)]
    values = dict(p.pyro.get_param_store().items())
    return {
        "first": losses[0],
        "last": losses[-1],
        "loc": float(values["loc"].detach().sum()),
        "scale": float(values["scale"].detach().sum()),
    }


def hierarchical_regression(p):
    """Crossed plates, a subsampled plate, and a guide made from the model."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(12, generator=generator), torch.randn(12, generator=generator)
    group = torch.arange(12) % 3

    def model(x, y):
        mean = p.pyro.sample("mean", p.dist.Normal(0.0, 1.0))
        spread = p.pyro.sample("spread", p.dist.LogNormal(0.0, 0.5))
        with p.pyro.plate("groups", 3):
            slope = p.pyro.sample("slope", p.dist.Normal(mean, spread))
        with p.pyro.plate("data", len(x), subsample_size=6) as index:
            p.pyro.sample("y", p.dist.Normal(slope[group[index]] * x[index], 1.0), obs=y[index])

    start = {"mean": torch.tensor(0.0), "spread": torch.tensor(1.0), "slope": torch.zeros(3)}
    guide = p.auto.AutoDelta(model, init_loc_fn=p.auto.init_to_value(values=start))
    guide(x, y)
    p.pyro.set_rng_seed(3)
    svi = p.infer.SVI(model, guide, p.optim.SGD({"lr": 0.001}), loss=p.infer.Trace_ELBO())
    svi.step(x, y)
    median = guide.median(x, y)
    assert sorted(median) == ["mean", "slope", "spread"]
    assert sorted(p.pyro.get_param_store().keys()) == ["AutoDelta.mean", "AutoDelta.slope", "AutoDelta.spread"]
    return {"names": float(len(median)), "shape": float(median["slope"].numel())}


def bayesian_linear_layer(p):
    """`PyroModule[nn.Linear]` with priors on its weights, an automatic guide, and predictions."""

    class Regression(p.nn.PyroModule):
        def __init__(self):
            super().__init__()
            self.linear = p.nn.PyroModule[nn.Linear](2, 1)
            self.linear.weight = p.nn.PyroSample(p.dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
            self.linear.bias = p.nn.PyroSample(p.dist.Normal(0.0, 10.0).expand([1]).to_event(1))

        def forward(self, x, y=None):
            sigma = p.pyro.sample("sigma", p.dist.Uniform(0.0, 10.0))
            mean = self.linear(x).squeeze(-1)
            with p.pyro.plate("data", x.shape[0]):
                p.pyro.sample("obs", p.dist.Normal(mean, sigma), obs=y)
            return mean

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 2, generator=generator)
    y = x @ torch.tensor([1.0, -2.0]) + 0.5 + 0.1 * torch.randn(20, generator=generator)
    model = Regression()
    trace = p.poutine.trace(model).get_trace(x, y)
    latent = [name for name in trace.stochastic_nodes if name != "data"]
    assert latent == ["sigma", "linear.weight", "linear.bias"]
    guide = p.auto.AutoDiagonalNormal(model)
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.05}), p.infer.Trace_ELBO())
    losses = [svi.step(x, y) for _ in range(12)]
    assert losses[-1] < losses[0]
    predictive = p.infer.Predictive(model, guide=guide, num_samples=50, return_sites=("linear.weight", "obs", "_RETURN"))
    drawn = predictive(x)
    assert drawn["linear.weight"].shape == (50, 1, 1, 2)
    assert drawn["obs"].shape == drawn["_RETURN"].shape == (50, 20)
    return {"draws": float(len(drawn["obs"]))}


def lifted_network(p):
    """`random_module`: a network drawn from its priors, which its forward pass uses."""
    net = nn.Linear(3, 2)
    prior = {"weight": p.dist.Normal(torch.zeros(2, 3), torch.ones(2, 3)), "bias": p.dist.Normal(torch.zeros(2), torch.ones(2))}

    def model(x):
        return p.pyro.random_module("net", net, prior)()(x)

    x = torch.ones(1, 3)
    trace = p.poutine.trace(model).get_trace(x)
    weight, bias = trace.nodes["net$$$weight"]["value"], trace.nodes["net$$$bias"]["value"]
    assert torch.allclose(trace.nodes["_RETURN"]["value"], x @ weight.T + bias)
    at = {"net$$$weight": torch.full((2, 3), 0.5), "net$$$bias": torch.zeros(2)}
    held = p.poutine.trace(p.poutine.condition(model, data=at)).get_trace(x)
    return {"log_prob": float(held.log_prob_sum()), "out": float(held.nodes["_RETURN"]["value"].sum())}


def mixture_marginalised(p):
    """A mixture summed out by its family, and the mode by an automatic guide."""
    data = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])

    def model(data):
        weights = p.pyro.sample("weights", p.dist.Dirichlet(0.5 * torch.ones(2)))
        with p.pyro.plate("components", 2):
            locs = p.pyro.sample("locs", p.dist.Normal(0.0, 10.0))
        with p.pyro.plate("data", len(data)):
            which = p.dist.Categorical(weights)
            p.pyro.sample("obs", p.dist.MixtureSameFamily(which, p.dist.Normal(locs, 1.5)), obs=data)

    at = {"weights": torch.tensor([0.4, 0.6]), "locs": torch.tensor([0.5, 11.0])}
    guide = p.auto.AutoDelta(model, init_loc_fn=p.auto.init_to_value(values=at))
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.02}), p.infer.Trace_ELBO())
    first = svi.step(data)
    for _ in range(6):
        svi.step(data)
    mode = guide.median(data)
    return {"first": first, "low": float(mode["locs"][0]), "high": float(mode["locs"][1])}


def sequence_with_markov(p):
    """A chain of hidden states, its loop wrapped in `markov`, sites of an f-string's names."""
    data = torch.tensor([0.5, 0.1, -0.4, 0.3])

    def model(data):
        drift = p.pyro.sample("drift", p.dist.Normal(0.0, 0.5))
        z = torch.tensor(0.0)
        for t in p.pyro.markov(range(len(data))):
            z = p.pyro.sample(f"z_{t}", p.dist.Normal(0.9 * z + drift, 1.0))
            p.pyro.sample(f"y_{t}", p.dist.Normal(z, 0.5), obs=data[t])
        return z

    given = {"drift": torch.tensor(0.1), **{f"z_{t}": torch.tensor(0.2 * t) for t in range(4)}}
    trace = p.poutine.trace(p.poutine.condition(model, data=given)).get_trace(data)
    trace.compute_log_prob()
    assert trace.stochastic_nodes == []
    return {"log_prob": float(trace.log_prob_sum()), "last": float(trace.nodes["y_3"]["log_prob"])}


def effect_handlers(p):
    """Every handler that programs use, on one program."""

    def model():
        x = p.pyro.sample("x", p.dist.Normal(0.0, 1.0))
        y = p.pyro.sample("y", p.dist.Normal(x, 1.0))
        p.pyro.factor("penalty", torch.tensor(-0.5))
        return p.pyro.deterministic("sum", x + y)

    data = {"x": torch.tensor(1.0), "y": torch.tensor(2.0)}
    held = p.poutine.condition(model, data=data)
    found = {"joint": float(p.poutine.trace(held).get_trace().log_prob_sum())}
    with p.poutine.scale(scale=2.0):
        found["scaled"] = float(p.poutine.trace(held).get_trace().log_prob_sum())
    with p.poutine.mask(mask=False):
        found["masked"] = float(p.poutine.trace(held).get_trace().log_prob_sum())
    done = p.poutine.trace(p.poutine.do(model, data={"x": torch.tensor(3.0)})).get_trace()
    latent = lambda trace: [n for n in trace.nodes if trace.nodes[n]["type"] == "sample"]
    assert latent(done) == ["x", "y", "penalty", "sum"]
    assert latent(p.poutine.trace(p.poutine.block(model, hide=["x"])).get_trace()) == ["y", "penalty", "sum"]
    assert latent(p.poutine.trace(p.poutine.block(model, expose=["x"])).get_trace()) == ["x"]
    assert latent(p.poutine.trace(p.poutine.block(model, hide_types=["observe"])).get_trace()) == ["x", "y"]
    drawn = p.poutine.trace(model).get_trace()
    again = p.poutine.trace(p.poutine.replay(model, trace=drawn)).get_trace()
    assert torch.equal(again.nodes["y"]["value"], drawn.nodes["y"]["value"])
    seeded = p.poutine.seed(model, rng_seed=7)
    assert float(seeded()) == float(seeded())
    equal = p.poutine.trace(p.poutine.equalize(model, ["x", "y"])).get_trace()
    assert float(equal.nodes["x"]["value"]) == float(equal.nodes["y"]["value"])
    marked = p.poutine.trace(p.poutine.infer_config(model, config_fn=lambda site: {"mark": site["name"]})).get_trace()
    assert marked.nodes["y"]["infer"]["mark"] == "y"
    freed = p.poutine.trace(p.poutine.uncondition(held)).get_trace()
    assert freed.stochastic_nodes[:2] == ["x", "y"]

    class Shift(p.poutine.messenger.Messenger):
        seen: list

        def __init__(self):
            super().__init__()
            self.seen = []

        def _pyro_sample(self, msg):
            self.seen.append(msg["name"])

        def _pyro_post_sample(self, msg):
            if not msg["is_observed"]:
                msg["value"] = msg["value"] * 0.0 + 4.0

    with Shift() as shift:
        found["shifted"] = float(model())
    assert shift.seen[:2] == ["x", "y"]
    return found


def learnt_centring(p):
    """`LocScaleReparam` whose centring is a parameter of the store."""

    def model():
        mu = p.pyro.sample("mu", p.dist.Normal(0.0, 1.0))
        with p.pyro.plate("groups", 3):
            return p.pyro.sample("x", p.dist.Normal(mu, 2.0))

    moved = p.poutine.reparam(model, config={"x": p.reparam.LocScaleReparam(shape_params=[])})
    trace = p.poutine.trace(moved).get_trace()
    names = [name for name in trace.nodes if name not in ("_INPUT", "_RETURN", "groups")]
    assert names == ["mu", "x_centered", "x_decentered", "x"]
    at = {"mu": torch.tensor(1.0), "x_decentered": torch.tensor([0.0, 0.5, 1.0])}
    held = p.poutine.trace(p.poutine.condition(moved, data=at)).get_trace()
    return {"log_prob": float(held.log_prob_sum()), "sum": float(held.nodes["_RETURN"]["value"].sum())}


def messenger_guides(p):
    """Guides by `get_posterior`: parameters of the user's own, values before, amortised plates, and what is inherited."""
    y = torch.tensor([0.5, 1.0, 2.0])

    def model(y):
        a = p.pyro.sample("a", p.dist.Normal(0.0, 1.0))
        b = p.pyro.sample("b", p.dist.LogNormal(0.0, 0.5))
        total = p.pyro.deterministic("total", a + b)
        with p.pyro.plate("data", 3):
            c = p.pyro.sample("c", p.dist.Normal(total, 1.0))
            p.pyro.sample("obs", p.dist.Normal(c, b), obs=y)

    class Mine(p.auto.AutoNormalMessenger):
        def get_posterior(self, name, prior):
            if name == "c":
                weight = p.pyro.param("weight", torch.tensor(0.5), constraint=constraints.positive)
                (data,), _ = self.args_kwargs
                return p.dist.Normal(weight * self.upstream_value("total") + 0.1 * data, prior.scale)
            if name == "a":
                return p.pyro.param("a_point", torch.tensor(0.2))
            return super().get_posterior(name, prior)

    class Whole(p.auto.AutoMessenger):
        def get_posterior(self, name, prior):
            width = p.pyro.param(f"{name}_width", torch.tensor(0.5), constraint=constraints.positive)
            return (p.dist.LogNormal if name == "b" else p.dist.Normal)(0.3, width)

    found = {}
    for at, guide in enumerate(
        [
            Mine(model),
            Whole(model),
            p.auto.AutoNormalMessenger(model, amortized_plates=("data",)),
            p.auto.AutoHierarchicalNormalMessenger(model, hierarchical_sites=["c"]),
            p.auto.AutoRegressiveMessenger(model),
        ]
    ):
        p.pyro.clear_param_store()
        guide(y)
        store = p.pyro.get_param_store()
        for k, name in enumerate(sorted(store.keys())):  # where Pyro's guides start depends on its draws
            if name.partition(".")[0] in ("locs", "scales", "weights"):
                store[name] = torch.full_like(store[name].detach(), 0.2 + 0.1 * k)
        p.pyro.set_rng_seed(at)
        svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.02}), p.infer.Trace_ELBO())
        losses = [svi.step(y) for _ in range(8)]
        found |= {f"first {at}": losses[0], f"last {at}": losses[-1]}
        drawn = guide(y)
        assert sorted(drawn) == ["a", "b", "c", "obs", "total"]
        if isinstance(guide, p.auto.AutoNormalMessenger):
            found[f"median {at}"] = float(guide.median(y)["c"].detach().sum())
        if at == 2:
            assert p.pyro.get_param_store()["locs.c"].shape == ()
        if at == 3:
            assert p.pyro.get_param_store()["weights.c"].shape == (3,)
    names = {"locs.a", "locs.b", "locs.c", "scales.a", "scales.b", "scales.c"}
    assert set(p.pyro.get_param_store().keys()) == names
    return found


def structured_guide(p):
    """`AutoStructured` with noise and a dependence by functions of the user's own."""
    y = torch.tensor([0.5, 1.0, 2.0])

    def model():
        a = p.pyro.sample("a", p.dist.Normal(0.0, 1.0))
        b = p.pyro.sample("b", p.dist.LogNormal(a, 0.5))
        with p.pyro.plate("data", 3):
            p.pyro.sample("obs", p.dist.Normal(a, b), obs=y)

    def noise():
        width = p.pyro.param("width", torch.tensor([0.3]), constraint=constraints.positive)
        return p.pyro.sample("e", p.dist.Normal(0.0, width).to_event(1), infer={"is_auxiliary": True})

    guide = p.auto.AutoStructured(
        model, conditionals={"a": noise, "b": "delta"}, dependencies={"b": {"a": lambda shift: torch.tanh(shift)}}
    )
    guide()
    p.pyro.set_rng_seed(4)
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.02}), p.infer.Trace_ELBO())
    losses = [svi.step() for _ in range(8)]
    median = guide.median()
    return {"first": losses[0], "last": losses[-1], "a": float(median["a"]), "b": float(median["b"])}


def discrete_guide(p):
    """A mean field over discrete sites, whose averages are exact."""
    y = torch.tensor([0.1, 2.0, 2.2])

    def model():
        up = p.pyro.sample("up", p.dist.Bernoulli(0.3))
        with p.pyro.plate("data", 3):
            z = p.pyro.sample("z", p.dist.Categorical(torch.tensor([0.2, 0.5, 0.3])))
            p.pyro.sample("obs", p.dist.Normal(z.to(torch.float) + up, 0.7), obs=y)

    guide = p.auto.AutoDiscreteParallel(model)
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.05}), p.infer.TraceEnum_ELBO(max_plate_nesting=1))
    first = svi.step()
    store = p.pyro.get_param_store()
    assert sorted(store.keys()) == ["AutoDiscreteParallel.up_probs", "AutoDiscreteParallel.z_probs"]
    store["AutoDiscreteParallel.up_probs"] = torch.tensor(0.2)
    store["AutoDiscreteParallel.z_probs"] = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.3, 0.5]])
    held = svi.evaluate_loss()
    for _ in range(10):
        svi.step()
    return {"first": first, "held": held, "up": float(store["AutoDiscreteParallel.up_probs"] < 0.2)}


def easy_guides(p):
    """Groups of sites that are drawn together, in plates that they share and across others; points; a function as a guide."""
    y = torch.tensor([[0.5, 1.0, 2.0], [0.1, -0.4, 0.3]])

    def model(y):
        a = p.pyro.sample("a", p.dist.Normal(0.0, 1.0))
        b = p.pyro.sample("b", p.dist.LogNormal(0.0, 0.5))
        with p.pyro.plate("rows", 2, dim=-2):
            c = p.pyro.sample("c", p.dist.Normal(a, 1.0))
            s = p.pyro.sample("s", p.dist.LogNormal(0.0, b))
            with p.pyro.plate("columns", 3, dim=-1):
                d = p.pyro.sample("d", p.dist.Normal(c, s))
                p.pyro.sample("obs", p.dist.Normal(d, b), obs=y)

    class Mine(p.easy.EasyGuide):
        def guide(self, y):
            outer = self.group(match="[ab]$")
            loc = p.pyro.param("loc", torch.tensor([0.2, -0.1]))
            width = p.pyro.param("width", torch.tensor([0.3, 0.2]), constraint=constraints.positive)
            outer.sample("ab", p.dist.Normal(loc, width).to_event(1))
            inner = self.group(match="[csd]$")
            assert (outer.event_shape, inner.event_shape) == ((2,), (5,))
            assert self.group(match="[csd]$") is inner
            with self.plate("rows", 2, dim=-2):
                together, each = inner.sample("csd", p.dist.Normal(0.1 * torch.arange(5.0), 0.2).to_event(1))
            assert together.shape == (2, 1, 5)
            assert {name: tuple(z.shape) for name, z in each.items()} == {"c": (2, 1), "s": (2, 1), "d": (2, 3)}
            return together

    guide = Mine(model)
    assert guide(y).shape == (2, 1, 5)
    p.pyro.set_rng_seed(3)
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 0.02}), p.infer.Trace_ELBO())
    losses = [svi.step(y) for _ in range(8)]
    found = {"first": losses[0], "last": losses[-1], "loc": float(p.pyro.param("loc").detach().sum())}

    def part(x):
        a = p.pyro.sample("a", p.dist.Normal(0.0, 1.0))
        b = p.pyro.sample("b", p.dist.LogNormal(0.0, 0.5))
        with p.pyro.plate("data", len(x), subsample_size=2) as index:
            z = p.pyro.sample("z", p.dist.LogNormal(a, 1.0))
            p.pyro.sample("x", p.dist.Normal(z, b), obs=x[index])

    @p.easy.easy_guide(part)
    def points(self, x):
        self.group(match="[ab]").map_estimate()
        with self.plate("data", len(x), subsample_size=2):
            self.map_estimate("z")

    points.init = lambda site: torch.full_like(site["fn"].sample(), 0.7)
    x = torch.tensor([0.3, 0.6, 1.2, 0.9])
    points(x)
    store = p.pyro.get_param_store()
    names = ["points.a", "points.b", "points.z"]
    assert [name for name in sorted(store.keys()) if name.startswith("points.")] == names
    assert store["points.z"].shape == (4,)
    p.pyro.set_rng_seed(4)
    svi = p.infer.SVI(part, points, p.optim.Adam({"lr": 0.02}), p.infer.Trace_ELBO())
    losses = [svi.step(x) for _ in range(8)]
    found |= {"first part": losses[0], "last part": losses[-1]}
    return found | {name: float(store[name].detach().sum()) for name in names}


def importance_sampling(p):
    """Weighted executions, and the distribution of a site among them."""

    def model(y):
        z = p.pyro.sample("z", p.dist.Normal(0.0, 1.0))
        p.pyro.sample("y", p.dist.Normal(z, 1.0), obs=y)
        return z

    def guide(y):
        return p.pyro.sample("z", p.dist.Normal(0.5, 1.0))

    run = p.infer.Importance(model, guide, num_samples=60).run(torch.tensor(1.0))
    marginal = p.infer.EmpiricalMarginal(run, sites="z")
    return {
        "mean": float(marginal.mean),
        "variance": float(marginal.variance),
        "evidence": float(run.get_log_normalizer()),
        "ess": float(run.get_ESS()),
    }


def elbo_as_a_module(p):
    """The loss as a module, whose parameters a torch optimiser changes."""

    class Model(p.nn.PyroModule):
        def __init__(self):
            super().__init__()
            self.scale = p.nn.PyroParam(torch.tensor(1.0), constraint=constraints.positive)

        def forward(self, y):
            z = p.pyro.sample("z", p.dist.Normal(0.0, 1.0))
            p.pyro.sample("y", p.dist.Normal(z, self.scale), obs=y)

    class Guide(p.nn.PyroModule):
        def __init__(self):
            super().__init__()
            self.loc = p.nn.PyroParam(torch.tensor(0.2))
            self.spread = p.nn.PyroParam(torch.tensor(0.1), constraint=constraints.positive)

        def forward(self, y):
            p.pyro.sample("z", p.dist.Normal(self.loc, self.spread))

    model, guide = Model(), Guide()
    loss = p.infer.Trace_ELBO()(model, guide)
    y = torch.tensor(1.5)
    loss(y)
    parameters = list(loss.parameters())
    assert len(parameters) == 3
    optim = torch.optim.SGD(parameters, lr=0.05)
    p.pyro.set_rng_seed(5)
    for _ in range(5):
        optim.zero_grad()
        now = loss(y)
        now.backward()
        optim.step()
    return {"loss": float(now.detach()), "scale": float(model.scale.detach())}


def partly_observed(p):
    """`obs_mask`, `subsample`, a stack of plates, and a sequential plate."""

    def model(y, seen):
        with p.pyro.plate_stack("p", (2, 3)):
            x = p.pyro.sample("x", p.dist.Normal(0.0, 1.0), obs=y, obs_mask=seen)
        for i in p.pyro.plate("rows", 2):
            p.pyro.sample(f"row_{i}", p.dist.Normal(x[i].sum(), 2.0), obs=torch.tensor(0.5))
        with p.pyro.plate("all", 4, subsample=torch.tensor([0, 2])):
            part = p.pyro.subsample(torch.arange(4.0), event_dim=0)
            p.pyro.sample("part", p.dist.Normal(0.0, 1.0), obs=part)
        return part.sum()

    y = torch.arange(6.0).reshape(2, 3) / 10
    seen = torch.tensor([[True, False, True], [False, True, True]])
    given = {"x_unobserved": torch.full((2, 3), 0.3)}
    trace = p.poutine.trace(p.poutine.condition(model, data=given)).get_trace(y, seen)
    return {"log_prob": float(trace.log_prob_sum()), "part": float(trace.nodes["_RETURN"]["value"])}


def store_in_a_file(p):
    """Parameters saved, forgotten, and loaded."""
    p.pyro.param("free", torch.tensor([1.0, 2.0]))
    p.pyro.param("scale", torch.tensor(0.7), constraint=constraints.positive)
    p.pyro.param("share", torch.tensor([0.2, 0.3, 0.5]), constraint=constraints.simplex)
    net = nn.Linear(2, 1)
    p.pyro.module("net", net)
    weight = net.weight.detach().clone()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "store.pt")
        p.pyro.get_param_store().save(path)
        p.pyro.clear_param_store()
        with torch.no_grad():
            net.weight.zero_()
        p.pyro.get_param_store().load(path)
    p.pyro.module("net", net, update_module_params=True)
    assert torch.equal(net.weight, weight)
    found = {name: float(p.pyro.param(name).detach().sum()) for name in ("free", "scale")}
    return {**found, "share": float(p.pyro.param("share").detach()[2])}


PROGRAMS = [
    normal_by_hand,
    variational_autoencoder,
    eight_schools_by_svi,
    hierarchical_regression,
    bayesian_linear_layer,
    lifted_network,
    mixture_marginalised,
    sequence_with_markov,
    effect_handlers,
    learnt_centring,
    messenger_guides,
    structured_guide,
    discrete_guide,
    easy_guides,
    importance_sampling,
    elbo_as_a_module,
    partly_observed,
    store_in_a_file,
]


def run(program, p, seed=1):
    """The numbers of a program, from an empty store."""
    p.pyro.clear_param_store()
    p.pyro.set_rng_seed(seed)
    try:
        return program(p)
    finally:
        p.pyro.clear_param_store()

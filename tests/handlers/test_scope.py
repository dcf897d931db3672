"""`scope`: names of a part of a program, with its plates."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptionError, PlateError


def part(y, subsample_size=None):
    mu = su.sample("mu", dist.Normal(su.param("loc", torch.tensor(1.0)), 1.0))
    with su.plate("data", len(y), subsample_size) as index:
        su.sample("y", dist.Normal(mu, 2.0), obs=y[index])
    su.factor("f", -mu)
    su.deterministic("twice", 2 * mu)
    return mu


def model(a, b):
    return su.scope(part, prefix="a")(a) + su.scope(part, prefix="b")(b)


ARGS = torch.zeros(3), torch.ones(4)


def test_everything_inside_gets_the_prefix_and_plates_of_different_sizes_are_two():
    tr = su.trace(model).get_trace(*ARGS)
    names = ["mu", "y", "f", "twice"]
    assert [n for n in tr if "loc" not in n] == [f"a/{n}" for n in names] + [f"b/{n}" for n in names]
    assert [tr[n].plates[0].name for n in ("a/y", "b/y")] == ["a/data", "b/data"]
    density = su.compile(su.lift(model, {"**": dist.Normal(0.0, 1.0)}), *ARGS).density
    assert {latent.name for latent in density.latents} == {"a/loc", "a/mu", "b/loc", "b/mu"}
    assert density.dims["b/y"] == ("b/data",)


def test_the_density_is_the_same_as_with_names_written_out():
    def plain(a, b):
        for name, y in (("a", a), ("b", b)):
            mu = su.sample(f"{name}/mu", dist.Normal(su.param(f"{name}/loc", torch.tensor(1.0)), 1.0))
            with su.plate(f"{name}/data", len(y)):
                su.sample(f"{name}/y", dist.Normal(mu, 2.0), obs=y)
            su.factor(f"{name}/f", -mu)

    prior = {"**": dist.Normal(0.0, 1.0)}
    q = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)
    found, wanted = (su.infer.LogDensity(su.lift(program, prior), ARGS)(q) for program in (model, plain))
    assert float(found) == pytest.approx(float(wanted), abs=1e-12)


def test_handlers_inside_know_the_short_names_and_handlers_outside_the_long_ones():
    inner = su.scope(su.condition(part, data={"mu": torch.tensor(5.0)}), prefix="a")
    assert float(inner(torch.zeros(3))) == 5.0
    outer = su.condition(model, data={"a/mu": torch.tensor(2.0), "b/mu": torch.tensor(3.0)})
    assert float(outer(*ARGS)) == 5.0
    with su.scope(prefix="a"), su.trace() as t:
        part(torch.zeros(3))
    assert "mu" in t.trace


def test_scopes_add_up_and_outer_plates_keep_their_names():
    with su.trace() as t, su.plate("data", 2), su.scope(prefix="x", divider="."), su.plate("inner", 3), su.scope(prefix="y"):
        su.sample("z", dist.Normal(0.0, 1.0))
        with su.plate("data", 4):
            su.sample("w", dist.Normal(0.0, 1.0))
    assert [frame.name for frame in t.trace["x.y/z"].plates] == ["data", "x.inner"]
    assert [frame.name for frame in t.trace["x.y/w"].plates] == ["data", "x.inner", "x.y/data"]
    with (
        su.scope(prefix="x"),
        su.plate("data", 2),
        pytest.raises(PlateError, match="opened inside itself"),
        su.plate("data", 2),
    ):
        pass


def test_subsamples_and_stores_have_the_long_names():
    with su.trace() as t, su.ParamStore() as store, su.scope(prefix="a"):
        part(torch.zeros(10), 4)
        with torch.no_grad():
            store["a/loc"].add_(1.0)
        assert float(su.param("loc", torch.tensor(1.0)).detach()) == 2.0
    assert "a/data" in t.trace
    assert t.trace["a/y"].scale == 2.5


def test_a_prior_reopens_a_plate_of_the_scope():
    def local():
        with su.plate("groups", 3):
            w = su.param("w", torch.zeros(3), event_dim=0)
            su.sample("y", dist.Normal(w, 1.0), obs=torch.zeros(3))

    def prior(init):
        with su.plate("groups", 3):
            m = su.sample("m", dist.Normal(0.0, 1.0))
        return dist.Normal(m, 1.0)

    tr = su.trace(su.scope(su.lift(local, {"w": prior}), prefix="a")).get_trace()
    assert [frame.name for name in ("a/m", "a/w") for frame in tr[name].plates] == ["a/groups", "a/groups"]


def test_a_handler_of_ones_own_that_renames_sites_may_be_around_plates():
    @su.handlers.handler
    class renamed(su.handlers.Messenger):
        prefix: str = ""

        def handle(self, site):
            return su.handlers.perform(site.but(name=f"{self.prefix}/{site.name}"))

    def both():
        for name, n in (("a", 3), ("b", 4)):
            renamed(part, prefix=name)(torch.zeros(n))

    tr = su.trace(both).get_trace()
    assert [tr[n].plates[0].name for n in ("a/y", "b/y")] == ["data", "b/data"]


def test_a_prefix_is_needed():
    with pytest.raises(OptionError, match="scope needs a prefix"):
        su.scope(part, prefix="")

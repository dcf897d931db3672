"""`lift`, rule 12: the table of composition in docs/lift.md. Every cell of it is a test here, and every test a cell of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributions as td
from tests.support.paths import ROOT
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Deterministic, Param, Sample
from sursum.errors import UnusedPriorWarning, UnusedSiteWarning
from sursum.infer.reparam import LocScaleReparam

DOCS = ROOT / "docs" / "lift.md"
CELLS: dict[tuple[str, str], tuple[str, Callable[[], None]]] = {}

PRIOR = {"s": dist.Normal(0.0, 3.0)}
GIVEN = torch.tensor(1.5)
DATA = torch.tensor([1.0, 2.0, 4.0])


def cell(handler: str, side: str, says: str) -> Callable[[Callable[[], None]], None]:
    def add(test: Callable[[], None]) -> None:
        assert (handler, side) not in CELLS
        CELLS[handler, side] = (says, test)

    return add


def model() -> Tensor:
    """One parameter, three observations of it."""
    s = su.param("s", torch.tensor(0.5))
    su.sample("y", dist.Normal(s, 1.0).expand([3]).to_event(1), obs=DATA)
    return s


def run(program: Any) -> su.Trace:
    return su.trace(program).get_trace()


def prior(s: Tensor) -> Tensor:
    return -0.5 * (s / 3.0) ** 2 - math.log(3.0) - 0.5 * math.log(2 * math.pi)


def likelihood(s: Tensor) -> Tensor:
    return (-0.5 * (DATA - s) ** 2 - 0.5 * math.log(2 * math.pi)).sum()


def holds(tr: su.Trace, expected: Tensor) -> None:
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def lifted(tr: su.Trace) -> Tensor:
    """That `s` is latent, drawn (not at any value that was given), and what its value is."""
    site = tr["s"]
    assert isinstance(site, Sample)
    assert not site.is_observed
    assert site.value not in (0.5, 1.5)
    value: Tensor = site.value
    return value


# What records.


@cell("trace", "inside", "records the sample site; a second read is not a second site")
def _() -> None:
    recorder = su.trace(lambda: (model(), su.param("s"))[0])
    with su.lift(prior=PRIOR):
        tr = recorder.get_trace()
    assert list(tr) == ["s", "y"]
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("trace", "outside", "records the sample site; a second read is not a second site")
def _() -> None:
    tr = run(su.lift(lambda: (model(), su.param("s"))[0], PRIOR))
    assert list(tr) == ["s", "y"]
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


# What gives values.


@cell("condition", "inside", "warns that `s` is a parameter there; it is drawn")
def _() -> None:
    with pytest.warns(UnusedSiteWarning, match="'s' .*is a parameter here"):
        tr = run(su.lift(su.condition(model, data={"s": GIVEN}), PRIOR))
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("condition", "outside", "observes it: the value is scored, and nothing is latent")
def _() -> None:
    tr = run(su.condition(su.lift(model, PRIOR), data={"s": GIVEN}))
    assert tr.stochastic_nodes == []
    assert tr.result == GIVEN
    holds(tr, prior(GIVEN) + likelihood(GIVEN))


@cell("uncondition", "inside", "draws the data; `s` is lifted as usual")
def _() -> None:
    tr = run(su.lift(su.uncondition(model), PRIOR))
    assert tr.stochastic_nodes == ["s", "y"]
    holds(tr, prior(lifted(tr)) + td.Normal(tr.result, 1.0).log_prob(tr["y"].value).sum())


@cell("uncondition", "outside", "draws the data, and `s` too where something inside observes it")
def _() -> None:
    tr = run(su.uncondition(su.condition(su.lift(model, PRIOR), data={"s": GIVEN})))
    assert tr.stochastic_nodes == ["s", "y"]
    holds(tr, prior(lifted(tr)) + td.Normal(tr.result, 1.0).log_prob(tr["y"].value).sum())


@cell("substitute", "inside", "gives the value; `s` stays a parameter, and is not scored")
def _() -> None:
    tr = run(su.lift(su.substitute(model, data={"s": GIVEN}), PRIOR))
    assert isinstance(tr["s"], Param)
    assert tr.result == GIVEN
    holds(tr, likelihood(GIVEN))


@cell("substitute", "outside", "gives the value; `s` is latent, and scored there")
def _() -> None:
    tr = run(su.substitute(su.lift(model, PRIOR), data={"s": GIVEN}))
    assert tr.stochastic_nodes == ["s"]
    assert tr.result == GIVEN
    holds(tr, prior(GIVEN) + likelihood(GIVEN))


@cell("replay", "inside", "does not replay it: `s` is a parameter there, and redrawn")
def _() -> None:
    recorded = run(su.substitute(su.lift(model, PRIOR), data={"s": GIVEN}))
    tr = run(su.lift(su.replay(model, trace=recorded), PRIOR))
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("replay", "outside", "replays it: `s` is latent, and scored at the value in the trace")
def _() -> None:
    recorded = run(su.lift(model, PRIOR))
    tr = run(su.replay(su.lift(model, PRIOR), trace=recorded))
    assert tr["s"].value is recorded["s"].value
    assert tr.stochastic_nodes == ["s"]
    holds(tr, recorded.log_prob_sum())


@cell("do", "inside", "warns that `s` is a parameter there; it is drawn")
def _() -> None:
    with pytest.warns(UnusedSiteWarning, match="'s' .*is a parameter here"):
        tr = run(su.lift(su.do(model, data={"s": GIVEN}), PRIOR))
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("do", "outside", "the program continues with the value; `s` is drawn and scored, and affects nothing")
def _() -> None:
    tr = run(su.do(su.lift(model, PRIOR), data={"s": GIVEN}))
    assert tr.result == GIVEN
    holds(tr, prior(lifted(tr)) + likelihood(GIVEN))


@cell("ParamStore", "inside", "the store's value; `s` stays a parameter")
def _() -> None:
    store = su.ParamStore()
    with su.lift(prior=PRIOR), store, su.trace() as t:
        value = model()
    assert isinstance(t.trace["s"], Param)
    assert value == 0.5
    assert list(store) == ["s"]


@cell("ParamStore", "outside", "`s` is drawn, starts at the store's value, and is not kept there")
def _() -> None:
    store = su.ParamStore()
    with store:
        model()
        with torch.no_grad():
            store.unconstrained["s"].fill_(7.0)
        tr = run(su.lift(model, PRIOR))
    assert tr["s"].init == 7.0
    assert float(store["s"].detach()) == 7.0
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


# What hides and weighs.


@cell("block", "inside", "hides the parameter: it is not lifted")
def _() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tr = run(su.lift(su.block(model, hide=["s"]), PRIOR))
    assert [w.category for w in caught] == [UnusedPriorWarning]
    assert list(tr) == ["y"]
    assert tr.result == 0.5
    holds(tr, likelihood(torch.tensor(0.5)))


@cell("block", "outside", "`s` is drawn, and neither recorded nor scored further out")
def _() -> None:
    tr = run(su.block(su.lift(model, PRIOR), hide=["s"]))
    assert list(tr) == ["y"]
    assert tr.result != 0.5
    holds(tr, likelihood(tr.result))


@cell("scale", "inside", "scales the likelihood and not the prior")
def _() -> None:
    tr = run(su.lift(su.scale(model, scale=5.0), PRIOR))
    holds(tr, prior(lifted(tr)) + 5.0 * likelihood(tr.result))


@cell("scale", "outside", "scales the prior too")
def _() -> None:
    tr = run(su.scale(su.lift(model, PRIOR), scale=5.0))
    holds(tr, 5.0 * prior(lifted(tr)) + 5.0 * likelihood(tr.result))


@cell("mask", "inside", "masks the likelihood and not the prior")
def _() -> None:
    tr = run(su.lift(su.mask(model, mask=False), PRIOR))
    holds(tr, prior(lifted(tr)))


@cell("mask", "outside", "masks the prior too")
def _() -> None:
    tr = run(su.mask(su.lift(model, PRIOR), mask=False))
    lifted(tr)
    holds(tr, torch.tensor(0.0))


# Plates.

SOME = torch.tensor([2, 0])


def one_draw(tr: su.Trace) -> None:
    assert tr["s"].value.shape == ()
    assert tr["s"].plates == ()
    assert tr["s"].scale == 1.0
    holds(tr, prior(lifted(tr)) + 1.5 * td.Normal(tr["s"].value, 1.0).log_prob(DATA[SOME]).sum())


def in_plate() -> None:
    su.sample("y", dist.Normal(su.param("s", torch.tensor(0.5)), 1.0), obs=DATA[SOME])


@cell("plate", "inside", "`s` is global: one draw, not scaled, not in the plate")
def _() -> None:
    one_draw(run(su.lift(su.plate("data", 3, subsample=SOME)(in_plate), PRIOR)))


@cell("plate", "outside", "`s` is global: one draw, not scaled, not in the plate")
def _() -> None:
    one_draw(run(su.plate("data", 3, subsample=SOME)(su.lift(in_plate, PRIOR))))


def one_each(tr: su.Trace) -> None:
    s = tr["s"].value
    assert s.shape == (2,)
    assert [frame.name for frame in tr["s"].plates] == ["data"]
    expected = td.Normal(torch.arange(3.0)[SOME], 3.0).log_prob(s) + td.Normal(s, 1.0).log_prob(DATA[SOME])
    holds(tr, 1.5 * expected.sum())


def in_plate_local() -> None:
    su.sample("y", dist.Normal(su.param("s", torch.zeros(3), event_dim=0), 1.0), obs=DATA[SOME])


@cell("plate, `s` with `event_dim=0`", "inside", "`s` is local: in the plate, subsampled and scaled with it")
def _() -> None:
    one_each(run(su.lift(su.plate("data", 3, subsample=SOME)(in_plate_local), {"s": dist.Normal(torch.arange(3.0), 3.0)})))


@cell("plate, `s` with `event_dim=0`", "outside", "`s` is local: in the plate, subsampled and scaled with it")
def _() -> None:
    one_each(run(su.plate("data", 3, subsample=SOME)(su.lift(in_plate_local, {"s": dist.Normal(torch.arange(3.0), 3.0)}))))


# What priors draw.


def drawing(init: Tensor) -> Any:
    return dist.Normal(su.sample("m", dist.Normal(1.0, 2.0)), 3.0)


def one_for_all(tr: su.Trace) -> None:
    m, s = tr["m"].value, tr["s"].value
    assert (m.shape, s.shape) == ((), (2,))
    assert (tr["m"].plates, tr["m"].scale) == ((), 1.0)
    each = td.Normal(m, 3.0).log_prob(s) + td.Normal(s, 1.0).log_prob(DATA[SOME])
    holds(tr, td.Normal(1.0, 2.0).log_prob(m) + 1.5 * each.sum())


@cell(
    "plate, `s` with `event_dim=0`, its prior draws `m`",
    "inside",
    "`s` is local; `m` is one draw, not scaled, not in the plate",
)
def _() -> None:
    one_for_all(run(su.lift(su.plate("data", 3, subsample=SOME)(in_plate_local), {"s": drawing})))


@cell(
    "plate, `s` with `event_dim=0`, its prior draws `m`",
    "outside",
    "`s` is local; `m` is one draw, not scaled, not in the plate",
)
def _() -> None:
    one_for_all(run(su.plate("data", 3, subsample=SOME)(su.lift(in_plate_local, {"s": drawing}))))


def priors(tr: su.Trace) -> Tensor:
    m = tr["m"].value
    return td.Normal(1.0, 2.0).log_prob(m) + td.Normal(m, 3.0).log_prob(lifted(tr))


@cell("scale, `s`'s prior draws `m`", "inside", "scales neither prior")
def _() -> None:
    tr = run(su.lift(su.scale(model, scale=5.0), {"s": drawing}))
    holds(tr, priors(tr) + 5.0 * likelihood(tr.result))


@cell("scale, `s`'s prior draws `m`", "outside", "scales the prior of `m` too, once")
def _() -> None:
    tr = run(su.scale(su.lift(model, {"s": drawing}), scale=5.0))
    holds(tr, 5.0 * (priors(tr) + likelihood(tr.result)))


# What changes coordinates, priors and draws.


@cell("reparam", "inside", "warns that `s` is not a sample site there; it is drawn as it is")
def _() -> None:
    with pytest.warns(UnusedSiteWarning, match="reparameteriser for 's' was not used"):
        tr = run(su.lift(su.reparam(model, {"s": LocScaleReparam(0.0)}), PRIOR))
    assert list(tr) == ["s", "y"]
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("reparam", "outside", "draws it through the auxiliary site; `s` is deterministic")
def _() -> None:
    tr = run(su.reparam(su.lift(model, PRIOR), {"s": LocScaleReparam(0.0)}))
    assert tr.stochastic_nodes == ["s_decentered"]
    assert isinstance(tr["s"], Deterministic)
    z = tr["s_decentered"].value
    torch.testing.assert_close(tr.result, 3.0 * z)
    holds(tr, td.Normal(0.0, 1.0).log_prob(z) + likelihood(3.0 * z))


@cell("reprior", "inside", "warns that it was not used: `s` is not a sample site there")
def _() -> None:
    with pytest.warns(UnusedPriorWarning, match="reprior: the prior for 's' was not used"):
        tr = run(su.lift(su.reprior(model, {"s": dist.Exponential(1.0)}), PRIOR))
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("reprior", "outside", "replaces the prior")
def _() -> None:
    tr = run(su.reprior(su.lift(model, PRIOR), {"s": dist.Exponential(2.0)}))
    s = lifted(tr)
    assert s > 0
    holds(tr, math.log(2.0) - 2.0 * s + likelihood(s))


@cell("lift", "inside", "the inner prior answers; the outer one is asked for what it leaves, and warns if that is nothing")
def _() -> None:
    with pytest.warns(UnusedPriorWarning, match="an inner lift already gives"):
        tr = run(su.lift(su.lift(model, {"s": dist.Exponential(2.0)}), PRIOR))
    s = lifted(tr)
    holds(tr, math.log(2.0) - 2.0 * s + likelihood(s))


@cell("lift", "outside", "the inner prior answers; the outer one is asked for what it leaves, and warns if that is nothing")
def _() -> None:
    tr = run(su.lift(su.lift(model, {"s": lambda init: None}), PRIOR))
    holds(tr, prior(lifted(tr)) + likelihood(tr.result))


@cell("seed", "inside", "`s` is drawn from the seed")
def _() -> None:
    program = su.lift(su.seed(model, rng_seed=1), PRIOR)
    assert program() == program() == su.seed(su.lift(model, PRIOR), rng_seed=1)()


@cell("seed", "outside", "`s` is drawn from the seed")
def _() -> None:
    program = su.seed(su.lift(model, PRIOR), rng_seed=1)
    assert program() == program()
    assert program() != su.seed(su.lift(model, PRIOR), rng_seed=2)()


@cell("scope", "inside", "`s` is the parameter `a/s`: it is lifted by that name")
def _() -> None:
    tr = run(su.lift(su.scope(model, prefix="a"), {"a/s": PRIOR["s"]}))
    holds(tr, prior(tr["a/s"].value) + likelihood(tr["a/s"].value))


@cell("scope", "outside", "`s` is lifted by its own name; the site is `a/s`")
def _() -> None:
    tr = run(su.scope(su.lift(model, PRIOR), prefix="a"))
    assert "s" not in tr
    holds(tr, prior(tr["a/s"].value) + likelihood(tr["a/s"].value))


@cell("config_enumerate", "inside", "nothing: `s` is a parameter there")
def _() -> None:
    tr = run(su.lift(su.infer.config_enumerate(model), PRIOR))
    assert "enumerate" not in tr["s"].infer
    holds(tr, prior(lifted(tr)) + likelihood(lifted(tr)))


@cell("config_enumerate", "outside", "marks `s`; a continuous site is drawn as it is")
def _() -> None:
    tr = run(su.infer.config_enumerate(su.lift(model, PRIOR)))
    assert tr["s"].infer["enumerate"] == "parallel"
    holds(tr, prior(lifted(tr)) + likelihood(lifted(tr)))


@pytest.mark.parametrize("where", CELLS, ids=lambda key: f"{key[0]}, {key[1]}")
def test_a_cell_of_the_table(where: tuple[str, str]) -> None:
    CELLS[where][1]()


def table() -> dict[tuple[str, str], str]:
    """The cells of the last table in docs/lift.md."""
    lines = DOCS.read_text(encoding="utf-8").split("## The table of composition", 1)[1].splitlines()
    rows = [line.strip().strip("|").split(" | ") for line in lines if line.startswith("|")]
    assert [part.split(":")[0].strip() for part in rows[0]] == ["handler", "inside", "outside"]
    found = {}
    for name, inside, outside in rows[2:]:
        found[name.strip(), "inside"] = inside.strip()
        found[name.strip(), "outside"] = outside.strip()
    assert len(found) == 2 * len(rows[2:])
    return found


def test_the_docs_say_what_is_tested_and_nothing_else() -> None:
    assert table() == {where: says for where, (says, _) in CELLS.items()}


def test_every_handler_is_in_the_table() -> None:
    named = {name.split(",")[0] for name, _ in CELLS}
    public = (getattr(su.handlers, name) for name in su.handlers.__all__)
    handlers = {item.__name__ for item in public if isinstance(item, type) and issubclass(item, su.handlers.Messenger)}
    assert handlers - {"Messenger"} == named

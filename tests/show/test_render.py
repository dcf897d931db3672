"""The picture of a program: every node, frame and edge of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import ExportError
from sursum.infer.reparam import LocScaleReparam


def edges(picture: su.Rendering) -> set[tuple[str, str]]:
    return set(re.findall(r'^  "(.+)" -> "(.+)";$', picture.source, re.MULTILINE))


def node(picture: su.Rendering, name: str) -> str:
    (found,) = re.findall(rf'^ *"{re.escape(name)}" \[(.*)\];$', picture.source, re.MULTILINE)
    return found


def frames(picture: su.Rendering) -> dict[str, tuple[str, ...]]:
    """The labels of the frames around each node, outermost first."""
    open_: list[str] = []
    found = {}
    for line in picture.source.splitlines()[1:-1]:
        text = line.strip()
        if text == "}":
            open_.pop()
        elif text.startswith("label="):
            open_.append(text.removeprefix('label="').removesuffix('";'))
        elif "[" in text and not text.startswith("subgraph"):
            found[text[1 : text.index('" [')]] = tuple(open_)
    return found


def schools(y: Tensor | None = None) -> None:
    mu = su.sample("mu", dist.Normal(0.0, 5.0))
    tau = su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("school", 8):
        theta = su.sample("theta", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(theta, 10.0), obs=y)


def test_eight_schools_not_centred_in_full() -> None:
    picture = su.render(su.reparam(schools, {"theta": LocScaleReparam(0.0)}), torch.zeros(8))
    assert picture.source == "\n".join(
        [
            "digraph {",
            r'  "mu" [label="mu\nNormal\nscalar"];',
            r'  "tau" [label="tau\nHalfCauchy\nscalar"];',
            '  subgraph "cluster_0" {',
            '    label="school: 8";',
            r'    "theta_decentered" [label="theta_decentered\nNormal\n8"];',
            r'    "theta" [label="theta\n8", style=dashed];',
            r'    "y" [label="y\nNormal\n8", style=filled, fillcolor=gray85];',
            "  }",
            '  "mu" -> "theta";',
            '  "tau" -> "theta";',
            '  "theta_decentered" -> "theta";',
            '  "theta" -> "y";',
            "}",
        ]
    )
    assert str(picture) == repr(picture) == picture.source


def test_eight_schools_centred_and_unobserved() -> None:
    picture = su.render(schools)
    assert edges(picture) == {("mu", "theta"), ("tau", "theta"), ("theta", "y")}
    assert "filled" not in node(picture, "y")


def test_a_hierarchical_lifted_program() -> None:
    def model(y: Tensor) -> None:
        with su.plate("group", 3):
            a = su.param("a", torch.zeros(3), event_dim=0)
        s = su.param("s", torch.tensor(1.0), constraint=dist.constraints.positive)
        held = su.param("held", torch.tensor(0.0))
        total = su.deterministic("total", a.sum() + held)
        su.factor("penalty", -(total**2))
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(a[torch.tensor([0, 1, 2, 2])], s), obs=y)

    def prior(site: su.handlers.Messenger) -> dist.Distribution:
        return dist.Normal(su.sample("centre", dist.Normal(0.0, 1.0)), 1.0)

    picture = su.render(su.lift(model, {"a": prior, "s": dist.HalfNormal(1.0)}), torch.zeros(4))
    assert edges(picture) == {
        *(("centre", "a"), ("a", "total"), ("held", "total"), ("total", "penalty")),
        *(("a", "y"), ("s", "y")),
    }
    assert node(picture, "a") == r'label="a, lifted\nNormal\n3", peripheries=2'
    assert node(picture, "held") == r'label="held\nscalar", shape=box'
    assert node(picture, "total") == r'label="total\nscalar", style=dashed'
    assert node(picture, "penalty").startswith('shape=square, label="", xlabel="penalty"')
    # What the prior of a local parameter draws is in the plates of the parameter.
    assert frames(picture)["a"] == ("group: 3",)
    assert frames(picture)["y"] == ("data: 4",)
    assert frames(picture)["s"] == frames(picture)["held"] == ()


def test_a_network_is_a_frame_around_its_parameters() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))

    def model(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        su.sample("y", dist.Normal(f, 1.0).to_event(1), obs=y)

    picture = su.render(su.lift(model, {"net.2.*": su.priors.hierarchical()}), torch.ones(5, 2), torch.zeros(5))
    weights = ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert edges(picture) == {(name, "y") for name in weights} | {("net.2.prior_scale", name) for name in weights[2:]}
    assert {name: frames(picture)[name] for name in weights} == dict.fromkeys(weights, ("net: Sequential",))
    assert frames(picture)["y"] == ()
    assert node(picture, "net.0.weight") == r'label="net.0.weight\n3 × 2", shape=box'
    assert node(picture, "net.2.weight") == r'label="net.2.weight, lifted\nNormal\n1 × 3", peripheries=2'
    alone = su.render(su.lift(nn.Linear(2, 1), {"*": dist.Normal(0.0, 1.0)}), torch.ones(1, 2))
    assert frames(alone) == {"weight": ("Linear",), "bias": ("Linear",)}


def test_plates_are_nested_frames_with_sizes() -> None:
    def model() -> None:
        with su.plate("rows", 2, dim=-2):
            r = su.sample("r", dist.Normal(0.0, 1.0))
            with su.plate("columns", 10, subsample_size=3, dim=-1):
                su.sample("cell", dist.Normal(r, 1.0))

    picture = su.render(model)
    assert frames(picture) == {"r": ("rows: 2",), "cell": ("rows: 2", "columns: 3 of 10")}
    assert edges(picture) == {("r", "cell")}


def test_a_scan_is_a_frame_and_a_site_reaches_itself_in_the_next_step() -> None:
    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        s = su.param("s", torch.tensor(1.0))
        x = su.sample("x", dist.Normal(0.9 * x, s))
        su.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    def model(y: Tensor) -> None:
        _, path = su.scan(step, su.sample("x0", dist.Normal(0.0, 1.0)), y)
        su.deterministic("mean", path.mean())

    picture = su.render(su.lift(model, {"s": dist.HalfNormal(1.0)}), torch.zeros(4))
    assert edges(picture) == {("x0", "x"), ("x", "x"), ("s", "x"), ("x", "y"), ("x", "mean")}
    assert frames(picture) == {"x0": (), "s": (), "x": ("time: 4",), "y": ("time: 4",), "mean": ()}
    assert node(picture, "x") == r'label="x\nNormal\n4"'


def test_discrete_parents_are_seen() -> None:
    def model(y: Tensor) -> None:
        p = su.sample("p", dist.Dirichlet(torch.ones(3)))
        loc = su.sample("loc", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        z = su.sample("z", dist.Categorical(p))
        flip = su.sample("flip", dist.Bernoulli(0.5)).bool()
        su.sample("y", dist.Normal(torch.where(flip, loc[z], 0.0), 1.0), obs=y)
        # An index does not become a parent of what it picks from, and does of what it writes to.
        su.sample("other", dist.Normal(loc[0], 1.0))
        table = torch.zeros(3)
        table[z] = 1.0
        su.sample("written", dist.Normal(table[0], 1.0))
        with su.plate("data", 2):
            k = su.sample("k", dist.Categorical(p))
            su.sample("x", dist.Normal(loc[k], 1.0))

    assert edges(su.render(model, torch.tensor(0.5))) == {
        *(("p", "z"), ("loc", "y"), ("z", "y"), ("flip", "y")),
        *(("loc", "other"), ("z", "written"), ("p", "k"), ("loc", "x"), ("k", "x")),
    }


def test_shapes_are_no_dependence_and_writing_into_a_tensor_is_one() -> None:
    def model() -> None:
        a, b = su.sample("a", dist.Normal(0.0, 1.0)), su.sample("b", dist.Normal(0.0, 1.0))
        su.sample("like", dist.Normal(torch.zeros_like(a), torch.ones_like(b)))
        filled = torch.zeros(2)
        filled[1] = b
        su.sample("written", dist.Normal(filled, 1.0).to_event(1))

    assert edges(su.render(model)) == {("b", "written")}


def test_parameters_that_share_memory_are_told_apart() -> None:
    flat = torch.zeros(2)

    def model() -> None:
        a, b = su.param("a", flat[0]), su.param("b", flat[1])
        assert su.param("a") is a
        su.sample("x", dist.Normal(a, 1.0))
        su.sample("y", dist.Normal(b, 1.0), obs=flat[0])

    with su.ParamStore():
        picture = su.render(model)
    assert edges(picture) == {("a", "x"), ("b", "y")}


def test_an_observation_has_children_only_where_its_value_is_used() -> None:
    def model(y: Tensor) -> None:
        first = su.sample("first", dist.Normal(0.0, 1.0), obs=y[0])
        su.sample("second", dist.Normal(first, 1.0), obs=y[1])
        su.sample("third", dist.Normal(y[0], 1.0), obs=y[2])

    assert edges(su.render(model, torch.zeros(3))) == {("first", "second")}


def test_any_name_is_quoted() -> None:
    def model() -> None:
        x = su.sample('a "b" \\N &lt;', dist.Normal(0.0, 1.0))
        su.sample("line\nbreak -> }", dist.Normal(x, 1.0))

    lines = su.render(model).source.splitlines()
    assert lines[1] == r'  "a \"b\" \\N &amp;lt;" [label="a \"b\" \\N &amp;lt;\nNormal\nscalar"];'
    assert lines[3] == r'  "a \"b\" \\N &amp;lt;" -> "line\nbreak -> }";'


def test_it_leaves_the_generator_and_the_network_as_they_were() -> None:
    net = nn.Linear(2, 1)
    before, weight = torch.get_rng_state(), net.weight
    su.render(su.lift(net, {"*": dist.Normal(0.0, 1.0)}), torch.ones(1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert net.weight is weight


FAKE = f"""#!{sys.executable}
import sys
source = sys.stdin.read()
if "broken" in source:
    sys.exit("syntax error in line 1")
print("<svg>" + sys.argv[1] + source + "</svg>", end="")
"""


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Graphviz's program, the only one on the PATH: it says what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dot").write_text(FAKE)
    (folder / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path


def test_pictures_are_drawn_by_dot(dot: Path) -> None:
    picture = su.render(schools)
    assert picture.save(dot / "model.pdf") == dot / "model.pdf"
    assert (dot / "model.pdf").read_text() == f"<svg>-Tpdf{picture.source}</svg>"
    assert picture._repr_svg_() == f"<svg>-Tsvg{picture.source}</svg>"
    assert picture._repr_mimebundle_() == {"text/plain": picture.source, "image/svg+xml": picture._repr_svg_()}
    with pytest.raises(ExportError, match=r"`dot` could not draw the program: syntax error in line 1"):
        su.Rendering("broken").save(dot / "broken.png")
    assert not (dot / "broken.png").exists()


def test_without_dot_the_text_is_written_and_a_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    picture = su.render(schools)
    picture.save(tmp_path / "model.dot")
    assert (tmp_path / "model.dot").read_text(encoding="utf-8") == picture.source
    assert picture._repr_svg_() is None
    assert picture._repr_mimebundle_() == {"text/plain": picture.source}
    with pytest.raises(ExportError, match=r"drawing a \.svg needs Graphviz's program `dot`, .*apt install graphviz"):
        picture.save(tmp_path / "model.svg")
    with pytest.raises(ExportError, match=r"'.*model\.txt' has no known suffix: .*\.dot, \.gv, \.svg, \.png, \.pdf"):
        picture.save(tmp_path / "model.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.dot"]


def test_a_flat_prior_has_no_draws_and_is_shown() -> None:
    picture = su.render(su.logp(lambda x: -x.square().sum(), torch.zeros(2)))
    assert edges(picture) == {("x", "log_density")}

"""`render`: a picture of a program: its sites, their plates, and their dependences."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.taint import Provenance
from sursum.core.calling import run_program
from sursum.core.messages import Deterministic, Factor, Param, Sample, Site, Step
from sursum.core.plates import local_plates
from sursum.density.parents import Parents
from sursum.distributions.fluent import Independent
from sursum.distributions.randomness import drawing_from
from sursum.errors import ExportError
from sursum.handlers import trace
from sursum.show.improper import StartImproper

TEXT, PICTURES = (".dot", ".gv"), (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Rendering:
    """A program as a graph: `source` is its text in Graphviz's language, DOT; a notebook with Graphviz shows the picture."""

    source: str

    def __str__(self) -> str:
        return self.source

    __repr__ = __str__

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture: .dot or .gv as text, .svg, .png or .pdf by Graphviz's program `dot`. The path is returned.

        Raises:
            ExportError: a different suffix, or a picture if `dot` is missing or fails.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind in TEXT:
            target.write_text(self.source, encoding="utf-8")
        elif kind in PICTURES:
            target.write_bytes(_draw(self.source, kind[1:]))
        else:
            raise ExportError(
                f"{str(target)!r} has no known suffix: its name should end in one of {', '.join(TEXT + PICTURES)}."
            )
        return target

    def _repr_svg_(self) -> str | None:
        return _draw(self.source, "svg").decode() if shutil.which("dot") else None

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        picture = self._repr_svg_()
        return {"text/plain": self.source} | ({} if picture is None else {"image/svg+xml": picture})


def render(program: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Rendering:
    r"""A picture of a program: its sites, and an edge from each to those whose distribution or value is computed from it.

    An ellipse is a latent site, a shaded one is observed, one with a double line was lifted; a box is a parameter that
    was not lifted, a dashed ellipse a deterministic site, a small square a factor. Frames are plates with their sizes, the
    steps of a scan (an arrow from a site to itself goes from one step to the next), and networks.

    The program is run once, with draws from a separate generator. Edges show what that run computed, through
    tensors of any dtype; a dependence through numbers that leave torch (``float(x)``, a branch) is not detected. A plate that
    does not nest in the same plates everywhere is drawn once for each place.

    Args:
        program: the program, lifted or not.
        args, kwargs: its arguments.

    Returns:
        The graph: `source` is its text, `save` writes it, and a notebook shows it where Graphviz is installed.

    Raises:
        Exception: any exception of the program.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.param("mu", torch.tensor(0.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> print(su.render(su.lift(model, {"mu": dist.Normal(0.0, 5.0)}), torch.zeros(8)))
        digraph {
          "mu" [label="mu, lifted\nNormal\nscalar", peripheries=2];
          subgraph "cluster_0" {
            label="data: 8";
            "y" [label="y\nNormal\n8", style=filled, fillcolor=gray85];
          }
          "mu" -> "y";
        }
    """
    with (
        drawing_from(torch.Generator().manual_seed(0)),
        Provenance() as seen,
        StartImproper(),
        Parents(seen=seen) as found,
        trace() as recorder,
    ):
        run_program(program, args, kwargs)
    shown = {name: site for name, site in recorder.trace.items() if not site["infer"].get("is_subsample")}
    root = _Box()
    for name, site in shown.items():
        box = root
        for key, label in _path(found.first[name]):
            box = box.inside.setdefault(key, _Box(label))
        # For a scan the first step gives the family, the trace the shape of all steps.
        box.nodes.append(_node(found.first[name].but(value=site.value)))
    edges = [f"{_quote(a)} -> {_quote(b)};" for b in shown for a in shown if a in found.parents[b]]
    body = [*root.lines([0]), *edges]
    return Rendering("\n".join(["digraph {", *(f"  {line}" for line in body), "}"]))


@dataclass
class _Box:
    """A frame of the picture: its label, its nodes, and its inner frames by plate or network."""

    label: str = ""
    nodes: list[str] = field(default_factory=list)
    inside: dict[Any, _Box] = field(default_factory=dict)

    def lines(self, counter: list[int]) -> list[str]:
        found = list(self.nodes)
        for box in self.inside.values():
            found += [f'subgraph "cluster_{counter[0]}" {{', f"  label={_quote(box.label)};"]
            counter[0] += 1
            found += [*(f"  {line}" for line in box.lines(counter)), "}"]
        return found


def _path(site: Site) -> list[tuple[Any, str]]:
    """The frames of the picture around a site, outermost first: what makes each one, and its label."""
    param = site if isinstance(site, Param) else site["param"] if isinstance(site, (Sample, Deterministic)) else None
    frames = local_plates(site, site.value) if isinstance(site, Param) else site.plates
    path: list[tuple[Any, str]] = []
    for frame in frames:
        size = str(frame.size) if frame.indices is None else f"{frame.length} of {frame.size}"
        # Two scans of one line are two loops, the steps of one are one.
        key = ("scan", id(frame.loop)) if isinstance(frame, Step) else ("plate", frame.name)
        path.append((key, f"{'time' if isinstance(frame, Step) else frame.name}: {size}"))
    if param is not None and param.owner is not None:
        paths = [path for path, _ in param.owner.named_parameters() if f".{param.name}".endswith(f".{path}")]
        prefix = param.name.removesuffix(max(paths, key=len, default="")).removesuffix(".")
        kind = type(param.owner).__name__
        path.append((("module", id(param.owner), prefix), f"{prefix}: {kind}" if prefix else kind))
    return path


def _node(site: Site) -> str:
    lifted = isinstance(site, (Sample, Deterministic)) and site.param is not None
    lines = [f"{site.name}, lifted" if lifted else site.name]
    style: dict[str, str] = {"peripheries": "2"} if lifted else {}
    if isinstance(site, Factor):
        # Its name is next to it.
        said = {"shape": "square", "label": '""', "xlabel": _quote(site.name)}
        return _statement(site.name, said | {"width": "0.2", "height": "0.2", "style": "filled", "fillcolor": "black"})
    if isinstance(site, Sample):
        lines.append(_family(site.fn))
        style |= {"style": "filled", "fillcolor": "gray85"} if site.is_observed else {}
    elif isinstance(site, Param):
        style |= {"shape": "box"}
    else:
        style |= {"style": "dashed"}
    if isinstance(site.value, Tensor):
        lines.append(" × ".join(map(str, site.value.shape)) or "scalar")
    return _statement(site.name, {"label": _quote("\n".join(lines))} | style)


def _family(fn: Any) -> str:
    while isinstance(fn, (Independent, torch.distributions.Independent)):
        fn = fn.base_dist
    return type(fn).__name__ if isinstance(fn, Distribution) else "a function"


def _statement(name: str, attributes: Mapping[str, str]) -> str:
    return f"{_quote(name)} [{', '.join(f'{key}={value}' for key, value in attributes.items())}];"


def _quote(text: str) -> str:
    """A DOT string that shows `text`: Graphviz interprets escapes and HTML entities in a label."""
    for plain, written in (("&", "&amp;"), ("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", ""), ("\0", "␀")):
        text = text.replace(plain, written)
    return f'"{text}"'


def _draw(source: str, kind: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise ExportError(
            f"drawing a .{kind} needs Graphviz's program `dot`, which is not on the PATH. Install it (apt install graphviz, "
            "brew install graphviz, conda install graphviz), or save a .dot and draw that elsewhere."
        )
    done = subprocess.run([program, f"-T{kind}"], input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        raise ExportError(f"`dot` could not draw the program: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout

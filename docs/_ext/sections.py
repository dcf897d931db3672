"""Parts of pages that are made from the library itself: one function a name, Markdown out. Sphinx is not needed here."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sursum as su
from sursum import errors
from sursum.draws import diagnostics

ROOT = Path(__file__).parent.parent.parent


HANDLERS = sorted(path.stem for path in (ROOT / "docs" / "handlers").glob("*.md"))


def eight_schools() -> str:
    """The program of the eight schools beside the C that runs it."""
    schools = _example("eight_schools")
    source = inspect.getsource(schools)
    program = source[source.index("def schools(") : source.index("def posterior(")].rstrip()
    density = su.compile(schools.lifted(), schools.ERROR, schools.EFFECT, engine="native")
    lines = density.source.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("static int sursum_part"))
    body = "\n".join(line for line in lines[start:])
    left = f":::{{code-block}} python\n:class: shown\n{program}\n:::"
    right = f":::{{code-block}} c\n{body}\n:::"
    columns = "\n".join(f":::::{{container}} {side}\n{text}\n:::::" for side, text in (("left", left), ("right", right)))
    return f"::::::{{container}} beside\n{columns}\n::::::"


def error_tree() -> str:
    """The tree of errors and warnings, as `errors.py` draws it."""
    return f"```text\n{_block(inspect.getdoc(errors) or '', 'SursumError')}\n```"


def our_distributions() -> str:
    """A section for each distribution that torch does not have, from its docstring."""
    import torch

    ours = [name for name in su.distributions.__all__ if _is_ours(name) and not hasattr(torch.distributions, name)]
    return "\n\n".join(f"### {name}\n\n{_auto('autoclass', f'sursum.distributions.{name}', members=False)}" for name in ours)


def torch_distributions() -> str:
    """The names that come from torch."""
    import torch

    names = [name for name in su.distributions.__all__ if _is_ours(name) and hasattr(torch.distributions, name)]
    return ", ".join(f"`{name}`" for name in names) + "."


def thresholds() -> str:
    """The thresholds of the diagnostics."""
    return (
        f"R-hat {diagnostics.R_HAT}, effective sample sizes {diagnostics.ESS_PER_CHAIN} per chain, E-BFMI {diagnostics.E_BFMI}."
    )


PUBLIC = (
    *(
        "sursum",
        "sursum.infer",
        "sursum.infer.autoguide",
        "sursum.infer.reparam",
        "sursum.optim",
        "sursum.priors",
        "sursum.ops",
    ),
    *("sursum.gp", "sursum.cluster", "sursum.distributed", "sursum.handlers"),
)

API = {
    "programs": ("Programs", ("core", "handlers", "ode")),
    "priors": ("Priors and operators", ("priors", "common")),
    "densities": ("Compiled densities", ("compiler", "density", "show")),
    "sampling": ("Samplers", ("mcmc",)),
    "posteriors": ("Posteriors and predictions", ("draws", "posterior", "predict")),
    "optimisation": ("Modes and approximations there", ("optimise", "optim")),
    "variational": ("Variational inference", ("vi",)),
    "networks": ("Networks", ("networks",)),
    "studies": ("Studies", ("studies",)),
    "processes": ("Gaussian processes", ("gp",)),
    "machines": ("Cores and machines", ("cluster", "distributed")),
}
"""The pages of the API: title, and the rooms of the library that its names are from."""


def api_contents() -> str:
    """A link to each page, with its names."""
    rows = [f"| [{title}](api/{page}.md) | {_names(rooms)} |" for page, (title, rooms) in API.items()]
    return "\n".join(["| page | names |", "|---|---|", *rows])


def _names(rooms: tuple[str, ...]) -> str:
    return ", ".join(f"`{name.rpartition('.')[2]}`" for name, value in _public().items() if _room(value) in rooms)


def api_page(page: str) -> str:
    """Every public name of a page, from the docstrings, module by module."""
    rooms = API[page][1]
    parts: list[str] = []
    for module in PUBLIC:
        here = {name: value for name, value in _public().items() if name.rpartition(".")[0] == module and _room(value) in rooms}
        if here:
            parts.append(f"## {module}")
        parts += [_auto("autoclass" if inspect.isclass(value) else "autofunction", name) for name, value in here.items()]
    return "\n\n".join(parts)


def api() -> str:
    """Every page of the API."""
    return "\n\n".join(map(api_page, API))


def _room(value: object) -> str:
    return str(value.__module__).split(".")[1]


def _public() -> dict[str, object]:
    """Every public name with what it stands for, once, where it is first met; handlers have pages of their own."""
    known = {id(getattr(su.handlers, name)) for name in HANDLERS}
    found: dict[str, object] = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        own = [n for n, v in list(vars(module).items()) if n[0] != "_" and getattr(v, "__module__", "") == name]
        for member in sorted(getattr(module, "__all__", None) or own, key=str.lower):
            value = getattr(module, member)
            if callable(value) and not inspect.ismodule(value) and id(value) not in known:
                known.add(id(value))
                found[f"{name}.{member}"] = value
    return found


def _auto(kind: str, name: str, *, members: bool = True) -> str:
    options = "   :members:\n" if members and kind == "autoclass" else ""
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{options}```"


def _is_ours(name: str) -> bool:
    value = getattr(su.distributions, name)
    return inspect.isclass(value) and value.__module__.startswith("sursum.")


def _block(text: str, first: str) -> str:
    """The indented block of a docstring that begins with a word."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip().startswith(first))
    end = next(k for k in range(start, len(lines)) if lines[k] and not lines[k].startswith(" "))
    return inspect.cleandoc("\n".join(lines[start:end])).rstrip()


def _example(name: str) -> object:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def gallery() -> str:
    """A section for each example: what it is about, its picture, and the program."""
    return "\n\n".join(_gallery_section(path) for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "tools")


def _gallery_section(path: Path) -> str:
    text = path.read_text()
    doc = text.split('"""')[1].strip()
    title, _, rest = doc.partition("\n")
    body = "\n".join(line for line in rest.splitlines() if not line.startswith(("    python", "python "))).strip()
    picture = ROOT / "docs" / "gallery" / f"{path.stem}.png"
    name = path.stem.replace("_", " ").capitalize()
    parts = [f"## {name}", title, body]
    if picture.exists():
        parts.append(f"```{{image}} gallery/{path.stem}.png\n:alt: {title.rstrip('.')}\n```")
    parts.append(f"`python examples/{path.name}`")
    code = f":::{{literalinclude}} ../examples/{path.name}\n:language: python\n:class: shown\n:::"
    parts.append(f"::::{{dropdown-code}} The program\n{code}\n::::")
    return "\n\n".join(part for part in parts if part)


_PARTS = (eight_schools, error_tree, our_distributions, torch_distributions, thresholds, api_contents, gallery)
FUNCTIONS: dict[str, Callable[[], str]] = {
    **{part.__name__: part for part in _PARTS},
    **{f"api_{page}": partial(api_page, page) for page in API},
}

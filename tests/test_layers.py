"""Imports go one way: downwards, at module level, and sideways only inside a folder."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

import sursum
from tests.support.paths import ROOT

PACKAGE = Path(sursum.__file__).parent


def layers():
    """The table of CONTRIBUTING.md, bottom first: the rooms, and files of the root, of each row."""
    rows = re.findall(r"^\| ((?:`\w+` ?)+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [set(re.findall(r"\w+", row)) for row in reversed(rows)]


LAYERS = layers()

# Slow or optional packages: inside the function that needs them, and nowhere else.
LATE = {
    *("nutpie", "arviz", "scipy", "matplotlib", "IPython", "ipywidgets", "pandas", "pyarrow", "arro3", "xarray", "zarr"),
    *("zuko", "numcodecs", "google_crc32c", "crc32c"),
}

FILES = sorted(PACKAGE.rglob("*.py"))
RANK = {entry: rank for rank, layer in enumerate(LAYERS) for entry in layer}


def entry(module):
    """The entry of LAYERS that a dotted module name of the package belongs to."""
    parts = module.split(".")
    assert parts[0] == "sursum"
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path):
    parts = ("sursum", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node, path):
    """The modules that an import statement names; ``from sursum import priors`` names ``sursum.priors``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = name_of(path).split(".")
        package = package[: len(package) + (path.name == "__init__.py") - node.level]
        base = ".".join([*package, base] if base else package)
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]


MODULES = {name_of(path) for path in FILES}


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def statements(path):
    """Every import statement of a file, with whether it stands at module level."""
    tree = parsed(path)
    top = {id(node) for node in tree.body}
    if "LateNames" in path.read_text(encoding="utf-8"):  # those that are imported when asked for, told to type checkers
        top |= {id(inner) for node in tree.body if isinstance(node, ast.If) for inner in node.body}
    return [(node, id(node) in top) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def short(path):
    return str(path.relative_to(PACKAGE))


def test_every_module_is_in_a_layer():
    found = {entry(name_of(path)) for path in FILES}
    assert found - RANK.keys() == set(), "new modules need a place in LAYERS"
    assert sum(len(layer) for layer in LAYERS) == len(RANK), "a module stands in two layers"


def test_every_room_says_who_may_import_it():
    """What is inside, what it imports, and what may import it."""
    rooms = [path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE]
    assert [short(path) for path in rooms if not re.search(r"\b[Ii]mport", ast.get_docstring(parsed(path)) or "")] == []


def test_imports_go_downwards():
    def wrong(path, target):
        if target.split(".")[0] != "sursum":
            return False
        here, there = entry(name_of(path)), entry(target)
        inside_a_folder = here == there and (PACKAGE / here).is_dir()
        return not inside_a_folder and RANK[there] >= RANK[here]

    found = [(path, node, target) for path in FILES for node, _ in statements(path) for target in imports(node, path)]
    assert [f"{short(path)}:{node.lineno} imports {target}" for path, node, target in found if wrong(path, target)] == []


def test_imports_stand_at_module_level():
    """Those of slow or optional packages excepted, which stand where they are needed."""
    wrong = [
        f"{short(path)}:{node.lineno} imports {target} {'at module level' if at_top else 'inside a function or a condition'}"
        for path in FILES
        for node, at_top in statements(path)
        for target in imports(node, path)
        if at_top == (target.split(".")[0] in LATE)
    ]
    assert wrong == []


# What a surface of another library may import of the package.
FACES = {"sursum", "sursum.distributions", "sursum.distributions.constraints", "sursum.handlers", "sursum.infer"} | {
    *("sursum.infer.autoguide", "sursum.infer.reparam", "sursum.ops", "sursum.optim", "sursum.priors", "sursum.errors"),
}


def importing(path, module):
    """What a file imports of a package: pairs of a module's dotted name and the names that are taken from it."""
    for node, _ in statements(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names if alias.name.split(".")[0] == module)
        elif (node.module or "").split(".")[0] == module:
            yield node.module, tuple(alias.name for alias in node.names)


def in_compat(path):
    return "compat" in path.relative_to(PACKAGE).parts


def test_surfaces_of_other_libraries_stand_on_public_names():
    found = [(path, *taken) for path in FILES if in_compat(path) for taken in importing(path, "sursum")]
    for path, module, names in found:
        if module.startswith("sursum.compat"):
            continue
        assert module in FACES, f"{short(path)} imports {module}, which is not public"
        face = importlib.import_module(module)
        public = set(getattr(face, "__all__", dir(face))) | {"*"}
        public |= {name.rpartition(".")[2] for name in FACES}
        assert set(names) <= public, f"{short(path)} imports {sorted(set(names) - public)} of {module}, which are not public"


def test_nothing_stands_on_surfaces_of_other_libraries():
    below = [path for path in FILES if not in_compat(path) and path.name != "__main__.py"]
    found = [(short(path), module) for path in below for module, _ in importing(path, "sursum")]
    assert [(path, module) for path, module in found if module.startswith("sursum.compat")] == []


def private_names(path):
    """What a file takes of torch that begins with an underscore, by import or as an attribute."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names if alias.name.split(".")[0] == "torch"]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and ast.unparse(node).startswith("torch."):
            dotted = [ast.unparse(node)]
        else:
            continue
        for name in dotted:
            if any(part.startswith("_") and not part.startswith("__") for part in name.split(".")):
                yield f"{short(path)}:{node.lineno} {name}"


def test_torchs_private_names_come_through_one_door():
    found = {path.stem: list(private_names(path)) for path in FILES}
    assert len(found.pop("torch_private")) > 10
    assert [name for names in found.values() for name in names] == [], "take them from torch_private.py"


@pytest.mark.parametrize("folder", sorted(p for p in PACKAGE.rglob("*") if p.is_dir() and p.name != "__pycache__"), ids=short)
def test_folders_have_no_cycles(folder):
    """Inside a folder imports may go sideways, but not round in a circle."""
    files = {name_of(path): path for path in folder.rglob("*.py") if path.name != "__init__.py"}
    edges = {
        name: {t for node, _ in statements(path) for t in imports(node, path) if t in files} for name, path in files.items()
    }
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"a circle: {' → '.join([*open_[open_.index(name) :], name])}"
        if name in done:
            return
        open_.append(name)
        for target in edges[name]:
            visit(target)
        done.add(open_.pop())

    for name in files:
        visit(name)

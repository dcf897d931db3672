"""The house in figures: how many files a call goes through, how flat the root is, what is told more than once, how long it is.

A trip is one call, followed by `sys.setprofile`: the files of the package that were entered, how often the next call was in
another file than the last one, and how many calls there were. Names count as doubled where classes, or functions of a module,
of that name are defined in more than one file. A table is a literal collection, at the top of a module of the compiler, that
names at least two operators; the entries of lowerings (`TABLE`), one row an operator, and rules (`Rule`) are not counted.

    python benchmarks/structure.py [TREE …]         TREE is a checkout of the project, this one if none is named
"""

from __future__ import annotations

import argparse
import ast
import collections
import io
import json
import os
import re
import subprocess
import sys
import tokenize
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent.parent

#: Words by which an operator is told in a table, beside `aten.…`.
OPERATORS = frozenset(
    re.findall(
        r"\w+",
        """abs acos acosh add and asin asinh atan atan2 atanh ceil copysign cos cosh digamma div eq erf erfc exp exp2 expm1
        floor fmax fmin fmod ge gt le lgamma log log10 log1p log2 lt max maximum min minimum mul ne neg not or pow prod
        reciprocal rint round rsqrt sigmoid sign sin sinh softplus sqrt square sub sum tan tanh trunc where""",
    )
)


def source_files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)


def code_lines(path: Path) -> int:
    """Lines that hold code: neither empty, nor a comment, nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def doubled(files: list[Path], kinds: tuple[type, ...]) -> list[str]:
    """Names, without their leading underscores, that more than one file defines at its top; Pyro's, in `compat`, apart."""
    homes = collections.defaultdict(set)
    for path in files:
        if "compat" in path.parts:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, kinds):
                homes[node.name.lstrip("_")].add(path)  # type: ignore[attr-defined]
    return sorted(name for name, where in homes.items() if len(where) > 1)


def operator_tables(compiler: Path) -> Iterator[tuple[str, str]]:
    """(file, name) of each table of facts about operators."""
    for path in source_files(compiler):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                target, value = node.target, node.value
            else:
                continue
            name = getattr(target, "id", "")
            rules = any(isinstance(item, ast.Name) and item.id == "Rule" for item in ast.walk(value))
            if not name or name in ("TABLE", "__all__") or rules or isinstance(value, ast.Constant):
                continue
            words = {item.value for item in ast.walk(value) if isinstance(item, ast.Constant) and isinstance(item.value, str)}
            words |= {word for text in words for word in text.split()}
            if sum(word in OPERATORS or word.startswith("aten.") for word in words) >= 2:
                yield path.relative_to(compiler).as_posix(), name


def follow(run: Callable[[], Any], package: str) -> tuple[int, int, int]:
    """Files entered, switches between files, and calls of one `run`, of code in `package`, in this thread."""
    files: set[str] = set()
    switches = calls = 0
    last = ""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal switches, calls, last
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(package):
            files.add(name)
            calls += 1
            switches += name != last
            last = name

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return len(files), switches, calls


def trips(package: Path) -> dict[str, tuple[int, int, int]]:
    """The trips of the installed package, which lies in `package`. Every call is made once before it is followed."""
    import torch

    import sursum as su
    import sursum.distributions as dist
    from sursum.compiler.native.build import translate

    warnings.simplefilter("ignore")
    y = torch.tensor([0.3, -0.1, 0.8, 1.2])

    def model(y: torch.Tensor) -> None:
        mu = su.param("mu", torch.tensor(0.0))
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, 1.0), obs=y)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 10, generator=generator)
    labels = (torch.rand(500, generator=generator) < 0.5).float()

    def logistic(x: torch.Tensor, labels: torch.Tensor) -> None:
        a = su.sample("a", dist.Normal(0.0, 1.0))
        b = su.sample("b", dist.Normal(torch.zeros(10), 1.0).to_event(1))
        with su.plate("rows", len(x)):
            su.sample("labels", dist.Bernoulli(logits=a + x @ b), obs=labels)

    lifted = su.lift(model, dist.Normal(0.0, 1.0))
    graph = su.compile(logistic, x, labels).graph
    chains = {"num_warmup": 20, "num_samples": 20, "num_chains": 1, "seed": 0, "progress": False}

    def mcmc() -> None:
        su.infer.MCMC(su.infer.NUTS(lifted), **chains).run(y)

    calls: dict[str, Callable[[], Any]] = {
        "lifted(x)": lambda: lifted(y),
        "LogDensity(lifted, …)": lambda: su.infer.LogDensity(lifted, (y,)),
        "su.compile(lifted, …)": lambda: su.compile(lifted, y),
        "graph → C": lambda: translate(graph, "logistic"),
        "MCMC.run": mcmc,
    }
    found = {}
    for name, call in calls.items():
        call()
        found[name] = follow(call, str(package) + os.sep)
    return found


def measured(tree: Path) -> dict[str, Any]:
    package = tree / "src" / "sursum"
    files = source_files(package)
    root = [path for path in files if path.parent == package]
    tables = list(operator_tables(package / "compiler"))
    core = [
        path
        for path in files
        if path.stem in ("messages", "runtime", "scope", "calling") and path.parent.name in ("sursum", "core")
    ]
    lift = [path for path in files if path.parent.name == "lift" and path.stem != "__init__"]
    lift = lift or [package / name for name in ("handlers/lift.py", "lifting.py", "fitting.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--trips", str(package)]
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=tree).stdout
    figures: dict[str, Any] = {
        f"{name}: files, switches, calls": " / ".join(f"{n:,}" for n in numbers) for name, numbers in json.loads(out).items()
    }
    classes, functions = doubled(files, (ast.ClassDef,)), doubled(files, (ast.FunctionDef,))
    return figures | {
        "files in the root": len(root),
        "files": len(files),
        "classes of one name in several files": len(classes),
        "functions of one name in several files": len(functions),
        "tables of operators, in files": f"{len(tables)}, {len({path for path, _ in tables})}",
        "code lines, core (messages, stack, calling)": sum(map(code_lines, core)),
        "code lines, lift": sum(map(code_lines, lift)),
        "code lines, compiler": sum(map(code_lines, source_files(package / "compiler"))),
        "code lines, all": sum(map(code_lines, files)),
        "lines, all": sum(path.read_text(encoding="utf-8").count("\n") for path in files),
        "longest file": "{1} ({0})".format(*max((code_lines(path), path.name) for path in files)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path, default=[HERE], help="checkouts of the project")
    parser.add_argument("--names", action="store_true", help="list the doubled names and the tables of the last tree")
    parser.add_argument("--trips", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trips:
        print(json.dumps(trips(options.trips)))
        return
    trees = [tree.resolve() for tree in options.trees]
    columns = [measured(tree) for tree in trees]
    print("| | " + " | ".join(tree.name for tree in trees) + " |\n|---|" + "---|" * len(trees))
    for row in columns[0]:
        print(
            f"| {row} | "
            + " | ".join(f"{column[row]:,}" if isinstance(column[row], int) else column[row] for column in columns)
            + " |"
        )
    if options.names:
        package = trees[-1] / "src" / "sursum"
        print("\nclasses:", *doubled(source_files(package), (ast.ClassDef,)))
        print("functions:", *doubled(source_files(package), (ast.FunctionDef,)))
        print("tables:", *(f"{path}:{name}" for path, name in operator_tables(package / "compiler")))


if __name__ == "__main__":
    main()

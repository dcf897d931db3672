"""Every Python block of the documentation runs, and warns of nothing; the site builds."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import sursum as su
from tests.support.paths import ROOT

FOLDERS = [ROOT / "docs", *(ROOT / "docs" / name for name in ("handlers", "tutorials", "api"))]
PAGES = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted(folder.glob("*.md")))]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = load("blocks")
PROGRAMS = {page: blocks.program(list(blocks.blocks(page.read_text()))) for page in PAGES}
RUN = [page for page in PAGES if PROGRAMS[page]]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_blocks_run(page: Path, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        for number, code in enumerate(PROGRAMS[page]):
            blocks.run(code, namespace, f"{page.name}, block {number}")


def test_the_pages_that_teach_run() -> None:
    names = {page.stem for page in RUN}
    assert {"README", "index", "start", "lift", "native", "handlers", "inference", "extending", "porting", "errors"} <= names
    without = {page.stem for page in PAGES if not list(blocks.blocks(page.read_text()))}
    assert names | without == {page.stem for page in PAGES}, "a page whose first block does not import sursum does not run"


def test_every_verb_has_a_page_that_runs() -> None:
    verbs = {name for name in su.handlers.__all__ if name[0].islower()} - {"handler", "perform"}
    assert {page.stem for page in RUN if page.parent.name == "handlers"} == verbs | {"ParamStore"}


def test_every_example_is_in_the_gallery_with_its_picture() -> None:
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"tools"}
    assert {path.stem for path in (ROOT / "docs" / "gallery").glob("*.png")} == examples


def test_the_api_has_every_public_name() -> None:
    """Of every `__all__`: on a page of the API, of handlers or of distributions."""
    generated = load("sections")
    page = generated.api() + generated.our_distributions()
    shown = {match.rpartition(".")[2] for match in re.findall(r"\.\. auto(?:class|function):: (\S+)", page)}
    shown |= {*generated.HANDLERS, *re.findall(r"`(\w+)`", generated.torch_distributions())}
    shown |= {"Distribution", "kl_divergence", "register_kl"}  # torch's own, which docs/distributions.md speaks of
    for module in (*generated.PUBLIC, "sursum.distributions"):
        names = getattr(importlib.import_module(module), "__all__", ())
        values = {name: getattr(importlib.import_module(module), name) for name in names}
        missing = [n for n, v in values.items() if callable(v) and n not in shown and getattr(v, "__name__", n) not in shown]
        assert not missing, (module, missing)
    assert {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} == set(generated.API)
    assert len(re.findall(r"\.\. auto\w+::", generated.api())) == len(generated._public())  # each on one page


def test_blocks_are_found_in_order_and_fragments_left_out() -> None:
    page = "```python\nimport sursum; a = 1\n```\ntext\n```python\n    print(a)\n```\n```py\nb\n```\n```python\nprint(a)\n```\n"
    found = list(blocks.blocks(page))
    assert found == ["import sursum; a = 1", "    print(a)", "print(a)"]
    assert blocks.program(found) == [found[0], found[2]]
    assert blocks.program(found[1:]) == []
    namespace: dict[str, Any] = {}
    assert [blocks.run(code, namespace, "page") for code in blocks.program(found)] == ["", "1\n"]


def test_a_block_that_warns_fails() -> None:
    with pytest.raises(UserWarning, match="mind"):
        blocks.run("import warnings; warnings.warn('mind')", {}, "page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([\w/.-]+\.md)(?:#[\w-]+)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_a_tutorial_becomes_a_notebook_with_the_same_program() -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("jupytext")
    convert = load("notebooks").notebook
    page = "# T\n\nSee [lift](../lift.md#x), $a$.\n\n```python\nimport sursum\n\nprint(1)\n```\nend\n\n```py\nno\n```\n"
    made = convert(page)
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]] == [
        ("markdown", "# T\n\nSee lift, $a$."),
        ("code", "import sursum\n\nprint(1)"),
        ("markdown", "end\n\n```py\nno\n```"),
    ]
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in made["cells"]}) == 3
    assert [cell.keys() >= {"outputs", "execution_count"} for cell in made["cells"]] == [False, True, False]
    for tutorial in sorted((ROOT / "docs" / "tutorials").glob("*.md")):
        cells = [cell for cell in convert(tutorial.read_text())["cells"] if cell["cell_type"] == "code"]
        assert ["".join(cell["source"]) for cell in cells] == list(blocks.blocks(tutorial.read_text()))


def test_the_picture_of_the_methods_has_a_panel_each_in_the_colours_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    picture = load("picture")
    half, greatest = np.meshgrid(np.linspace(-4.0, 4.0, 81), np.linspace(-4.0, 4.0, 81))
    height = np.exp(-0.5 * (half**2 + greatest**2))
    for share, level in zip((0.95, 0.5), picture.contour_levels(height, (0.95, 0.5)), strict=True):
        assert level == pytest.approx(1.0 - share, abs=0.01)  # of a standard normal in two dimensions
    answers = {"one": np.zeros((1, 2)), "many": picture.pairs({"half": torch.zeros(2, 400), "greatest": torch.ones(2, 400)})}
    assert answers["many"].shape == (160, 2)
    svg = picture.draw(answers, half, greatest, height)
    assert "currentColor" in svg
    assert "var(--color-brand-primary)" in svg
    assert not any(colour in svg for colour in picture.COLOURS)
    assert [name for name in ("one", "many", "two") if f">{name}</text>" in svg] == ["one", "many"]


def test_a_command_that_no_formula_may_have_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("latex2mathml")
    mathml, said = load("mathml"), list[Any]()
    monkeypatch.setattr(mathml.log, "warning", lambda *words: said.append(words[-1]))
    assert "<msub>" in mathml.formula(r"\operatorname{argmax}_w w")
    assert not said
    mathml.formula(r"\arg w")
    assert said == [r"\arg"]


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr
    assert "greatest" in (tmp_path / "posteriors.html").read_text()
    assert "sursum_part" in (tmp_path / "native.html").read_text()
    assert "<svg" in (tmp_path / "methods.html").read_text()
    notebooks = {path.stem for path in (tmp_path / "notebooks").glob("*.ipynb")}
    assert notebooks == {path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md")}
    assert all(f"notebooks/{name}.ipynb" in (tmp_path / "tutorials" / f"{name}.html").read_text() for name in notebooks)

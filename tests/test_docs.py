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

import pytest

import sursum as su
from tests.support.paths import ROOT

FOLDERS = [ROOT / "docs", ROOT / "docs" / "handlers", ROOT / "docs" / "tutorials"]
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


def test_the_api_page_has_every_public_name() -> None:
    """Of every `__all__`: on the page of the API, of handlers or of distributions."""
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


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr
    assert "greatest" in (tmp_path / "posteriors.html").read_text()
    assert "sursum_part" in (tmp_path / "native.html").read_text()

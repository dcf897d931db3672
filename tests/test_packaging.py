"""What an installer gets: the wheel's files, and what its metadata say."""

from __future__ import annotations

import email
import email.message
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import sursum
from sursum.__main__ import main
from sursum.common.optional_packages import EXTRAS
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by setuptools from a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(files.read(name))


def test_the_wheel_holds_the_package_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
        text = files.read(licence).decode()
    assert text == (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    package = ROOT / "src" / "sursum"
    sources = {f"sursum/{path.relative_to(package)}" for path in package.rglob("*") if path.suffix in {".py", ".c", ".typed"}}
    assert sources == {name for name in names if ".dist-info/" not in name}
    assert "sursum/py.typed" in sources


def test_metadata_say_what_it_is(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "sursum"
    assert metadata["Version"] == sursum.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"] == "The sursum developers"
    assert metadata["Requires-Python"] == ">=3.11"
    urls = dict(entry.split(", ") for entry in metadata.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(urls["Homepage"]) for url in urls.values())
    assert "Programming Language :: Python :: 3.13" in metadata.get_all("Classifier")
    assert not [entry for entry in metadata.get_all("Classifier") if entry.startswith("License ::")], "PEP 639 forbids them"


def test_metadata_have_the_readme_and_it_renders_alone(metadata: email.message.Message) -> None:
    text = metadata.get_payload()
    assert isinstance(text, str)
    assert text.strip() == (ROOT / "README.md").read_text().strip()
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    targets = ["".join(link) for link in links]
    inside = [target for target in targets if not target.startswith("https://")]
    assert inside == [], "links that only a checkout resolves"
    assert "pip install sursum" in text


def test_every_optional_package_is_in_the_extra_that_its_error_names() -> None:
    extras = PROJECT["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(re.match(rf"{package}\b", requirement) for requirement in extras[extra]), package
    needed = {re.split(r"[<>=~! ]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert needed == {"torch", "numpy", "scipy"}
    assert "ziglang" in extras["compiler"][0]


def bound(requirement: str) -> tuple[str, str]:
    found = re.match(r"([\w.-]+)>=([\d.]+)", requirement)
    assert found is not None, requirement
    return found[1], found[2]


def test_the_lower_bounds_are_what_the_oldest_tests_run_with() -> None:
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    required = [*PROJECT["dependencies"], *(line for extra in ("arviz", "store", "plot", "flows") for line in extras[extra])]
    for name, least in map(bound, required):
        assert f"{oldest[name]}.".startswith(f"{least}."), f"{name}: {least} is declared, {oldest[name]} is run"


def test_the_version_is_one() -> None:
    assert re.search(rf"^version: {re.escape(sursum.__version__)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == sursum.__version__


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sursum {sursum.__version__}\n"

"""Progress: on a terminal, in a notebook, and nowhere else."""

from __future__ import annotations

import io
import re
import sys
import types

import pytest

from sursum.mcmc import progress
from sursum.mcmc.nutpie_door import Progress
from sursum.mcmc.progress import Line, Notebook, Silent, Terminal, display_for

HALF = [Progress(200, 3, 900, 0.5, False), Progress(100, 0, 400, 0.4, True), Progress(), Progress()]
DONE = [Progress(200, 0, 900, 0.5, False)] * 4


def test_the_line():
    text = Line(200).text(HALF)
    assert text.startswith("━━━━━━━━━───────────────  4 chains  300/800 draws  3 divergences  step size 0.40–0.50  ")
    assert re.search(r"\d:\d\d left$", text)
    assert re.search(r"step size 0\.50  \d:\d\d gone$", Line(200).text(DONE))
    assert Line(200).text([Progress()]).endswith("1 chain  0/200 draws  0 divergences  – left")


def test_the_time_left_is_in_proportion(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Line(1000)
    line._began = 1000.0
    now[0] += 100.0
    assert line.text([Progress(250)]).endswith("5:00 left")
    now[0] += 3500.0
    assert line.text([Progress(500)]).endswith("1:00:00 left")


def test_a_terminal_line_is_written_over_and_ended():
    stream = io.StringIO()
    terminal = Terminal(Line(200), stream)
    terminal.update(HALF)
    terminal.update(DONE)
    terminal.close()
    first, *lines = stream.getvalue().split("\r")
    assert first == ""
    assert len(lines) == 2, "the second update came too soon to be shown"
    assert "300/800" in lines[0]
    assert "800/800" in lines[1]
    assert stream.getvalue().endswith("\x1b[K\n")


def test_a_narrow_terminal_gets_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    Terminal(Line(200), stream).update(HALF)
    assert len(stream.getvalue().strip("\r").removesuffix("\x1b[K")) == 29


def test_off_unless_someone_looks(monkeypatch):
    assert isinstance(display_for(None, 10), Silent)
    assert isinstance(display_for(False, 10), Silent)
    assert isinstance(display_for(True, 10), Terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(display_for(None, 10), Terminal)
    assert isinstance(display_for(False, 10), Silent)


@pytest.fixture
def notebook(monkeypatch):
    """An IPython with a kernel; what it shows."""
    shown: list[str] = []

    class Handle:
        def update(self, page):
            shown.append(page)

    def display(page, display_id):
        assert display_id is True
        shown.append(page)
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML, ipython.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


def test_in_a_notebook(notebook):
    display = display_for(None, 200)
    assert isinstance(display, Notebook)
    display.update(HALF)
    display.close()
    assert len(notebook) == 2
    assert '<progress value="300" max="800"' in notebook[0]
    assert "4 chains · 300/800 draws · 3 divergences" in notebook[0]


def test_an_ipython_without_a_kernel_is_a_terminal(notebook, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())
    assert isinstance(display_for(None, 10), Silent)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_shows_itself_and_draws_the_same(sampler, gaussian, capsys):
    plain = sampler(gaussian()).run()
    assert capsys.readouterr().err == ""
    watched = sampler(gaussian(), progress=True).run()
    assert "800/800 draws" in capsys.readouterr().err.split("\r")[-1]
    assert (plain.unconstrained == watched.unconstrained).all()

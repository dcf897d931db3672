"""Progress: on a terminal, in a notebook, and nowhere else."""

import io
import re
import sys
import time
import types

import pytest

from sursum.common import progress
from sursum.common.progress import LogLines, NoProgress, Notebook, Patient, ProgressState, Terminal, display_for, waiting

HALF = ProgressState(300, 800, ("4 chains", "300/800 draws", "3 divergences"))
DONE = ProgressState(800, 800, ("4 chains", "800/800 draws", "0 divergences"))


def test_the_line():
    assert str(HALF) == "━━━━━━━━━───────────────  4 chains  300/800 draws  3 divergences"
    assert str(ProgressState(0, 0)) == "─" * 24
    assert str(DONE).startswith("━" * 24 + "  ")


def test_a_state_is_asked_for_when_it_is_shown():
    asked = []
    terminal = Terminal(io.StringIO())
    for k in range(5):
        terminal.update(lambda k=k: asked.append(k) or HALF)
    terminal.close()
    assert asked == [0, 4]


def test_nothing_is_ended_that_never_began():
    stream = io.StringIO()
    Terminal(stream).close()
    assert stream.getvalue() == ""


def test_a_terminal_line_is_written_over_and_ended():
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.update(lambda: HALF)
    terminal.update(lambda: DONE)
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
    Terminal(stream).update(lambda: HALF)
    assert len(stream.getvalue().strip("\r").removesuffix("\x1b[K")) == 29


def test_off_unless_someone_looks(monkeypatch):
    assert isinstance(display_for(None), LogLines)
    assert isinstance(display_for(False), NoProgress)
    assert isinstance(display_for(True), Terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(display_for(None), Terminal)
    assert isinstance(display_for(False), NoProgress)


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
    display = display_for(None)
    assert isinstance(display, Notebook)
    display.update(lambda: HALF)
    display.close()
    assert len(notebook) == 2
    assert '<progress value="300" max="800"' in notebook[0]
    assert "4 chains · 300/800 draws · 3 divergences" in notebook[0]


def test_an_ipython_without_a_kernel_is_a_terminal(notebook, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())
    assert isinstance(display_for(None), LogLines)


def clock(monkeypatch, *times):
    """Time that goes on as it is told."""
    now = iter(times)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))


def test_a_log_gets_a_line_every_ten_seconds_and_the_last(monkeypatch):
    clock(monkeypatch, 0.0, 4.0, 10.0, 15.0, 21.0)
    stream = io.StringIO()
    lines = LogLines(stream)
    for _ in range(3):
        lines.update(lambda: HALF)
    lines.close()
    assert stream.getvalue().splitlines() == [
        "4 chains  300/800 draws  3 divergences",
        "4 chains  300/800 draws  3 divergences",
    ]


def test_a_log_has_nothing_of_what_is_short():
    stream = io.StringIO()
    lines = LogLines(stream)
    lines.update(lambda: HALF)
    lines.close()
    assert stream.getvalue() == ""


def test_what_takes_two_seconds_is_not_shown(monkeypatch):
    stream = io.StringIO()
    clock(monkeypatch, 0.0, 1.9, 2.1, 2.1)
    patient = Patient(Terminal(stream), 2.0)
    patient.update(lambda: HALF)
    assert stream.getvalue() == ""
    patient.update(lambda: DONE)
    assert "800/800" in stream.getvalue()


def test_waiting_says_for_what():
    stream = io.StringIO()
    with waiting("compiling", Terminal(stream)):
        patience = time.monotonic() + 60
        while not stream.getvalue():
            assert time.monotonic() < patience
            time.sleep(0.01)
    assert re.search(r"compiling  \d+ s", stream.getvalue())
    assert stream.getvalue().endswith("\n")
    with pytest.raises(ZeroDivisionError), waiting("compiling", NoProgress()):
        _ = 1 / 0

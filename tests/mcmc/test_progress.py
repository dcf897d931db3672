"""What is said of a run that is going on."""

import re

import pytest

from sursum.mcmc import progress
from sursum.mcmc.progress import Line
from sursum.mcmc.trace import Progress

HALF = [Progress(200, 3, 900, 0.5, False), Progress(100, 0, 400, 0.4, True), Progress(), Progress()]
DONE = [Progress(200, 0, 900, 0.5, False)] * 4


def test_the_line():
    text = str(Line(200).state(HALF))
    assert text.startswith("━━━━━━━━━───────────────  4 chains  300/800 draws  3 divergences  step size 0.40–0.50  ")
    assert re.search(r"\d:\d\d left$", text)
    assert re.search(r"step size 0\.50  \d:\d\d gone$", str(Line(200).state(DONE)))
    assert str(Line(200).state([Progress()])).endswith("1 chain  0/200 draws  0 divergences  – left")


def test_the_time_left_is_in_proportion(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Line(1000)
    line._began = 1000.0
    now[0] += 100.0
    assert line.state([Progress(250)]).words[-1].endswith("5:00 left")
    now[0] += 3500.0
    assert line.state([Progress(500)]).words[-1].endswith("1:00:00 left")


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_shows_itself_and_draws_the_same(sampler, gaussian, capsys):
    plain = sampler(gaussian()).run()
    assert capsys.readouterr().err == ""
    watched = sampler(gaussian(), progress=True).run()
    assert "400/400 draws" in capsys.readouterr().err.split("\r")[-1]
    assert (plain.unconstrained == watched.unconstrained).all()

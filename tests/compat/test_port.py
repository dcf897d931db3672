"""`python -m sursum port`: what it finds in files, without running them."""

from __future__ import annotations

import pytest

from sursum.__main__ import main
from sursum.compat.differences import DIFFERENCES
from sursum.compat.port import examine, judge, report
from sursum.errors import OptionError

PROGRAM = """
import pyro
import pyro.distributions as dist
from pyro import poutine
from pyro.infer import SVI, SVGD, Trace_ELBO as ELBO
from pyro.infer.autoguide import AutoNormal
import numpy as np

raise SystemExit("this file is never run")

def model(x):
    with pyro.plate("data", len(x)):
        return pyro.sample("x", dist.Normal(0.0, 1.0).to_event(1), obs=x)

pyro.contrib.gp.models.GPRegression(x)
poutine.trace(model).get_trace(np.zeros(3))
pyro.infer.mcmc.NUTS(model)
"""


def test_every_name_is_found_with_its_line():
    found = {one.name: one for one in examine(PROGRAM)}
    assert set(found) == {
        *("pyro.infer.SVI", "pyro.infer.SVGD", "pyro.infer.Trace_ELBO", "pyro.infer.autoguide.AutoNormal"),
        *("pyro.plate", "pyro.sample", "pyro.distributions.Normal", "pyro.contrib.gp.models.GPRegression"),
        *("pyro.poutine.trace", "pyro.infer.mcmc.NUTS"),
    }
    assert found["pyro.plate"].lines == (12,)
    assert found["pyro.infer.SVGD"].verdict == "missing"
    assert "write NUTS" in found["pyro.infer.SVGD"].note
    assert found["pyro.contrib.gp.models.GPRegression"].verdict == "missing"
    assert "GPyTorch" in found["pyro.contrib.gp.models.GPRegression"].note
    assert found["pyro.infer.SVI"].verdict == "differs"
    assert found["pyro.distributions.Normal"].verdict == found["pyro.poutine.trace"].verdict == "same"


@pytest.mark.parametrize(
    ("name", "verdict", "note"),
    [
        ("numpyro.sample", "write", "write `su.sample`"),
        ("numpyro.infer.NUTS", "write", "write `su.infer.NUTS`"),
        ("numpyro.infer.MCMC", "write", "returns the posterior"),
        ("numpyro.contrib.control_flow.scan", "write", "su.scan"),
        ("numpyro.distributions.Normal", "write", "write `su.distributions.Normal`"),
        ("numpyro.infer.autoguide.AutoNormal", "write", "write `su.infer.autoguide.AutoNormal`"),
        ("numpyro.contrib.tfp.mcmc.ReplicaExchangeMC", "missing", "nothing like it"),
        ("pyro.distributions.Normal", "same", ""),
        ("pyro.infer.mcmc.util.summary", "same", ""),
        ("pyro.nope", "missing", ""),
    ],
)
def test_a_name_is_judged(name, verdict, note):
    found = judge(name)
    assert found[0] == verdict
    assert note in found[1]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_differs_is_here(name):
    assert judge(name) == ("differs", DIFFERENCES[name])


def test_the_report_counts():
    text = report(examine(PROGRAM))
    assert text.splitlines()[0].strip().startswith("NOT HERE")
    assert "import sursum.compat.pyro as pyro" in text
    assert report([]).startswith("This file uses no names")


def test_the_command_reads_files(tmp_path, capsys):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    assert main(["port", str(file)]) == 1
    assert "pyro.infer.SVGD" in capsys.readouterr().out
    file.write_text("import pyro\npyro.clear_param_store()\n")
    assert main(["port", str(file)]) == 0
    file.write_text("def (")
    assert main(["port", str(file)]) == 2
    assert main(["port", str(tmp_path / "none.py")]) == 2
    with pytest.raises(OptionError, match="not Python"):
        examine("x = (")

"""The report of a lifted program: what became of each parameter, and why."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(2, 3).requires_grad_(False)
        self.body = nn.Linear(3, 3)
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.frozen(x)).tanh())


NET = Mixed()


def model(x: Tensor, y: Tensor | None = None) -> None:
    f = su.module("net", NET)(x)
    sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
    offset = su.param("offset", torch.tensor(0.0))
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(f.squeeze(-1) + offset, sigma), obs=y)


LIFTED = su.lift(
    model,
    {"net.head.*": su.priors.hierarchical(), "net.body.weight": dist.Normal(0.0, 0.5), "sigma": dist.HalfNormal(2.0)},
)


def test_every_parameter_has_a_row_that_says_why() -> None:
    report = su.report(LIFTED, torch.ones(4, 2), torch.zeros(4))
    rows = {row.name: (row.state, row.prior, row.shape, row.why) for row in report.rows}
    frozen, unnamed = "frozen (requires_grad=False)", "no prior names it"
    learnt = "Normal(loc=0, scale=f(net.head.prior_scale))"
    assert rows == {
        "net.frozen.weight": ("held", None, (3, 2), frozen),
        "net.frozen.bias": ("held", None, (3,), frozen),
        "net.body.weight": ("lifted", "Normal(loc=0, scale=0.5)", (3, 3), ""),
        "net.body.bias": ("held", None, (3,), unnamed),
        "net.head.prior_scale": ("hyper", "HalfNormal(scale=1)", (), ""),
        "net.head.weight": ("lifted", learnt, (1, 3), ""),
        "net.head.bias": ("lifted", learnt, (1,), ""),
        "sigma": ("lifted", "HalfNormal(scale=2)", (), ""),
        "offset": ("held", None, (), unnamed),
        # A latent site of the program itself would be listed as well; y is observed.
    }
    assert (report.count("lifted"), report.count("hyper"), report.count("held")) == (14, 1, 13)
    text = str(report)
    assert text.endswith("14 numbers lifted, 1 drawn by their priors; 13 held at their value.")
    assert "net.body.weight       lifted  Normal(loc=0, scale=0.5)" in text
    html = report._repr_html_()
    assert html.count("<tr>") == 10
    assert "<td>3 × 3</td>" in html


def test_it_leaves_everything_as_it_was() -> None:
    before, weights = torch.get_rng_state(), {k: v.clone() for k, v in NET.state_dict().items()}
    su.report(LIFTED, torch.ones(4, 2), torch.zeros(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(NET.state_dict()[k], v) for k, v in weights.items())


def test_data_observed_parameters_and_priors_that_are_functions() -> None:
    program = lambda: (su.param("a", torch.zeros(2)), su.param("b", torch.zeros(3)))
    lifted = su.condition(su.lift(program, {"a": dist.Normal(torch.tensor([0.0, 1.0]), 1.0)}), data={"a": torch.ones(2)})
    rows = {row.name: row for row in su.report(lifted).rows}
    assert (rows["a"].state, rows["a"].prior) == ("observed", "Normal(loc=tensor (2,), scale=1)")
    lifted = su.reparam(su.lift(program, {"a": dist.Normal(0.0, 1.0)}), {"a": su.infer.reparam.LocScaleReparam(0.0)})
    assert {row.name: row.prior for row in su.report(lifted).rows if row.state == "lifted"}["a"] == "reparameterised"


def test_a_program_without_parameters() -> None:
    assert str(su.report(lambda: None)) == "The program reads no parameter."


def test_a_key_that_matches_nothing_is_warned_of() -> None:
    with pytest.warns(su.errors.UnusedPriorWarning, match=r"'net.hed.\*' was not used.*Did you mean"):
        su.report(su.lift(model, {"net.hed.*": dist.Normal(0.0, 1.0)}), torch.ones(4, 2), torch.zeros(4))


def test_a_flat_prior_has_no_draws_and_is_shown() -> None:
    rows = su.report(su.lift(lambda: su.param("s", torch.zeros(2)), su.priors.flat)).rows
    assert [(row.name, row.state) for row in rows] == [("s", "lifted")]

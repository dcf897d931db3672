"""The rule that judges runs finds what is wrong and nothing else; the reference posteriors agree with ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.posteriordb.case import Case
from benchmarks.posteriordb.rule import bound, judge, scalars
from benchmarks.posteriordb.run import CASES, Verdict, judge_together, table

from sursum.compiler.compiled import compile
from sursum.draws.ess_rhat import mixing

NORMAL = {"mean": 0.0, "sd": 1.0, "q5": -1.6448536, "q50": 0.0, "q95": 1.6448536}
REFERENCE = {"x": NORMAL | {"mcse_mean": 0.01, "mcse_sd": 0.01 / np.sqrt(2), "ess": 10000.0}}


def normal(seed: int, chains: int = 4, draws: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chains, draws))


def test_scores_of_right_draws_are_standard_normal() -> None:
    """Against an exact reference (no error of its own), over 100 seeds: the mean square of 500 scores is near 1."""
    exact = {"x": NORMAL | {"mcse_mean": 0.0, "mcse_sd": 0.0, "ess": np.inf}}
    found = [judge({"x": normal(seed)}, exact, 0.0) for seed in range(100)]
    assert all(judgement.unfit == () for judgement in found)
    squares = np.square([z for judgement in found for z in judgement.scores.values()])
    # The five scores of a run depend on each other: as if 200 were independent, four standard errors are 0.4.
    assert abs(squares.mean() - 1.0) < 0.4
    assert squares.max() < bound(500) ** 2


@pytest.mark.parametrize(
    ("wrong", "figure"),
    [
        (lambda x: x + 0.15, "mean"),
        (lambda x: x * 1.12, "sd"),
        (lambda x: np.where(x < -1.6448536, x + 1.0, x), "q5"),
        (lambda x: np.where(x > 1.6448536, x - 1.0, x), "q95"),
    ],
)
def test_a_biased_run_is_found(wrong: object, figure: str) -> None:
    judgement = judge({"x": wrong(normal(0))}, REFERENCE, 0.0)  # type: ignore[operator]
    assert abs(judgement.scores["x", figure]) > bound(5)
    assert abs(judgement.worst[1]) >= abs(judgement.scores["x", figure])


def test_a_run_that_is_too_short_is_not_judged() -> None:
    assert any("ESS of x" in text for text in judge({"x": normal(0, draws=300)}, REFERENCE, 0.0).unfit)


def test_chains_that_disagree_are_not_judged() -> None:
    draws = normal(0) + np.array([0.0, 0.0, 0.0, 0.5])[:, None]
    assert any("R-hat of x" in text for text in judge({"x": draws}, REFERENCE, 0.0).unfit)


def test_an_sd_that_is_not_known_is_not_judged() -> None:
    """Student's t of three degrees of freedom: the fourth moment does not exist."""
    draws = np.random.default_rng(1).standard_t(2.1, size=(4, 1000))
    assert any("the sd of x" in text for text in judge({"x": draws}, REFERENCE, 0.0).unfit)


def test_divergences_are_not_judged() -> None:
    assert judge({"x": normal(0)}, REFERENCE, 0.02).unfit == ("2.0% of the draws are divergent",)


def test_every_scalar_of_the_reference_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"the run has \['y'\], the reference \['x'\]"):
        judge({"y": normal(0)}, REFERENCE, 0.0)


def test_scalars_have_the_names_of_the_references() -> None:
    draws = {"a": torch.zeros(4, 10, 2, 2, dtype=torch.float64), "b": torch.ones(4, 10, dtype=torch.float64)}
    found = scalars(draws, {"a": {"shape": [2, 2]}, "b": {"shape": []}})
    assert list(found) == ["a[0,0]", "a[0,1]", "a[1,0]", "a[1,1]", "b"]
    with pytest.raises(ValueError, match="b has shape"):
        scalars(draws, {"b": {"shape": [3]}})


def test_the_bound_is_the_references_own() -> None:
    assert round(bound(335), 2) == 4.17
    assert sum(len(case.load()["reference"]) for case in CASES) == 67


class Shifted(Case):
    """A posterior whose mean is off, in the runs of some seeds."""

    def load(self) -> dict[str, object]:
        return {"parameters": {"x": {"shape": []}}, "reference": REFERENCE, "data": {}}

    def sample(self, seed: int, draws: int | None = None) -> object:
        values = normal(seed, draws=draws or self.draws) + (0.3 if seed in self.arguments(()) else 0.0)

        class Run(dict[str, torch.Tensor]):
            stats = {"diverging": np.zeros(values.shape), "n_steps": np.full(values.shape, 5)}  # noqa: RUF012
            unconstrained = values[..., None]

        return Run(x=torch.from_numpy(values))


@pytest.mark.parametrize(("biased", "runs", "agrees"), [((), 1, True), ((0,), 2, True), ((0, 1), 2, False)])
def test_a_second_run_decides(biased: tuple[int, ...], runs: int, agrees: bool) -> None:
    (verdict,) = judge_together([Shifted("x", print, lambda _: biased, draws=1000)], seed=0)
    assert (verdict.runs, verdict.agrees) == (runs, agrees)
    assert verdict.draws == (1000 if runs == 1 else 4000)
    row = table([verdict]).splitlines()[2]
    worth = 1000.0 * mixing(normal(runs - 1, draws=verdict.draws)).ess_bulk / (5 * 4 * verdict.draws)
    assert row.endswith(f"| 5.0 | {worth:.2f} | – | – |")  # a constant added changes no rank
    assert ("agrees" in row, "disagrees" in row, "second run" in row) == (True, not agrees, runs == 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_program_is_compiled(case: Case) -> None:
    density = compile(case.lifted, *case.called_with(), engine="native")
    sizes = [int(np.prod(p["shape"])) for p in case.load()["parameters"].values() if "derived" not in p["support"]]
    assert density.dim >= max(sizes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_all_agree() -> None:
    verdicts = judge_together(CASES, seed=20)
    assert [verdict.case.name for verdict in verdicts if not verdict.agrees] == []
    assert all(isinstance(verdict, Verdict) and verdict.limit == bound(335) for verdict in verdicts)

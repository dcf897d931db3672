"""Five questions of the Law School Admission Test, a thousand students: how hard is each question, how able each student?

The Rasch model (Bock and Lieberman 1970 give the data). The program has an ability for each student and a difficulty for
each question; the prior says that abilities come from one population, whose spread is unknown.

    python examples/item_response.py    # prints the difficulties, writes out/item_response.png
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam

DATA = Path(__file__).parent / "data" / "lsat.csv"


def read_answers() -> Tensor:
    """Right (1) or wrong (0), (student, question)."""
    with DATA.open() as file:
        rows = [([float(c) for c in row["answers"]], int(row["students"])) for row in csv.DictReader(file)]
    return torch.tensor([answers for answers, students in rows for _ in range(students)])


def rasch(answers: Tensor) -> None:
    """The program: the log odds of a right answer are the student's ability less the question's difficulty."""
    ability = su.param("ability", torch.zeros(len(answers), 1))
    difficulty = su.param("difficulty", torch.zeros(answers.shape[1]))
    with su.plate("student", len(answers), dim=-2), su.plate("question", answers.shape[1], dim=-1):
        su.sample("answer", dist.Bernoulli(logits=ability - difficulty), obs=answers)


def population(ability: Tensor) -> dist.Distribution:
    """Students of mean ability zero, which fixes the scale's origin."""
    return dist.Normal(0.0, su.sample("spread", dist.HalfNormal(2.0)))


def posterior(answers: Tensor, draws: int = 1000) -> su.Posterior:
    lifted = su.lift(rasch, {"ability": population, "difficulty": dist.Normal(0.0, 5.0)})
    standardised = su.reparam(lifted, {"ability": LocScaleReparam(0.0)})
    return su.infer.MCMC(su.infer.NUTS(standardised), num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(answers)


def main() -> su.Posterior:
    chosen = options(__doc__)
    answers = read_answers()
    found = posterior(answers, chosen.draws)
    print(found.summary(["spread", "difficulty"]))

    right = answers.sum(-1).numpy().astype(int)
    ability = found["ability"].squeeze(-1).flatten(0, 1).numpy()
    with picture(chosen.out / "item_response.png", panels=2, size=(11.0, 5.0)) as (left, middle):
        grid = torch.linspace(-4, 4, 100, dtype=torch.float64)
        for k in range(answers.shape[1]):
            curve = (grid - found["difficulty"][..., k].mean()).sigmoid()
            left.plot(grid, curve, label=f"question {k + 1}")
        left.set_xlabel("ability (log odds)")
        left.set_ylabel("probability of a right answer")
        left.set_title("Questions")
        left.legend(frameon=False)
        groups = [ability[:, np.flatnonzero(right == score)[0]] for score in range(6)]
        middle.boxplot(groups, whis=(5, 95), showfliers=False, tick_labels=[str(score) for score in range(6)])
        middle.set_xlabel("right answers out of five")
        middle.set_ylabel("ability of such a student (log odds)")
        middle.set_title("Students: median, quartiles, 90 % interval")
    return found


if __name__ == "__main__":
    main()

"""A test of ten questions, each with four answers: who has solved it, and who has guessed?

Students are of two classes, a discrete site for each: some solve the questions, with an ability of their own, and some guess.
The density sums the classes out; `discrete_probabilities` says how probably each student guessed.

    python examples/guessing.py    # prints difficulties and who guessed, writes out/guessing.png
"""

from __future__ import annotations

import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist

STUDENTS, CHANCE = 100, 0.25
DIFFICULTY = torch.linspace(-2.5, 1.0, 10)


def simulate(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Who guesses, and whose answers are right, (student, question)."""
    generator = torch.Generator().manual_seed(seed)
    guesses = torch.rand(STUDENTS, generator=generator) < 0.25
    ability = torch.randn(STUDENTS, 1, generator=generator)
    right = torch.where(guesses[:, None], CHANCE, torch.sigmoid(ability - DIFFICULTY))
    return guesses, (torch.rand(STUDENTS, len(DIFFICULTY), generator=generator) < right).float()


def answering(answers: Tensor) -> None:
    """The program: the share of those who guess, difficulties, abilities, and a class for each student."""
    share = su.sample("share", dist.Beta(1.0, 3.0))
    difficulty = su.sample("difficulty", dist.Normal(torch.zeros(answers.shape[1]), 2.0).to_event(1))
    with su.plate("student", answers.shape[0], dim=-2):
        ability = su.sample("ability", dist.Normal(0.0, 1.0))
        guesses = su.sample("guesses", dist.Bernoulli(share))
        with su.plate("question", answers.shape[1], dim=-1):
            right = torch.where(guesses > 0, CHANCE, torch.sigmoid(ability - difficulty))
            su.sample("answers", dist.Bernoulli(right), obs=answers)


def posterior(answers: Tensor, draws: int = 1000) -> su.Posterior:
    """Difficulties and abilities; who guesses is summed out."""
    return su.infer.MCMC(su.infer.NUTS(answering), num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(answers)


def main() -> su.Posterior:
    chosen = options(__doc__)
    guesses, answers = simulate()
    found = posterior(answers, chosen.draws)
    print(found.summary(["share", "difficulty"]))
    probable = su.infer.discrete_probabilities(found)["guesses"][..., 0, 1].mean((0, 1))
    told = probable > 0.5
    wrongly = int((told & ~guesses).sum())
    print(f"\n{int((told & guesses).sum())} of {int(guesses.sum())} who guessed are found, and {wrongly} others.")
    with picture(chosen.out / "guessing.png", panels=2, size=(11.0, 4.5)) as (left, right):
        low, middle, high = found["difficulty"].flatten(0, 1).quantile(torch.tensor([0.05, 0.5, 0.95]).double(), 0).numpy()
        questions = range(1, len(DIFFICULTY) + 1)
        left.vlines(questions, low, high, color="C0", alpha=0.5, linewidth=4, label="90 % interval")
        left.plot(questions, middle, "o", color="C0", label="posterior median")
        left.plot(questions, DIFFICULTY.numpy(), "x", color="0.2", label="truth")
        left.set(xlabel="question", ylabel="difficulty (ability of those who solve half of such)")
        left.legend(frameon=False)
        for who, name, colour in ((~guesses, "solved it", "C0"), (guesses, "guessed", "C3")):
            right.scatter(answers[who].sum(1).numpy(), probable[who].numpy(), color=colour, alpha=0.6, label=f"in truth {name}")
        right.set(xlabel="right answers (of 10)", ylabel="posterior probability of guessing")
        right.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()

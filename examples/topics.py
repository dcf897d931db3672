"""Which topics are in these texts? Latent Dirichlet allocation, in which each word has a topic of its own.

Texts are pictures here, as in Griffiths & Steyvers (2004): a word is one of 16 pixels, and a topic a bar of them, so that one
sees what is found. The topic of each word is a discrete site, in a plate of words within a plate of texts; the density sums it
out.

    python examples/topics.py    # prints how well topics are found, writes out/topics.png
"""

from __future__ import annotations

import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist

SIDE, TOPICS, TEXTS, WORDS = 4, 4, 40, 60


def bars() -> Tensor:
    """The true topics, (topic, word): two rows and two columns of a square."""
    square = torch.zeros(TOPICS, SIDE, SIDE)
    for k, place in enumerate((0, 2)):
        square[k, place, :] = square[2 + k, :, place + 1] = 1.0 / SIDE
    return square.flatten(1)


def simulate(seed: int = 0) -> Tensor:
    """The words of each text, (word, text)."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(TEXTS, TOPICS, generator=generator) ** 6
    words = shares / shares.sum(-1, keepdim=True) @ bars()
    return torch.multinomial(words, WORDS, replacement=True, generator=generator).T.contiguous()


def texts(words: Tensor, topics: int = TOPICS) -> None:
    """The program: topics are distributions over words, a text has shares of them, and each word the topic that it is from."""
    topic = su.sample("topic", dist.Dirichlet(torch.full((topics, SIDE * SIDE), 1.1)).to_event(1))
    with su.plate("text", words.shape[1], dim=-1):
        share = su.sample("share", dist.Dirichlet(torch.full((topics,), 1.1)))
        with su.plate("place", words.shape[0], dim=-2):
            which = su.sample("which", dist.Categorical(share))
            su.sample("words", dist.Categorical(topic[which]), obs=words)


def posterior(words: Tensor, draws: int = 1000) -> su.Posterior:
    """Draws around one way to number the topics: chains that start at a fit stay with its numbers."""
    start = max(
        (su.infer.Fit(texts, num_steps=1000, seed=seed).run(words) for seed in range(3)), key=lambda fit: fit.log_density
    )
    kernel = su.infer.NUTS(texts, max_tree_depth=5)
    return su.infer.MCMC(kernel, init=start, num_warmup=draws, num_samples=draws, num_chains=2, seed=0).run(words)


def nearest(found: Tensor) -> tuple[Tensor, Tensor]:
    """For each true topic the nearest one of those found, and its total variation distance."""
    distance, index = (0.5 * (bars().double()[:, None] - found).abs().sum(-1)).min(1)
    return found[index], distance


def side_by_side(topics: Tensor) -> Tensor:
    """Topics as squares in one row, with a gap (NaN) before, between and after them."""
    squares = torch.nn.functional.pad(topics.reshape(-1, SIDE, SIDE), (1, 0, 1, 1), value=float("nan"))
    return torch.nn.functional.pad(squares.transpose(0, 1).flatten(1), (0, 1), value=float("nan"))


def main() -> su.Posterior:
    chosen = options(__doc__)
    words = simulate()
    found = posterior(words, chosen.draws)
    print(found.summary(["topic"]))
    topic, distance = nearest(found["topic"].mean((0, 1)))
    print(f"\nEach bar is found but for {100 * float(distance.max()):.0f} % of its mass at most.")
    with picture(chosen.out / "topics.png", panels=2, size=(9.0, 1.9)) as panels:
        for axes, shown, name in zip(panels, (bars(), topic), ("the true topics", "those found"), strict=True):
            axes.set_facecolor("tab:blue")
            axes.imshow(side_by_side(shown).numpy(), cmap="Greys", vmin=0.0, vmax=0.3)
            axes.set(xticks=[], yticks=[], title=name)
    return found


if __name__ == "__main__":
    main()

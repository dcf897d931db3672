"""Which topics are in these texts? Latent Dirichlet allocation, in which each word has a topic of its own.

Texts are pictures here, as in Griffiths & Steyvers (2004): a word is one of 25 pixels, and a topic a bar of them, so that one
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

SIDE, TEXTS, WORDS = 5, 80, 60


def bars() -> Tensor:
    """The true topics, (topic, word): three rows and three columns of a square."""
    square = torch.zeros(6, SIDE, SIDE)
    for k, place in enumerate((0, 2, 4)):
        square[k, place, :] = square[3 + k, :, place] = 1.0 / SIDE
    return square.flatten(1)


def simulate(seed: int = 0) -> Tensor:
    """The words of each text, (word, text)."""
    torch_state = torch.Generator().manual_seed(seed)
    shares = torch.rand(TEXTS, 6, generator=torch_state) ** 6
    words = shares / shares.sum(-1, keepdim=True) @ bars()
    return torch.multinomial(words, WORDS, replacement=True, generator=torch_state).T.contiguous()


def texts(words: Tensor, topics: int = 6) -> None:
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
        (su.infer.Fit(texts, num_steps=300, seed=seed).run(words) for seed in range(3)), key=lambda fit: fit.log_density
    )
    kernel = su.infer.NUTS(texts, max_tree_depth=6)
    return su.infer.MCMC(kernel, init=start, num_warmup=draws, num_samples=draws, num_chains=2, seed=0).run(words)


def matched(found: Tensor) -> Tensor:
    """For each true topic the nearest one of those found, and its total variation distance."""
    return (0.5 * (bars().double()[:, None] - found).abs().sum(-1)).min(1).values


def main() -> su.Posterior:
    chosen = options(__doc__)
    words = simulate()
    found = posterior(words, chosen.draws)
    print(found.summary(["topic"]))
    topic = found["topic"].mean((0, 1))
    print(f"\nEach bar is found but for {100 * float(matched(topic).max()):.0f} % of its mass at most.")
    with picture(chosen.out / "topics.png", panels=2, size=(9.0, 3.2)) as panels:
        for axes, shown, name in zip(panels, (bars(), topic), ("the true topics", "those found: posterior means"), strict=True):
            joined = torch.nn.functional.pad(shown.reshape(-1, SIDE, SIDE), (0, 1), value=float("nan"))
            axes.imshow(joined.transpose(0, 1).flatten(1)[:, :-1].numpy(), cmap="Greys", vmin=0.0, vmax=0.25)
            axes.set(xticks=[], yticks=[], xlabel="topics: probability of each of 25 words", title=name)
    return found


if __name__ == "__main__":
    main()

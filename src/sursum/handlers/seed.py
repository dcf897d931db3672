"""`seed`: draw from a separate generator."""

from __future__ import annotations

from dataclasses import field
from operator import index
from typing import Self

import torch

from sursum.common.other_libraries import answers
from sursum.core.runtime import Messenger, P, R, handler, required


@answers(rng_key="rng_seed", seed="rng_seed", random_seed="rng_seed")
@handler
class seed(Messenger[P, R]):
    """Draw every site inside from a generator seeded with `rng_seed`; torch's global generator is left alone.

    Each execution restarts the same stream.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = su.poutine.seed(lambda: su.sample("z", dist.Normal(0.0, 1.0)), rng_seed=0)
        >>> bool(model() == model())
        True
    """

    rng_seed: int = required()

    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generator = torch.Generator().manual_seed(index(self.rng_seed))

    def fresh(self) -> Self:
        """A copy that restarts the stream."""
        copy = super().fresh()
        copy.generator = torch.Generator().manual_seed(index(self.rng_seed))
        return copy

    def __reduce__(self) -> tuple[type[seed], tuple[object, int]]:
        return seed, (self.fn, self.rng_seed)

    @property
    def draws(self) -> torch.Generator:
        return self.generator

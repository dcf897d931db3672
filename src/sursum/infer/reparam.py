"""Ways to write a latent site, for `sursum.reparam`."""

from sursum.handlers.reparam import LocScaleReparam, Reparam

__all__ = ["LocScaleReparam", "Reparam"]

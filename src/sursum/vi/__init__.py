"""Variational inference: a guide is fitted to the posterior of a program."""

from sursum.vi.early_stopping import EarlyStopping
from sursum.vi.svi import SVI, SVIResult
from sursum.vi.trace_elbo import Trace_ELBO

__all__ = ["SVI", "EarlyStopping", "SVIResult", "Trace_ELBO"]

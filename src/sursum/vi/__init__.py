"""Variational inference: fit a guide to the posterior of a program.

`svi` takes the steps, on one of the engines in `engine`; bounds are in separate files, guides in `autoguide/`.
Imports `posterior`, `compiler` and below; `infer` imports it.
"""

from sursum.vi.early_stopping import EarlyStopping
from sursum.vi.elbo import ELBO
from sursum.vi.mean_field_elbo import TraceMeanField_ELBO
from sursum.vi.renyi_elbo import RenyiELBO
from sursum.vi.svi import SVI
from sursum.vi.svi_result import SVIResult
from sursum.vi.trace_elbo import Trace_ELBO
from sursum.vi.traceenum_elbo import TraceEnum_ELBO

__all__ = ["ELBO", "SVI", "EarlyStopping", "RenyiELBO", "SVIResult", "TraceEnum_ELBO", "TraceMeanField_ELBO", "Trace_ELBO"]

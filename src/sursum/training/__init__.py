"""Training steps: a loss and its gradient, captured once for each shape of the batch and run without handlers.

`TrainingStep` is a function of (parameters, batch, seed). SVI, `Fit` and SGMCMC call it; it knows nothing of them:

    step = TrainingStep(loss)                                     # loss(trained, state, args, kwargs) → a tensor of one element
    found = step(trained, args, kwargs, seed=7)           # captured at the first call with a batch of this shape
    found.loss, found.gradients["net.0.weight"]

Noise and the indices of subsampled plates come from the seed, so a step is a pure function, apart from the `state` that it
updates. Imports `compiler` and below; `optimise`, `mcmc` and `vi` import it.
"""

from sursum.training.step import Graded, Loss, TrainingStep

__all__ = ["Graded", "Loss", "TrainingStep"]

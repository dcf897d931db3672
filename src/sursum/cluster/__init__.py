"""Where independent work runs: worker processes on this machine, or a Ray cluster.

`mcmc` and `studies` import it; it knows nothing of programs. A task is a function of one item; it travels by cloudpickle.
"""

from sursum.cluster.local import Local
from sursum.cluster.ray import Ray
from sursum.cluster.workers import Lost, Workers

__all__ = ["Local", "Lost", "Ray", "Workers"]

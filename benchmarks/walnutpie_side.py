"""walnutpie's side of a benchmark: its WALNUTS on the density that sursum compiled, sampling alone; figures as JSON.

walnutpie has no models of its own. It calls a C function, which counts and calls the density.
"""

from __future__ import annotations

import ctypes
import warnings

import numpy as np
import torch

import sursum as su
from benchmarks import sursum_models, timing, walnuts
from sursum.mcmc.chain_starts import find_chain_starts
from sursum.mcmc.seeds import chain_seed


def main() -> None:
    import walnutpie  # type: ignore[import-not-found]
    from walnutpie._ffi import logp_cfunc_type  # type: ignore[import-not-found]

    options = timing.options(__doc__).parse_args()
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    program, data = sursum_models.load(options.model)
    density = su.compile(program, *data)
    function = logp_cfunc_type(("counted", walnuts.counter()))
    seeds = [chain_seed(1, k) for k in range(timing.CHAINS)]
    starts = find_chain_starts(density, None, [seed.start for seed in seeds])

    def sample(k: int, draws: int) -> tuple[np.ndarray, int]:
        """Draws of a chain after the warm-up, and the gradients of all."""
        instance = density.instance()
        state = walnuts.Counted(density.address, instance.pointer, 0)
        lengths = {"min_warmup_iter": options.warmup, "max_warmup_iter": options.warmup}
        lengths |= {"min_sampling_iter": draws, "max_sampling_iter": draws}
        (chain,) = walnutpie.walnuts_pyfunc(
            (function, ctypes.addressof(state)), inits=starts[k][None], num_chains=1, seed=seeds[k].sampler % 2**31, **lengths
        )
        return np.array(chain), state.calls

    seconds, found = timing.timed(lambda: [sample(k, options.draws) for k in range(timing.CHAINS)])
    q, calls = np.stack([draws for draws, _ in found]), sum(calls for _, calls in found)
    in_warmup = sample(0, 1)[1]
    sites = density.expand(q.reshape(-1, density.dim))
    named = {name: value.reshape(*q.shape[:2], *value.shape[1:]).numpy() for name, value in sites.items()}
    factor = timing.FULL / (options.warmup + options.draws)
    # One chain after another here; the others run two at once.
    timing.report(
        gradient=None,
        kernel=None,
        leapfrog=seconds / calls * 1e6,
        draw=None,
        sampling=seconds * factor / 2.0,
        around=None,
        compile=None,
        cold=None,
        warm=None,
        extrapolated=factor != 1.0,
        rate=timing.smallest_ess(q) / (seconds / 2.0),
        moments=timing.moments(options.model, named),
        steps=(found[0][1] - in_warmup) / options.draws,
    )


if __name__ == "__main__":
    main()

"""`MCMC` with Pyro's settings: `run`, then `get_samples`, `summary`, `diagnostics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

import sursum as su
from sursum.compat.pyro.infer.mcmc.kernels import HMC
from sursum.compat.pyro.infer.mcmc.util import diagnostics_of, print_table, summary
from sursum.errors import SamplingError


class MCMC:
    """Draw from a posterior with several chains; all of it is sursum's `MCMC`, whose posterior is `mcmc.posterior`.

    Args:
        kernel: `NUTS(model)`, or `HMC(model)`.
        num_samples: draws of each chain.
        warmup_steps: draws of each chain's warm-up; `num_samples` if left out.
        initial_params: where chains start, unconstrained values by site name; of several chains along a leading dimension.
        num_chains: how many chains, in threads.
        disable_progbar: show no progress.
        save_params: the sites to keep; all if left out.
        mp_context, disable_validation: of Pyro's own machinery; they have no use here.
        transforms: with a kernel of a `potential_fn`, those of `initialize_model`: draws are on the supports of the sites.
        hook_fn: not here.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> def model(y):
        ...     pyro.sample("y", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)
        >>> pyro.set_rng_seed(0)
        >>> mcmc = MCMC(pyro.infer.NUTS(model), num_samples=500, warmup_steps=500, disable_progbar=True)
        >>> mcmc.run(torch.tensor(2.0))
        >>> mcmc.get_samples()["mu"].shape
        torch.Size([500])
    """

    def __init__(
        self,
        kernel: HMC,
        num_samples: int,
        warmup_steps: int | None = None,
        initial_params: Mapping[str, Tensor] | None = None,
        num_chains: int = 1,
        hook_fn: Callable[..., Any] | None = None,
        mp_context: str | None = None,
        disable_progbar: bool = False,
        disable_validation: bool = True,
        transforms: Mapping[str, Any] | None = None,
        save_params: list[str] | None = None,
    ) -> None:
        if not isinstance(kernel, HMC):
            raise SamplingError(f"`kernel` is {kernel!r}, but must be a kernel: give NUTS(model).")
        if hook_fn is not None:
            raise SamplingError(
                "`hook_fn` is given, but draws are made in C, where nothing of Python's is called: leave it out."
            )
        if transforms and kernel.model is not None:
            raise SamplingError("`transforms` is given, but coordinates are chosen by the supports of the sites: leave it out.")
        self.transforms = dict(transforms or {})
        self.kernel, self.num_samples, self.num_chains = kernel, num_samples, num_chains
        self.warmup_steps = num_samples if warmup_steps is None else warmup_steps
        self.initial_params, self.disable_progbar, self.save_params = initial_params, disable_progbar, save_params
        self.posterior: su.Posterior | None = None

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Draw, for the program with these arguments."""
        initial = self._by_chain()
        kernel = self.kernel.sampler(initial[0] if initial else None)
        init = self._init(kernel.model, initial, args, kwargs)
        mcmc = su.infer.MCMC(
            kernel,
            num_warmup=max(self.warmup_steps, 1),
            num_samples=self.num_samples,
            num_chains=self.num_chains,
            progress=False if self.disable_progbar else None,
            init=init,
            keep=self.save_params,
        )
        self.posterior = mcmc.run(*args, **kwargs)

    def _by_chain(self) -> list[dict[str, Tensor]] | None:
        """The initial values of each chain, unconstrained."""
        if self.initial_params is None:
            return None
        if self.num_chains == 1:
            return [dict(self.initial_params)]
        short = [name for name, value in self.initial_params.items() if not value.dim() or len(value) != self.num_chains]
        if short:
            raise SamplingError(f"`initial_params` of {short[0]!r} needs a leading dimension of {self.num_chains} chains.")
        return [{name: value[k] for name, value in self.initial_params.items()} for k in range(self.num_chains)]

    def _init(self, program: Any, initial: Any, args: Any, kwargs: Any) -> Any:
        if initial is None and self.kernel.init_strategy is None:
            return None
        if self.kernel.model is None:
            return initial
        found = su.block(su.trace(program).get_trace)(*args, **kwargs)
        if initial is not None:
            supports = {name: site.fn.support for name, site in found.stochastic.items()}
            return [{name: biject_to(supports[name])(value) for name, value in one.items()} for one in initial]
        strategy = self.kernel.init_strategy
        assert strategy is not None
        values = {name: strategy(site) for name, site in found.stochastic.items() if not site.infer.get("is_subsample")}
        return {name: value.detach() for name, value in values.items() if value is not None}

    def get_samples(self, num_samples: int | None = None, group_by_chain: bool = False) -> dict[str, Tensor]:
        """Draws of the latent sites, (draw, …), or (chain, draw, …) with `group_by_chain`.

        Args:
            num_samples: as many, drawn from them with replacement; all if left out.
        """
        posterior = self._posterior()
        dtype = torch.get_default_dtype()
        names = [name for name in posterior.latents if name in posterior.sites]
        draws = {n: posterior[n].to(dtype) if posterior[n].is_floating_point() else posterior[n] for n in names}
        draws |= {name: onto.inv(draws[name]) for name, onto in self.transforms.items() if name in draws}
        if not group_by_chain:
            draws = {name: value.flatten(0, 1) for name, value in draws.items()}
        if num_samples is None:
            return draws
        axis = 1 if group_by_chain else 0
        total = next(iter(draws.values())).shape[axis]
        index = torch.randint(0, total, (num_samples,))
        return {name: value.index_select(axis, index) for name, value in draws.items()}

    def diagnostics(self) -> dict[str, dict[str, Any]]:
        """Effective sample size and R-hat of every site; divergences and acceptance rate of every chain."""
        posterior = self._posterior()
        found: dict[str, dict[str, Any]] = diagnostics_of(self.get_samples(group_by_chain=True))
        stats = posterior.stats
        diverging = {f"chain {k}": [int(i) for i in row.nonzero()[0]] for k, row in enumerate(stats["diverging"])}
        rates = {f"chain {k}": float(row.mean()) for k, row in enumerate(stats["acceptance_rate"])}
        return {**found, "divergences": diverging, "acceptance rate": rates}

    def summary(self, prob: float = 0.9) -> None:
        """Print a table: mean, standard deviation, median, interval of probability `prob`, effective sample size, R-hat."""
        print_table(summary(self.get_samples(group_by_chain=True), prob, group_by_chain=True))
        diverging = self._posterior().stats["diverging"]
        print(f"Number of divergences: {int(diverging.sum())}")

    def _posterior(self) -> su.Posterior:
        if self.posterior is None:
            raise SamplingError("there are no draws yet: call mcmc.run(…) first.")
        return self.posterior

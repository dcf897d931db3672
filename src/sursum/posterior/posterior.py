"""The draws of a run, and everything that can be done with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution

from sursum.common.other_libraries import answers
from sursum.common.site_names import chosen_sites
from sursum.core.calling import Program
from sursum.draws import arviz, run_store
from sursum.draws.draws import Draws
from sursum.draws.header import note_of
from sursum.draws.psis import say_trust
from sursum.draws.summary import Summary, summarise
from sursum.errors import PredictionError
from sursum.io import npz
from sursum.io.files import interpreting
from sursum.io.lazy_draws import arrays_of, shape_of
from sursum.posterior import notebook, saving
from sursum.posterior.groups import add_groups
from sursum.posterior.own_program import linearise, program_for, refuse_shared, run_at_draw
from sursum.posterior.prior_sensitivity import PriorSensitivity, measure
from sursum.posterior.reprior import Refit, reprior
from sursum.posterior.saving import numpy_of
from sursum.predict.log_likelihood import pointwise
from sursum.predict.log_prior import priors_at_draws
from sursum.predict.module_ensemble import ModuleEnsemble, evenly_spaced
from sursum.predict.network_draws import network_draws
from sursum.predict.prediction import Prediction
from sursum.predict.predictive import PREDICTED, Predictive


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(Draws):
    """The posterior of a program, as draws: `posterior["s"]` is a float64 tensor of shape (chain, draw, *shape).

    Args:
        warmup: the draws of the warm-up, in which the sampler still adapts; `posterior.warmup["s"]`.
        latents: names of the sites that were sampled, kept or not; the others are deterministic.
        coordinates: names of the n unconstrained coordinates.
        dims: names of plates for the leading dimensions of each site.
        coords: labels of the elements of plates, from the index of a pandas column or frame among the arguments: of a plate
            that alone has as many elements. `to_arviz` takes them.
        observed: the data, by site name.
        warnings: problems of the run, in plain words; empty if there are none.
        groups: the groups added by `with_groups`, by ArviZ's names.
        notes: how the draws were made, if not in one run.
        states: of each chain after its last draw, as bytes, from which `MCMC.extend` continues it exactly. They stay in the
            process, like the program, or in the store of the run; empty where there are none.
        engine: what computed the gradients of the run: "native", "torch" or "eager", as the setting `engine` has them; None for
            draws that took none.
        program: the program that was sampled. It stays in the process: a posterior that was loaded or unpickled has None.
        pareto_k: for an approximation, the Pareto k-hat of its importance weights: up to 0.7 the draws can be trusted. NaN
            if it cannot be determined, None for MCMC.
        mode: for Laplace's approximation, the values of the latent sites at its centre. It stays in the process, as the
            program does.
        log_evidence: for Laplace's approximation, that of the log marginal likelihood of the data. It stays in the process.
        refit: how to make the posterior of another program in the same way, for `reprior`. It stays in the process.
        buffers: what layers in training mode had written at each draw, such as the running averages of batch norm, by dotted
            name, (chain, draw, *shape): `module` and `predict` take the network with them.
        progress: what `MCMC(progress=…)` was: `predict` shows none after a run that was asked not to.

    Example:
        >>> import numpy as np, torch
        >>> s = torch.linspace(0, 1, 20, dtype=torch.float64).reshape(2, 10)
        >>> posterior = Posterior({"s": s}, {}, s.numpy()[..., None])
        >>> posterior["s"].shape, list(posterior)
        (torch.Size([2, 10]), ['s'])
        >>> round(float(posterior.summary()["s"]["mean"]), 3)
        0.5
    """

    warmup: Draws = field(default_factory=lambda: Draws({}, {}, np.empty((0, 0, 0))))
    latents: tuple[str, ...] = ()
    coordinates: Sequence[str] = ()
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    coords: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    observed: Mapping[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    groups: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    engine: str | None = None
    program: Program | None = None
    pareto_k: float | None = None
    mode: Mapping[str, Tensor] | None = None
    log_evidence: float | None = None
    states: tuple[bytes, ...] = ()
    refit: Refit | None = None
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    progress: bool | None = None

    def predict(
        self,
        *args: Any,
        seed: int | None = None,
        chunk: int | None = None,
        replicate: bool | None = None,
        linearised: bool | None = None,
        store: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
        **kwargs: Any,
    ) -> Prediction:
        """Draw what the program predicts, once at every draw of the posterior; see `Predictive`.

        Args:
            args, kwargs: arguments of the program, without the data to be predicted: `posterior.predict(x_new)`. Data
                that are passed stay observed, and a forecast continues from them: `posterior.predict(y, future=10)`.
                Without any, the arguments of the fit are used, and observed sites are drawn: replicated data.
            replicate: whether observed sites are drawn; None does so without arguments, and for a `DataLoader`.
            linearised: for Laplace's approximation, whether networks are linear in their weights around the mode, as a
                generalised Gauss–Newton matrix assumes; otherwise they are taken at each draw.
            seed: the same seed gives the same predictions; None draws one from torch's global generator.
            chunk: how many draws to evaluate at once; None chooses by the memory of one.
            store: the store of this run, to which predictions are written as they are made, in bounded memory: without
                arguments as the group `posterior_predictive`, with arguments as `predictions`.
            progress: whether to show it; None shows it after a while, unless the run was asked not to show its own.

        Returns:
            Draws of (chain, draw, *shape) by site name, with their mean, sd and quantiles.

        Raises:
            PredictionError: the posterior has no program, or its draws do not fit as the program is called now.
            StorageError: the store is not one of a run, or has that group already.

        Warns:
            ObservationWarning: nothing was drawn, as everything is observed; a prediction has fewer dimensions than the data.
        """
        program = program_for("predict", self.program, self.latents, self, args, kwargs)
        named = {"seed": seed, "chunk": chunk, "replicate": replicate, "linearised": linearised, "store": store}
        named["progress"] = progress
        refuse_shared(program, "predict", named, "su.infer.Predictive(model, posterior, …)(…)")
        group = None if store is None else PREDICTED[1] if args or kwargs else PREDICTED[0]
        again = True if replicate is None and not args and not kwargs else replicate
        model = linearise(program.model, self.mode) if linearised else program.model
        shown = self.progress if progress is None else progress
        predictive = Predictive(model, self, seed=seed, chunk=chunk, replicate=again, store=store, group=group, progress=shown)
        return predictive(*program.args, **program.kwargs)

    def log_likelihood(
        self,
        *args: Any,
        chunk: int | None = None,
        linearised: bool | None = None,
        store: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Mapping[str, Tensor]:
        """The log-likelihood of every observation at every draw, float64, (chain, draw, *batch) by site name.

        Args:
            args, kwargs: arguments of the program; without any, those of the fit.
            chunk: how many draws to evaluate at once; None chooses by the memory of one.
            linearised: as for `predict`.
            store: the store of this run, to whose group `log_likelihood` the results are written, in bounded memory.

        Raises:
            PredictionError: the posterior has no program.
            StorageError: the store is not one of a run, or has that group already.
        """
        program = program_for("log_likelihood", self.program, self.latents, self, args, kwargs)
        named = {"chunk": chunk, "linearised": linearised, "store": store}
        refuse_shared(program, "log_likelihood", named, "su.infer.log_likelihood(functools.partial(model, …), posterior, …)")
        model = linearise(program.model, self.mode) if linearised else program.model
        return pointwise(model, self, program.args, program.kwargs, chunk=chunk, store=store)

    def log_prior(
        self, *args: Any, chunk: int | None = None, store: str | os.PathLike[str] | None = None, **kwargs: Any
    ) -> Mapping[str, Tensor]:
        """The log prior density of every latent site at every draw, float64, (chain, draw, *batch) by site name.

        See `su.infer.log_prior`.

        Args:
            args, kwargs: arguments of the program; without any, those of the fit.
            chunk: how many draws to evaluate at once; None chooses by the memory of one.
            store: the store of this run, to whose group `log_prior` the results are written, in bounded memory.

        Raises:
            PredictionError: the posterior has no program.
            StorageError: the store is not one of a run, or has that group already.
        """
        program = program_for("log_prior", self.program, self.latents, self, args, kwargs)
        named = {"chunk": chunk, "store": store}
        refuse_shared(program, "log_prior", named, "su.infer.log_prior(functools.partial(model, …), posterior, …)")
        return priors_at_draws(program.model, self, program.args, program.kwargs, chunk=chunk, store=store)

    def reprior(self, prior: Mapping[str, Distribution]) -> Self:
        r"""The posterior under other priors, without another run where that can be trusted.

        .. math:: w_s \propto \frac{p_\text{new}(z^{(s)})}{p_\text{old}(z^{(s)})}

        The draws are repeated in proportion to their Pareto-smoothed weights; `pareto_k` and `notes` of the result tell how far
        they carry. Where the Pareto k is above 0.7, or the new prior has another support, the program is sampled again, as it
        was by `MCMC.run`, starting from this posterior; `notes` says so.

        Args:
            prior: distributions by name or pattern of latent sites, as for `su.reprior`.

        Raises:
            PredictionError: a prior for no latent site; the posterior has no program, or must be fitted again and was not
                made by `MCMC.run` in this process.
            PriorShapeError: a prior that does not expand to the site's shape.

        References:
            Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25.

        Example:
            >>> import sursum as su, sursum.distributions as dist, torch
            >>> def model(y):
            ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
            ...     with su.plate("data", len(y)):
            ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
            >>> posterior = su.infer.MCMC(su.infer.NUTS(model), seed=0, progress=False).run(torch.ones(20, dtype=torch.float64))
            >>> other = posterior.reprior({"mu": dist.Normal(0.5, 0.5)})
            >>> exact = (0.5 / 0.25 + 20.0) / (1 / 0.25 + 20)
            >>> abs(float(other["mu"].mean()) - exact) < 0.02, other.pareto_k < 0.7
            (True, True)
        """
        return cast(Self, reprior(self, program_for("reprior", self.program, self.latents, self), prior))

    def prior_sensitivity(self, sites: Iterable[str] | None = None, *, prior: Iterable[str] | None = None) -> PriorSensitivity:
        """How much the posterior depends on the prior and on the likelihood, by power-scaling each, with ArviZ.

        Args:
            sites: names of the sites to look at; all latent ones if None.
            prior: names of the sites whose priors are scaled; all if None. In a hierarchical model give those at the top: the
                distribution of the local ones is a part of the model.

        Returns:
            A table to print, or to read as `found.prior["mu"]`, with a `plot`.

        Raises:
            PredictionError: the posterior has no program, or observes nothing.
            MissingPackageError: ArviZ is not installed.
        """
        known = [name for name in self.latents or self if name in self]
        looked = chosen_sites(sites, self.sites, "these draws") if sites is not None else known
        data = self.to_arviz(log_likelihood=True, log_prior=True)
        priors = [str(name) for name in data["log_prior"].data_vars]
        return measure(
            data, list(looked), priors if prior is None else list(chosen_sites(prior, dict.fromkeys(priors), "the log prior"))
        )

    def module(
        self, name: str = "", net: nn.Module | None = None, *, members: int | None = None, chunk: int | None = None
    ) -> ModuleEnsemble:
        """The network named `name` in the program, at every draw of the posterior, as one module.

        Args:
            name: as in ``module(name, net)``; empty if the network is the whole program, ``lift(net, prior)``.
            net: the network; required if the posterior has no program (it was loaded from a file).
            members: how many of the draws to keep, evenly spaced; None keeps all.
            chunk: how many draws to evaluate at once; None chooses by the memory of one.

        Returns:
            A module with ``nets(x)`` of shape (chain · draw, *shape of net(x)), in the network's dtype and on its device;
            ``nets[i]`` is the network of one draw, and iterating gives all of them.

        Raises:
            PredictionError: the network does not exist, or none of it was lifted.
        """
        first = {site: self[site][0, 0] for site in self.latents or self if site in self}
        first |= {path: value[0, 0] for path, value in self.buffers.items()}
        run = None if self.program is None else partial(run_at_draw, self.program, first)
        found, draws = network_draws(name, net, self, run, self.buffers)
        if members is not None:
            rows = evenly_spaced(members, self.num_chains * self.num_samples)
            draws = {path: value[rows] for path, value in draws.items()}
        return ModuleEnsemble(found, draws, chunk=chunk)

    @answers(
        var_names="sites",
        hdi_prob="the quantiles are 5, 50 and 95 %: for others use `posterior['name'].quantile(…)`",
        prob="the quantiles are 5, 50 and 95 %: for others use `posterior['name'].quantile(…)`",
        round_to="numbers are read from `summary()['name']['mean']`",
    )
    def summary(
        self,
        sites: Iterable[str] | None = None,
        *,
        predictions: Mapping[str, Tensor] | None = None,
        limit: int = 12,
    ) -> Summary:
        """Mean, sd, 5 %, 50 % and 95 % quantiles, bulk and tail effective sample size and R-hat of each site.

        Args:
            sites: names of the sites to show; all of them if None.
            predictions: draws by name, (chain, draw, *shape), such as `posterior.predict(x)`, to be diagnosed with the
                sites: weights of networks are not identified, but their predictions are.
            limit: how many elements of a site to print; the table contains all of them.

        Returns:
            A table to print, warnings included, or to read as `summary["theta"]["mean"]`.
        """
        names = chosen_sites(sites, self.sites, "these draws")
        predicted = predictions.sites if isinstance(predictions, Prediction) else predictions or {}
        shown = arrays_of(self.sites, names) | {f"{name} (predicted)": v for name, v in arrays_of(predicted).items()}
        for name, value in shown.items():
            if value.shape[:2] != self.unconstrained.shape[:2]:
                raise PredictionError(
                    f"the draws of {name} have shape {tuple(value.shape)}, but those of this posterior begin with "
                    f"{self.unconstrained.shape[:2]}. Give `posterior.predict(x)`, or draws of (chain, draw, *shape)."
                )
        said = (*say_trust(self.pareto_k), *self.warnings)
        return summarise(shown, warnings=said, limit=limit)

    def __repr__(self) -> str:
        return super().__repr__() if self.engine is None else f"{super().__repr__()[:-1]}, by the {self.engine} engine>"

    def _repr_html_(self) -> str:
        table = summarise(arrays_of(self.sites), limit=6)._repr_html_()
        by = "" if self.engine is None else f", by the {self.engine} engine"
        head = f"Posterior: {self.num_chains} chains of {self.num_samples} draws{by}"
        return notebook.page(head, self.warnings, self.notes, table, arrays_of(self.sites))

    def with_groups(self, *, store: str | os.PathLike[str] | None = None, **groups: Prediction | Mapping[str, Any]) -> Self:
        """This posterior with additional groups: predictions, log-likelihoods, draws from the prior, data.

        Args:
            store: the store of this run; the groups are written there too, in chunks, for `Posterior.load` to read.
            groups: by ArviZ's names: `posterior_predictive`, `log_likelihood`, `prior`, `prior_predictive`, `predictions`,
                `constant_data`, …; each a mapping of draws, (chain, draw, *shape) or (draw, *shape), or a `Prediction`. A
                prediction as `prior` is divided: what is observed here goes to `prior_predictive`. `constant_data` is any
                arrays.

        Raises:
            ExportError: a group that ArviZ does not know, or draws that are none.
            StorageError: the store is not one of a run, or has such a group already.

        Example:
            >>> import sursum as su, sursum.distributions as dist, torch
            >>> def model(y=None):
            ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
            ...     with su.plate("data", 3):
            ...         return su.sample("y", dist.Normal(mu, 1.0), obs=y)
            >>> mcmc = su.infer.MCMC(su.infer.NUTS(model), seed=0, progress=False)
            >>> posterior = mcmc.run(torch.tensor([0.1, 0.2, 0.3]))
            >>> prior = su.infer.Predictive(model, num_samples=200, seed=0)()
            >>> whole = posterior.with_groups(posterior_predictive=posterior.predict(seed=0), prior=prior)
            >>> {group: list(sites) for group, sites in whole.groups.items()}
            {'posterior_predictive': ['y'], 'prior': ['mu'], 'prior_predictive': ['y']}
        """
        found = add_groups(groups, self.sites, self.observed)
        if store is not None:
            run_store.append_groups(store, {group: numpy_of(values) for group, values in found.items()}, self.dims)
        return replace(self, groups={**self.groups, **found})

    def to_arviz(
        self,
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        log_likelihood: bool = False,
        log_prior: bool = False,
    ) -> Any:
        """For ArviZ: an `InferenceData` if ArviZ 0.x is installed, an `xarray.DataTree` if it is 1.x.

        The groups are posterior, sample_stats, warmup_posterior, warmup_sample_stats, observed_data, and those of
        `with_groups`. Dimensions have the names of the program's plates.

        Args:
            coords: labels for the elements along a dimension: `coords={"county": names}`. Without any, a plate has the
                labels of this posterior's `coords`, in all groups but those of predictions for other data.
            dims: names of dimensions for arrays that are not in a plate: `dims={"x": ["house"]}`.
            log_likelihood: also compute that group if it is missing: `arviz.loo` and `arviz.compare` need it.
            log_prior: likewise: ArviZ's analysis of prior sensitivity needs both.

        Raises:
            ExportError: labels for a dimension that does not exist, or the wrong number of them.
            PredictionError: the log-likelihood or log prior is requested, but the posterior has no program.
        """
        groups: dict[str, Mapping[str, NDArray[Any]]] = {"posterior": numpy_of(self.sites), "sample_stats": self.stats}
        if all(shape_of(self.warmup.sites, name)[1] for name in self.warmup):
            groups |= {"warmup_posterior": numpy_of(self.warmup.sites), "warmup_sample_stats": self.warmup.stats}
        groups["observed_data"] = numpy_of(self.observed)
        groups |= {group: numpy_of(values) for group, values in self.groups.items()}
        if log_likelihood and "log_likelihood" not in groups:
            groups["log_likelihood"] = numpy_of(self.log_likelihood())
        if log_prior and "log_prior" not in groups:
            groups["log_prior"] = numpy_of(self.log_prior())
        return arviz.inference_data(groups, plates=self.dims, labels=self.coords, dims=dims or {}, coords=coords or {})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file (NumPy's `.npz`, no pickles), all or nothing. `Posterior.load` reads it.

        Raises:
            StorageError: the path has the suffix of a different format, or the file system reports an error; an existing
                file is unchanged.
        """
        instead = {".nc": "write `posterior.to_arviz().to_netcdf(path)`", ".zarr": "run with `store=path`"}
        npz.check_suffix(path, instead)
        note = note_of(self) | {"warnings": self.warnings, "pareto_k": self.pareto_k, "notes": self.notes}
        saving.write(path, self, self.warmup, observed=self.observed, groups=self.groups, buffers=self.buffers, note=note)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, sites: Iterable[str] | None = None) -> Self:
        """The posterior that `save` wrote, bit for bit, or that a run with `store=path` has written so far.

        A run may be unfinished or still running: the posterior has the complete draws, as many per chain as the shortest
        chain has, and its first warning says how far each chain got. Nothing in the file is executed.

        Draws in a store are lazy: a site is read on access, so that memory holds only what is used. `unconstrained` is an
        array that reads only the parts that are indexed. Copies and pickles hold the draws themselves.

        Args:
            path: a file of `save`, or the folder of a store.
            sites: names of the sites to read; all of them if None.

        Raises:
            MissingFileError: nothing is at `path`.
            StorageError: the file is truncated, damaged, or something else, or the file system refuses.
            StorageError: no draw, or no such site, is in it.
        """
        with interpreting(path, "a posterior written by `save` or by a run with `store`"):
            return cls(**saving.read(path, sites))

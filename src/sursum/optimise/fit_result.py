"""`FitResult`: the result of `Fit` by name, with standard errors; and the program that starts there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.other_libraries import refuse_name
from sursum.common.site_names import no_site
from sursum.common.tables import Shown
from sursum.compiler.compiled import CompiledDensity
from sursum.core.messages import Param, Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.draws.diagnostics import element_name
from sursum.errors import CallError
from sursum.handlers import ParamStore
from sursum.handlers.buffers import StartingBuffers
from sursum.io import npz
from sursum.io.files import interpreting
from sursum.optimise.curvature import Curvature, curvature
from sursum.optimise.evaluator import evaluator
from sursum.optimise.size import LARGEST, check_size

Array = NDArray[np.float64]

_KIND = "sursum fit"
_VERSION = 1
_MOVE = 1e-4
_LIMIT = 12
_SHOWN = 100
"""The largest number of values for which showing a fit computes standard errors."""


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Mapping[str, Tensor], Shown):
    """A maximum of a program's log density: a mapping from names to values.

    Args:
        sites: parameters and latent sites at the maximum, then deterministic ones.
        fitted: the names of those that were optimised.
        params: the parameters (without the latent sites) in a `ParamStore`: ``with fit.params: model(x)`` runs the fitted
            program, and it starts an `SVI`.
        program: the program with its own values replaced by the fitted ones: ``lift(fit.program, prior)`` starts there.
        log_density: the maximum, float64. With minibatches the mean over the last tenth of the steps.
        converged: whether a maximum was reached.
        message: how the optimiser ended, in plain words.
        num_steps: the number of steps taken.
        unconstrained: the maximum in unconstrained coordinates, float64 (n,).
        density: the log density that was maximised; None where the program subsamples or cannot be compiled.
        buffers: what layers in training mode have written, such as running averages, by name; `program` has them.
        engine: what computed the gradients of the steps: "native", "torch" or "eager", as the setting of `Fit` has them.

    A fit can be used wherever an `init` is taken. Pickled, it keeps all but the density, as `save` does.
    """

    sites: Mapping[str, Tensor]
    fitted: tuple[str, ...]
    params: ParamStore
    program: Callable[..., Any]
    log_density: float
    converged: bool
    message: str
    num_steps: int
    unconstrained: Array
    density: CompiledDensity | None
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    engine: str | None = None

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.sites[name]
        except KeyError:
            raise no_site(name, self.sites, "this fit") from None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """For an attribute that does not exist, say what to write instead."""
            sites = self.__dict__.get("sites", {})
            refuse_name(self, name, {site: f"sites are read by name, `fit[{site!r}]`" for site in sites})

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: everything but the density, which is compiled code of this process."""
        return {**self.__dict__, "density": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write values, parameters, buffers and how the fit ended to one file (NumPy's `.npz`, no pickles), all or nothing.

        Standard errors are written if they have been computed. The density is not: `load` gives a fit without one.

        Raises:
            StorageError: the file system reports an error, or the suffix is that of another format.
        """
        npz.check_suffix(path, {})
        errors: Mapping[str, Tensor] = self.__dict__.get("standard_errors", {})
        tensors = {f"site/{name}": value for name, value in self.sites.items()}
        tensors |= {f"value/{name}": value for name, value in self.params.state_dict().items()}
        tensors |= {f"free/{name}": leaf for name, leaf in self.params.unconstrained.items()}
        tensors |= {f"error/{name}": value for name, value in errors.items()}
        tensors |= {f"buffer/{name}": value for name, value in self.buffers.items()}
        note = {
            "fitted": list(self.fitted),
            "dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()},
            "log_density": self.log_density,
            "converged": self.converged,
            "message": self.message,
            "num_steps": self.num_steps,
            "engine": self.engine,
        }
        arrays = {"unconstrained": self.unconstrained, **{name: npz.as_array(tensor) for name, tensor in tensors.items()}}
        npz.write(path, _KIND, _VERSION, note, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: Callable[..., Any] | None = None) -> FitResult:
        """The fit in a file that `save` wrote, without its density. Nothing in the file is executed.

        Args:
            model: the program that was fitted, for `program`; without it that raises an error.

        Raises:
            StorageError: the file is damaged or of a different kind.

        Example:
            >>> import sursum as su, sursum.distributions as dist, tempfile, torch
            >>> def model():
            ...     su.sample("y", dist.Normal(su.param("mu", torch.tensor(0.0)), 1.0), obs=torch.tensor(2.0))
            >>> path = tempfile.mkdtemp() + "/fit.npz"
            >>> su.infer.Fit(model).run().save(path)
            >>> float(su.infer.FitResult.load(path, model)["mu"])
            2.0
        """
        note, arrays = npz.read(path, _KIND, _VERSION)
        with interpreting(path, "a fit written by `save`"):
            every = {name: npz.as_tensor(array, note["dtypes"].get(name, "")) for name, array in arrays.items()}

            def of(kind: str) -> dict[str, Tensor]:
                return {name.removeprefix(kind): tensor for name, tensor in every.items() if name.startswith(kind)}

            sites, values, free = of("site/"), of("value/"), of("free/")
            store = ParamStore()
            store.waiting.update({name: (free[name], values[name]) for name in free})
            buffers = of("buffer/")
            store.buffers.update(buffers)
            program = with_buffers(started(_absent if model is None else model, values=sites), buffers)
            found = cls(
                sites,
                tuple(note["fitted"]),
                store,
                program,
                float(note["log_density"]),
                bool(note["converged"]),
                str(note["message"]),
                int(note["num_steps"]),
                arrays["unconstrained"],
                None,
                buffers,
                note.get("engine"),
            )
        errors = of("error/")
        if errors:
            found.__dict__["standard_errors"] = errors
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    @cached_property
    def standard_errors(self) -> Mapping[str, Tensor]:
        r"""The standard error of every value, float64, by name; NaN where there is none.

        With A the negative Hessian of the log density in the unconstrained coordinates q, and x(q) the values,
        the delta method gives

        .. math:: \mathrm{se}(x)^2 = \mathrm{diag}\!\left(\frac{dx}{dq} A^{-1} \frac{dx}{dq}^T\right),

        including deterministic sites. They are computed on first access, by 6 n gradients, for at most 8,000 values; showing a
        fit of more than a hundred does not compute them. There are none if the program subsamples or cannot be compiled, or if
        the log density has no strict maximum at the fit (see
        `undetermined`).

        Raises:
            OptimisationError: there are more than 8,000 values.
        """
        wanted = {name: value for name, value in self.sites.items() if value.is_floating_point()}
        bend = self._bend
        if bend is None or self.density is None or not bend.definite:
            return {name: torch.full(value.shape, torch.nan, dtype=torch.float64) for name, value in wanted.items()}
        moves = _MOVE * bend.factor.T
        there = self.density.expand(np.concatenate([self.unconstrained + moves, self.unconstrained - moves]))
        errors = {}
        for name in wanted:
            ahead, behind = there[name].split(len(moves))
            errors[name] = ((ahead - behind) / (2 * _MOVE)).square().sum(0).sqrt()
        return errors

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The names of sites that the log density does not determine: along them it has no strict maximum at the fit."""
        bend = self._bend
        if bend is None or self.density is None or bend.definite:
            return ()
        return tuple(dict.fromkeys(self.density.density.site_at(i) for i in bend.flat()))

    @cached_property
    def _bend(self) -> Curvature | None:
        if self.density is None:
            return None
        check_size(len(self.unconstrained))
        return curvature(evaluator(self.density), self.unconstrained)

    def __str__(self) -> str:
        rows = [("", "value", "standard error"), *self._rows()]
        widths = [max(len(row[i]) for row in rows if len(row) > i) for i in range(3)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=False))]).rstrip()
            for row in rows
        ]
        by = "" if self.engine is None else f" by the {self.engine} engine"
        notes = [f"log density {self.log_density:.6g}{by}. {self.message}"]
        if not self._told:
            n = len(self.unconstrained)
            notes.append(
                f"Standard errors of {n} values take {6 * n} gradients: `fit.standard_errors` computes them."
                if n <= LARGEST
                else f"There are no standard errors of {n} values: their matrix would take {8e-9 * n * n:.3g} GB."
            )
        elif self.undetermined:
            notes.append(
                f"No standard errors: the log density has no strict maximum in {', '.join(map(repr, self.undetermined))}."
            )
        return "\n".join([*lines, "", *notes])

    __repr__ = __str__

    @property
    def _told(self) -> bool:
        """Whether standard errors are shown: those of few values, or that are there already."""
        return len(self.unconstrained) <= _SHOWN or "standard_errors" in self.__dict__

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name, value in self.sites.items():
            errors = self.standard_errors.get(name) if self._told else None
            places = list(np.ndindex(*value.shape))
            shown = places if len(places) <= _LIMIT else [*places[: _LIMIT - 2], None, places[-1]]
            for place in shown:
                if place is None:
                    yield (f"… {len(places) - _LIMIT + 1} more",)
                    continue
                error = float("nan") if errors is None else float(errors[place])
                yield (element_name(name, place), f"{float(value[place]):.4g}", "-" if np.isnan(error) else f"{error:.2g}")


def _absent(*args: Any, **kwargs: Any) -> NoReturn:
    raise CallError("this fit was loaded without its program: FitResult.load(path, model) takes it.")


def with_buffers(program: Callable[..., Any], buffers: Mapping[str, Tensor]) -> Callable[..., Any]:
    """The program with other buffers of its networks, if there are any."""
    return StartingBuffers(program, held=dict(buffers)) if buffers else program


@handler
class started(Messenger):
    """A program whose parameters and latent sites start at values other than its own."""

    values: Mapping[str, Tensor] = required()

    def handle(self, site: Site) -> Any:
        held = self.values.get(site.name)
        if held is not None and isinstance(site, Param) and site.value is None:
            site = site.but(initial=held)
        elif held is not None and isinstance(site, Sample) and not site.is_observed:
            site = site.but(init=held)
        return perform(site)

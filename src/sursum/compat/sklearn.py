"""scikit-learn estimators for lifted networks: `fit`, `predict`, and intervals that come from a posterior.

Needs scikit-learn, `pip install sursum[sklearn]`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import MissingPackageError, OptionError


def _part(name: str) -> Any:
    try:
        return import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingPackageError(
            "`sursum.compat.sklearn` needs scikit-learn, which is not installed: `pip install 'sursum[sklearn]'`."
        ) from error


base, multiclass, validation = _part("base"), _part("utils.multiclass"), _part("utils.validation")

Array = NDArray[np.float64]
Net = nn.Module | Callable[[int, int], nn.Module] | None

METHODS = ("nuts", "laplace", "pathfinder")


class _Estimator(base.BaseEstimator):  # type: ignore[name-defined,misc]
    """What both have: a network whose parameters are lifted, on standardised inputs."""

    def __init__(
        self,
        net: Net = None,
        prior: Any = None,
        *,
        method: str = "nuts",
        num_samples: int = 1000,
        num_warmup: int = 1000,
        num_chains: int = 4,
        random_state: int | None = None,
    ) -> None:
        self.net = net
        self.prior = prior
        self.method = method
        self.num_samples = num_samples
        self.num_warmup = num_warmup
        self.num_chains = num_chains
        self.random_state = random_state

    def _begin(self, x: Array, outputs: int) -> Tensor:
        """Prepare the network for these inputs, and standardise them."""
        if self.method not in METHODS:
            raise OptionError(f"`method` is {self.method!r}, but must be one of {', '.join(map(repr, METHODS))}.")
        self.x_mean_, self.x_scale_ = x.mean(0), x.std(0)
        self.x_scale_[self.x_scale_ == 0.0] = 1.0
        self.net_ = self._network(x.shape[1], outputs)
        return self._inputs(x)

    def _network(self, features: int, outputs: int) -> nn.Module:
        if self.net is None:
            net: Any = nn.Linear(features, outputs)
            for parameter in net.parameters():
                nn.init.zeros_(parameter)
        elif isinstance(self.net, nn.Module):
            net = deepcopy(self.net)
        else:
            net = self.net(features, outputs)
        if not isinstance(net, nn.Module):
            raise OptionError(
                f"`net` gives {type(net).__name__}, but must be a torch module, a function (features, outputs) that returns "
                "one, or None for a linear model."
            )
        found: nn.Module = net.double()
        return found

    def _inputs(self, x: Array) -> Tensor:
        standard = (x - self.x_mean_) / self.x_scale_
        return torch.from_numpy(standard)

    def _sample(self, program: Callable[..., Any], priors: dict[str, Any], *data: Tensor) -> None:
        """Draw from the posterior of the program with the network's parameters lifted."""
        prior = su.priors.fan_in() if self.prior is None else self.prior
        lifted = su.lift(program, {**priors, "net.**": prior})
        seed = None if self.random_state is None else int(self.random_state)
        if self.method == "laplace":
            self.posterior_ = su.infer.Laplace(lifted, num_samples=self.num_samples, seed=seed).run(*data)
        elif self.method == "pathfinder":
            self.posterior_ = su.infer.Pathfinder(lifted, num_samples=self.num_samples, seed=seed).run(*data)
        else:
            self.posterior_ = su.infer.MCMC(
                su.infer.NUTS(lifted),
                num_warmup=self.num_warmup,
                num_samples=self.num_samples,
                num_chains=self.num_chains,
                seed=seed,
                progress=False,
            ).run(*data)

    def _outputs(self, x: Array) -> Array:
        """The network's outputs at all draws, (draw, row, output)."""
        nets = self.posterior_.module("net", self.net_)
        with torch.no_grad():
            found: Array = nets(self._inputs(x)).numpy()
        return found.reshape(len(found), len(x), -1)


class SursumRegressor(base.RegressorMixin, _Estimator):  # type: ignore[name-defined,misc]
    r"""Regression with a lifted network, or a linear model: the posterior in place of one set of weights.

    .. math:: y_i \sim N(f_w(x_i), \sigma), \qquad w \sim p(w), \qquad \sigma \sim N^+(1)

    on standardised inputs and targets; predictions are on the original scale.

    Args:
        net: a torch module from (row, feature) to (row, 1), a function (features, outputs) that returns one, or None for a
            linear model. It is copied, and becomes float64.
        prior: as for `su.lift`, of the network's parameters; None is `su.priors.fan_in()`.
        method: "nuts", "laplace" or "pathfinder".
        num_samples: draws of each chain, or of the approximation.
        num_warmup, num_chains: of NUTS.
        random_state: an integer of at least 0; None takes one from torch's global generator.

    Attributes:
        posterior_: the `Posterior`, with sites "net.…" and "sigma", in standardised units.
        net_: the network that was lifted.

    Raises:
        OptionError: a method that does not exist, or a `net` that is not a module.
        MissingPackageError: scikit-learn is not installed.

    Example:
        >>> import numpy as np
        >>> from sursum.compat.sklearn import SursumRegressor
        >>> x = np.linspace(0.0, 1.0, 40)[:, None]
        >>> y = 3.0 * x[:, 0] + 1.0 + 0.1 * np.random.default_rng(0).normal(size=40)
        >>> model = SursumRegressor(method="laplace", random_state=0).fit(x, y)
        >>> mean, std = model.predict([[0.5]], return_std=True)
        >>> bool(abs(mean[0] - 2.5) < 0.1), bool(0.08 < std[0] < 0.14)
        (True, True)
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803, the names are scikit-learn's
        """Sample the posterior given rows of features (row, feature) and targets (row,)."""
        X, y = validation.validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)  # noqa: N806
        y = np.asarray(y, dtype=np.float64)
        x = self._begin(X, 1)
        self.y_mean_, self.y_scale_ = float(y.mean()), float(y.std()) or 1.0

        def program(x: Tensor, y: Tensor) -> None:
            sigma = su.param("sigma", torch.tensor(0.5, dtype=torch.float64), constraint=dist.constraints.positive)
            outputs = su.module("net", self.net_)(x).reshape(len(x))
            with su.plate("rows", len(x)):
                su.sample("y", dist.Normal(outputs, sigma), obs=y)

        self._sample(program, {"sigma": dist.HalfNormal(1.0)}, x, torch.from_numpy((y - self.y_mean_) / self.y_scale_))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """The mean of the posterior predictive distribution, (row,), and with `return_std` its standard deviation."""
        validation.check_is_fitted(self)
        X = validation.validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        outputs = self._outputs(X)[:, :, 0]
        mean = self.y_mean_ + self.y_scale_ * outputs.mean(0)
        if not return_std:
            return mean
        noise = float((self.posterior_["sigma"] ** 2).mean())
        return mean, self.y_scale_ * np.sqrt(outputs.var(0) + noise)


class SursumClassifier(base.ClassifierMixin, _Estimator):  # type: ignore[name-defined,misc]
    r"""Classification with a lifted network, or a linear model: probabilities averaged over the posterior.

    .. math:: y_i \sim \mathrm{Categorical}(\mathrm{softmax}\, f_w(x_i)), \qquad w \sim p(w)

    on standardised inputs.

    Args:
        net: a torch module from (row, feature) to (row, class), a function (features, outputs) that returns one, or None for a
            linear model. It is copied, and becomes float64.
        prior, method, num_samples, num_warmup, num_chains, random_state: as for `SursumRegressor`.

    Attributes:
        classes_: the labels.
        posterior_, net_: as for `SursumRegressor`.

    Raises:
        OptionError: a method that does not exist, or a `net` that is not a module.
        MissingPackageError: scikit-learn is not installed.

    Example:
        >>> import numpy as np
        >>> from sursum.compat.sklearn import SursumClassifier
        >>> x = np.random.default_rng(0).normal(size=(80, 1))
        >>> model = SursumClassifier(method="laplace", random_state=0).fit(x, np.where(x[:, 0] > 0, "yes", "no"))
        >>> model.predict([[-2.0], [2.0]]).tolist(), model.predict_proba([[0.0]]).shape
        (['no', 'yes'], (1, 2))
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Sample the posterior given rows of features (row, feature) and labels (row,) of any kind."""
        X, y = validation.validate_data(self, X, y, dtype=np.float64)  # noqa: N806
        multiclass.check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("Classifier can't train when only one class is present.")  # as scikit-learn's own say it
        x = self._begin(X, len(self.classes_))

        def program(x: Tensor, y: Tensor) -> None:
            logits = su.module("net", self.net_)(x)
            with su.plate("rows", len(x)):
                su.sample("y", dist.Categorical(logits=logits), obs=y)

        self._sample(program, {}, x, torch.from_numpy(labels))
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The posterior predictive probability of each class, (row, class)."""
        validation.check_is_fitted(self)
        X = validation.validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        logits = torch.from_numpy(self._outputs(X))
        found: Array = torch.softmax(logits, -1).mean(0).numpy()
        return found

    def predict(self, X: Any) -> Any:  # noqa: N803
        """The most probable label of each row."""
        chosen = self.predict_proba(X).argmax(1)
        return self.classes_[chosen]

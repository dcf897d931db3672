"""Chains that are cut short and go on from their checkpoint: bit for bit those of a run that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import SamplingError, StorageError
from sursum.infer import SGHMC, SGLD, SGMCMC, SGNHT
from sursum.networks.chains import Chains

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
Y = X.sum(1)


def subsampling(x: Tensor, y: Tensor) -> None:
    w = su.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with su.plate("data", len(y), subsample_size=6) as rows:
        su.sample("y", dist.Normal(x[rows] @ w, 1.0), obs=y[rows])


def normalised() -> su.lift:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(f, 1.0), obs=y)

    return su.lift(program, dist.Normal(0.0, 1.0))


def loader(own: bool) -> Any:
    generator = torch.Generator().manual_seed(3) if own else None
    return DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True, generator=generator)


RUNS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "together": (SGHMC(subsampling, 0.05, precondition=True), lambda: (X, Y), {"num_chains": 3, "jitter": 0.1}),
    "in turn": (SGNHT(normalised(), 0.01), lambda: (loader(False),), {"num_chains": 2, "together": False}),
    "cycles": (SGLD(normalised(), 0.01), lambda: (loader(True),), {"num_chains": 2, "cycles": 2, "together": False}),
}


def cut_short(run: SGMCMC, data: tuple[Any, ...], after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends in the middle of a step."""
    plain, taken = Chains.step, 0

    def step(self: Chains, *args: Any, **kwargs: Any) -> None:
        nonlocal taken
        if taken == after:
            raise KeyboardInterrupt
        taken += 1
        plain(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Chains, "step", step)
        with pytest.raises(KeyboardInterrupt):
            run.run(*data)


def check_equal(one: su.Posterior, other: su.Posterior) -> None:
    assert (one.unconstrained == other.unconstrained).all()
    assert (one.stats["lp"] == other.stats["lp"]).all()
    assert one.buffers.keys() == other.buffers.keys()
    assert all(torch.equal(value, other.buffers[name]) for name, value in one.buffers.items())


@pytest.mark.parametrize(("which", "after"), [("together", 5), ("in turn", 21), ("cycles", 19)])
def test_a_run_that_was_cut_short_equals_one_that_was_not(
    which: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamics, data, options = RUNS[which]
    path = tmp_path / "run.npz"
    settings: dict[str, Any] = {"num_samples": 4, "num_warmup": 6, "thinning": 2, "exploration": 0.5, **options}
    whole = SGMCMC(dynamics, seed=5, **settings).run(*data())
    cut_short(SGMCMC(dynamics, seed=5, checkpoint=path, checkpoint_every=4, **settings), data(), after, monkeypatch)
    again = SGMCMC(dynamics, checkpoint=path, **settings)  # its seed is in the file
    check_equal(again.resume(path, *data()), whole)
    if which == "together":
        check_equal(again.resume(path, *data()), whole)  # now the file has all draws


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    run = SGMCMC(SGLD(subsampling, 0.01), num_samples=2, num_warmup=1, num_chains=1, seed=0, checkpoint=path)
    run.run(X, Y)
    with pytest.raises(SamplingError, match="written by a run with num_samples=2, and here it is 3"):
        SGMCMC(SGLD(subsampling, 0.01), num_samples=3, num_warmup=1, num_chains=1).resume(path, X, Y)
    with pytest.raises(SamplingError, match="a run with step_size=0.01, and here it is 0.02"):
        SGMCMC(SGLD(subsampling, 0.02), num_samples=2, num_warmup=1, num_chains=1).resume(path, X, Y)
    with pytest.raises(SamplingError, match=r"a run with sites={'w': \[2\]}, and here it is {'net"):
        SGMCMC(SGLD(normalised(), 0.01), num_samples=2, num_warmup=1, num_chains=1).resume(path, X, Y)
    with pytest.raises(StorageError, match="SWAG"):
        su.infer.SWAG(subsampling, su.optim.SGD(lr=0.1)).resume(path, X, Y)
    once = {"num_samples": 2, "num_warmup": 1, "num_chains": 1}
    for data in ((X, Y + 100.0), (X, Y.double()), (X[:20], Y[:20])):
        with pytest.raises(SamplingError, match=r"run\.npz' was written by a run with other data"):
            SGMCMC(SGLD(subsampling, 0.01), **once).resume(path, *data)
    with pytest.raises(SamplingError, match="`checkpoint` is 3, but must be the path of a file"):
        SGMCMC(SGLD(subsampling, 0.01), checkpoint=3)  # type: ignore[arg-type]


def test_the_data_of_a_loader_are_compared(tmp_path: Path) -> None:
    path, once = tmp_path / "run.npz", {"num_samples": 2, "num_warmup": 1, "num_chains": 1}
    dynamics, held = SGLD(normalised(), 0.01), TensorDataset(X, Y)
    SGMCMC(dynamics, seed=0, checkpoint=path, **once).run(DataLoader(held, batch_size=7))
    again = SGMCMC(dynamics, **once)
    shifted = TensorDataset(X, Y + torch.eye(24)[23])  # in the last row alone
    for other, size in ((shifted, 7), (Subset(held, [*range(23), 0]), 7), (list(zip(X, Y, strict=True)), 7), (held, 6)):
        with pytest.raises(SamplingError, match=r"run\.npz' was written by a run with other data"):
            again.resume(path, DataLoader(other, batch_size=size))  # type: ignore[arg-type]
    assert again.resume(path, DataLoader(TensorDataset(X.clone(), Y.clone()), batch_size=7)).num_samples == 2


def test_batches_of_other_lengths_are_no_other_data(tmp_path: Path) -> None:
    """Sequences that are padded to the longest of a batch, in an order that a loader of the user's chooses each time."""
    rows, orders = [torch.ones(3 + k) for k in range(8)], iter([range(8), range(7, -1, -1)] * 9)

    class Shuffled:
        def __iter__(self):
            order = list(next(orders))
            return iter([order[k : k + 2] for k in range(0, 8, 2)])

        def __len__(self):
            return 4

    def model(batch: torch.Tensor) -> None:
        loc = su.sample("loc", dist.Normal(0.0, 1.0))
        su.factor("seen", -(batch.mean(1) - loc).square().sum())

    pad = lambda batch: torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
    loader = lambda: DataLoader(rows, batch_sampler=Shuffled(), collate_fn=pad)  # type: ignore[arg-type]
    path, settings = tmp_path / "run.npz", {"num_samples": 2, "num_warmup": 1, "num_chains": 1}
    SGMCMC(SGLD(model, 0.01), seed=0, checkpoint=path, **settings).run(loader())
    assert SGMCMC(SGLD(model, 0.01), **settings).resume(path, loader()).num_samples == 2


@pytest.mark.parametrize("engine", ["torch", "eager"])
def test_a_run_goes_on_with_its_engine(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the rule would take another one."""
    path, settings = tmp_path / "run.npz", {"num_samples": 4, "num_warmup": 6, "num_chains": 1}
    dynamics = SGLD(subsampling, 0.05)
    whole = SGMCMC(dynamics, seed=5, engine=engine, **settings).run(X, Y)
    cut_short(SGMCMC(dynamics, seed=5, engine=engine, checkpoint=path, checkpoint_every=4, **settings), (X, Y), 5, monkeypatch)
    monkeypatch.setattr("sursum.training.work.FEWEST", 1)
    again = SGMCMC(dynamics, **settings).resume(path, X, Y)
    assert again.engine == engine
    check_equal(again, whole)
    with pytest.raises(SamplingError, match=f"a run with engine='{engine}', and here it is 'native'"):
        SGMCMC(dynamics, engine="native", **settings).resume(path, X, Y)

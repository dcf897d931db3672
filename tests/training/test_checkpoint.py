"""Checkpoints: where their file can lie is known before the first step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptimisationError, SamplingError, SursumError, VariationalError
from sursum.training.checkpoint import check_checkpoint


def model() -> None:
    su.sample("z", dist.Normal(0.0, 1.0))


METHODS: dict[type[SursumError], Any] = {
    SamplingError: lambda path: su.infer.SGMCMC(su.infer.SGLD(model, 0.1), checkpoint=path),
    OptimisationError: lambda path: su.infer.SWAG(model, su.optim.SGD(lr=0.1), checkpoint=path),
    VariationalError: lambda path: su.infer.SVI(
        model, su.infer.autoguide.AutoNormal(model), su.optim.Adam(lr=0.1), checkpoint=path
    ),
}


@pytest.mark.parametrize("error", METHODS, ids=lambda error: error.__name__)
def test_a_folder_that_does_not_exist(error: type[SursumError], tmp_path: Path) -> None:
    with pytest.raises(error, match=r"but the folder '.*nope' does not exist: create it first"):
        METHODS[error](tmp_path / "nope" / "run.npz")
    with pytest.raises(error, match="but that is a folder"):
        METHODS[error](tmp_path)
    METHODS[error](tmp_path / "run.npz")


def test_a_folder_that_is_not_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (str(path), mode) != (str(tmp_path), os.W_OK))
    with pytest.raises(SamplingError, match="cannot be written: give another folder"):
        check_checkpoint(tmp_path / "run.npz", 10, SamplingError)


def test_names_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_checkpoint("run.npz", 10, SamplingError) == 10
    assert check_checkpoint(None, 10, SamplingError) == 10

"""Functions that became classes of settings say how the caller's own call is written now."""

import pytest
import torch

import sursum as su
from sursum.common.moved import stand_for
from sursum.errors import MissingNameError, SursumError


def model(x, y=None):
    return x


X, MORE = torch.zeros(3), {"seed": 1}

ROWS = [
    (lambda: su.infer.fit(model, X), "su.infer.Fit(model).run(X)"),
    (
        lambda: su.infer.fit(model, X, y=X + 1, optim=su.optim.Adam({"lr": 0.1}), num_steps=20),
        "su.infer.Fit(model, optim=su.optim.Adam({'lr': 0.1}), num_steps=20).run(X, y=X + 1)",
    ),
    (lambda: su.infer.fit(model, X, **MORE), "su.infer.Fit(model).run(X, **MORE)"),
    (lambda: su.infer.fit(model=model), "su.infer.Fit(model).run()"),
    (lambda: su.infer.laplace(model, X, seed=3, jitter=2), "su.infer.Laplace(model, seed=3).run(X, jitter=2)"),
    (
        lambda: su.infer.sbc(model, X, kwargs={"y": X}, num_draws=9, fitted=model),
        "su.infer.SBC(model, max_rank=9, fitted=model).run(X, **{'y': X})",
    ),
    (
        lambda: su.infer.fit(
            model,
            torch.tensor(
                [1.0, 2.0]
            ),
        ),
        "su.infer.Fit(model).run(torch.tensor([1.0, 2.0]))",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "instead"), ROWS, ids=[row[1] for row in ROWS])
def test_the_new_call_has_the_callers_arguments(call, instead):
    with pytest.raises(MissingNameError) as caught:
        call()
    assert isinstance(caught.value, SursumError)
    assert str(caught.value).endswith(f"is now a class of settings with `run`: write `{instead}`.")


def test_without_source_the_values_are_shown():
    fit = stand_for("fit", "Fit", ("seed", "optim"))
    with pytest.raises(MissingNameError, match=r"write `Fit\(model, seed=0\)\.run\(…, 3, name='y'\)`"):
        exec("fit(model, x, 3, name='y', seed=0)", {"fit": fit, "model": model, "x": X})
    with pytest.raises(MissingNameError, match=r"write `Fit\(…\)\.run\(\)`"):
        exec("fit()", {"fit": fit})


def test_the_old_names_can_be_imported_and_are_not_listed():
    from sursum.infer import fit

    assert fit.__doc__ == "A class of settings with `run` now: `Fit`."
    assert not {"fit", "laplace", "sbc"} & set(su.infer.__all__)

"""What a program is written with."""

import re
import sys

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import ObservationError, PlateError, SiteError, UnusedSiteWarning

P = su.poutine


def test_the_example_of_the_readme():
    def model(x):
        s = su.param("s", torch.tensor(0.5))
        z = su.sample("z", dist.Normal(x, s))
        return z**2

    tr = P.trace(P.substitute(model, data={"z": torch.tensor(3.0)})).get_trace(1.0)
    assert float(tr.result) == 9
    assert torch.allclose(tr.log_prob_sum(), torch.distributions.Normal(1.0, 0.5).log_prob(torch.tensor(3.0)))


def test_without_handlers_everything_just_runs():
    assert su.param("s", torch.tensor(0.5)) == 0.5
    assert su.deterministic("d", torch.tensor(2.0)) == 2
    assert su.factor("f", torch.tensor(-1.0)) is None
    assert su.sample("z", dist.Delta(torch.tensor(4.0))) == 4
    assert su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1.5)) == 1.5


def test_every_site_knows_its_line():
    with P.trace() as t:
        start = sys._getframe().f_lineno + 1
        su.sample("z", dist.Normal(0.0, 1.0))
        su.param("s", torch.tensor(0.5))
        su.deterministic("d", torch.tensor(2.0))
        su.factor("f", torch.tensor(-1.0))
    assert [t.trace[name].where for name in "zsdf"] == [f"test_primitives.py:{start + i}" for i in range(4)]


def test_a_folder_named_torch_is_not_torch(tmp_path):
    path = tmp_path / "torch" / "my_contextlib.py"
    path.parent.mkdir()
    path.write_text("import sursum as su, torch\n\n\ndef model():\n    return su.param('s', torch.tensor(1.0))\n")
    space = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    assert P.trace(space["model"]).get_trace()["s"].where == "my_contextlib.py:5"


@pytest.mark.parametrize("name", ["", None, 3, b"z"])
@pytest.mark.parametrize(
    "call",
    [
        lambda name: su.sample(name, dist.Normal(0.0, 1.0)),
        lambda name: su.param(name, torch.tensor(1.0)),
        lambda name: su.deterministic(name, torch.tensor(1.0)),
        lambda name: su.factor(name, torch.tensor(1.0)),
    ],
    ids=["sample", "param", "deterministic", "factor"],
)
def test_names_are_strings(call, name):
    with pytest.raises(SiteError, match=r"name must be a non-empty string, not .* \(test_primitives.py:\d+\)"):
        call(name)


# sample


@pytest.mark.parametrize(
    ("fn", "found"), [(dist.Normal, "the class Normal"), (3.0, "float 3.0"), (None, "NoneType None"), (lambda: 1, "function")]
)
def test_sample_needs_a_distribution(fn, found):
    with pytest.raises(SiteError, match=rf"site 'z' \(test_primitives.py:\d+\) needs a Distribution and got {found}"):
        su.sample("z", fn)


def test_infer_is_kept_and_copied():
    settings = {"colour": "red"}
    with P.trace() as t:
        su.sample("z", dist.Normal(0.0, 1.0), infer=settings)
    settings["colour"] = "blue"
    assert t.trace["z"].infer == {"colour": "red"}


def test_a_raw_torch_distribution_will_do():
    with P.trace() as t, su.plate("p", 3):
        su.sample("z", torch.distributions.Normal(0.0, 1.0))
    assert t.trace["z"].log_prob().shape == (3,)


def test_obs_none_leaves_a_site_latent():
    with P.trace() as t:
        su.sample("y", dist.Normal(0.0, 1.0), obs=None)
    assert t.trace.stochastic_nodes == ["y"]


# param


@pytest.mark.parametrize("init", [1, 1.0, True])
def test_numbers_become_parameters_of_the_default_dtype(init):
    value = su.param("s", init)
    assert value.dtype == torch.float32
    assert float(value) == 1


def test_a_lazy_parameter():
    assert su.param("s", lambda: torch.tensor(2.0)) == 2
    assert su.param("s", lambda: 3.0) == 3


@pytest.mark.parametrize("init", [[1.0, 2.0], "one", {"a": 1}])
def test_other_initial_values_are_refused(init):
    with pytest.raises(
        SiteError, match=rf"parameter 's' \(test_primitives.py:\d+\) is a {type(init).__name__}.*a tensor, a number, or"
    ):
        su.param("s", init)


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(SiteError, match="has no value: the program gives no initial value and no store has one"):
        su.param("s")


def test_a_parameter_starts_inside_its_constraint():
    with pytest.raises(SiteError, match=r"initial value of parameter 's' \(.*\) does not satisfy its constraint .*: -1.0"):
        su.param("s", torch.tensor(-1.0), constraint=constraints.positive)
    with su.enable_validation(False):
        assert su.param("s", torch.tensor(-1.0), constraint=constraints.positive) == -1


def test_a_parameter_keeps_its_gradient():
    leaf = torch.tensor(2.0, requires_grad=True)
    (su.param("s", leaf) ** 2).backward()
    assert leaf.grad == 4


def test_local_parameters_are_subsampled():
    values = torch.arange(10.0)
    with su.plate("data", 10, subsample=torch.tensor([7, 2])):
        assert su.param("local", values, event_dim=0).tolist() == [7, 2]
        assert su.param("global", values).tolist() == values.tolist()
        assert su.param("vector", torch.stack([values, -values], 1), event_dim=1).tolist() == [[7, -7], [2, -2]]
        assert su.param("one", torch.ones(4), event_dim=1).shape == (4,)


def test_a_parameter_of_which_plates_claim_only_a_part_is_refused():
    with (
        su.plate("data", 10),
        pytest.raises(
            PlateError, match=r"parameter 's' .* has batch shape \(4, 10\) .*'data' \(size 10, dim -1\).*must be a plate's"
        ),
    ):
        su.param("s", torch.zeros(4, 10), event_dim=0)


# deterministic and factor


def test_factors_in_plates_count_once_for_every_copy():
    with P.trace() as t, su.plate("data", 10, subsample=torch.tensor([1, 2])):
        su.factor("same", torch.tensor(-2.0))
        su.factor("each", torch.tensor([-1.0, -3.0]))
    assert t.trace["same"].log_prob().tolist() == [-10.0, -10.0]
    assert t.trace.log_prob_sum() == -20 - 20


def test_a_factor_that_does_not_fit_its_plates_is_refused():
    with (
        su.plate("data", 10),
        pytest.raises(PlateError, match=r"site 'f' .*plate 'data' of size 10.*its value has shape \(3,\)"),
    ):
        su.factor("f", torch.zeros(3))


def test_a_factor_may_be_a_number():
    assert P.trace(lambda: su.factor("f", -2.0)).get_trace().log_prob_sum() == -2


def test_a_deterministic_site_adds_nothing():
    with P.trace() as t, P.scale(scale=3.0), su.plate("p", 3):
        su.deterministic("d", torch.ones(3))
    assert t.trace.log_prob_sum() == 0
    assert [frame.name for frame in t.trace["d"].plates] == ["p"]


def test_observing_an_array_is_refused_with_the_remedy():
    with pytest.raises(ObservationError, match=r"given to site 'y' .* is a list. It must be a tensor: torch.as_tensor"):
        su.sample("y", dist.Normal(0.0, 1.0), obs=[1.0, 2.0])


@pytest.mark.parametrize("value", ["b", None, [1.0], {"x": 1.0}, print])
def test_what_is_no_number_is_no_deterministic_value_and_no_term(value):
    kind = re.escape(type(value).__name__)
    with pytest.raises(
        SiteError, match=rf"deterministic site 'a' \(test_primitives\.py:\d+\) is .*, an? {kind}\. A tensor or a n"
    ):
        su.deterministic("a", value)
    with pytest.raises(
        SiteError, match=rf"the term of the factor 'a' \(test_primitives\.py:\d+\) is .*, an? {kind}\. A tensor of"
    ):
        su.factor("a", value)


def test_a_complex_term_is_refused():
    with pytest.raises(
        SiteError, match=r"the term of the factor 'a' .*, a tensor of torch\.complex64\. A tensor of real numbers"
    ):
        su.factor("a", torch.tensor(1j))


@pytest.mark.parametrize("value", [True, 2, 0.5, np.float64(0.5), np.ones(3)])
def test_numbers_of_any_kind_are_kept(value):
    assert su.deterministic("a", value) is value


def test_complex_observations_are_refused_with_the_remedy():
    with pytest.raises(
        ObservationError, match=r"to site 'y' \(test_primitives\.py:\d+\) is complex \(torch\.complex64\).*value\.real"
    ):
        su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1j))


def test_a_setting_that_no_method_reads_is_said():
    with pytest.warns(UnusedSiteWarning, match=r"infer=\{'is_auxilary': …\}, which no method reads.*is_auxiliary"):
        su.sample("z", dist.Normal(0.0, 1.0), infer={"is_auxilary": True})

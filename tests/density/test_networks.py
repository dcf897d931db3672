"""Which parameters are weights whose units can change places."""

from __future__ import annotations

import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.density.networks import module_parameters, network_weights


class Kernel(nn.Module):
    """A module with parameters of its own beside a network, as in deep kernel learning."""

    def __init__(self) -> None:
        super().__init__()
        self.length_scale = nn.Parameter(torch.tensor(1.0))
        self.features = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


class MyLinear(nn.Linear):
    pass


def weights(net: nn.Module, prior: object = None) -> set[str]:
    lifted = su.lift(lambda: su.module("net", net), prior or dist.Normal(0.0, 1.0))
    return set(network_weights(su.trace(lifted).get_trace().nodes))


def test_layers_between_which_there_are_units():
    two = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    assert weights(two) == {"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"}
    assert weights(nn.Sequential(MyLinear(2, 3), MyLinear(3, 1, bias=False))) == {"net.0.weight", "net.0.bias", "net.1.weight"}
    assert weights(nn.GRU(2, 3)) == {"net.weight_ih_l0", "net.weight_hh_l0", "net.bias_ih_l0", "net.bias_hh_l0"}


def test_a_regression_has_none():
    assert weights(nn.Linear(3, 1)) == set()
    assert weights(nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Linear(3, 1))) == set()


def test_a_network_of_which_one_layer_is_lifted_is_a_regression():
    two = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    assert weights(two, {"net.2.**": dist.Normal(0.0, 1.0)}) == set()


def test_a_parameter_of_a_modules_own_is_a_quantity():
    found = weights(Kernel())
    assert "net.features.0.weight" in found
    assert "net.length_scale" not in found


def test_parameters_of_any_module_are_told_from_others():
    lifted = su.lift(lambda: (su.module("net", nn.Linear(1, 1)), su.param("s", torch.tensor(1.0))), dist.Normal(0.0, 1.0))
    assert module_parameters(su.trace(lifted).get_trace().nodes) == {"net.weight", "net.bias"}

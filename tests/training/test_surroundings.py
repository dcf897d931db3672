"""What a captured step must notice: numbers, flags and data that programs read from outside their arguments."""

import types
from collections import UserDict

import torch

from sursum.handlers import scale
from sursum.training.surroundings import Surroundings

BETA = 1.0
NET = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout())


class Settings:
    weight = 1.0

    def __init__(self):
        self.weight = 2.0
        self.data = torch.zeros(3)

    def program(self):
        return self.weight * BETA, NET


def test_nothing_has_changed_where_nothing_has():
    settings = Settings()
    seen = Surroundings(settings.program, scale(settings.program, scale=2.0))
    settings.program()
    assert not seen.changed()


def test_what_is_replaced_by_another_object_is_noticed():
    """A tuple, a distribution, a function: by which object it is, where a number would be compared."""
    settings = Settings()
    settings.pair, settings.fn, settings.table = (0.0, 1.0), torch.distributions.Normal(0.0, 1.0), {"inner": [1.0]}

    def program():
        return settings.pair, settings.fn, settings.table

    for change in (
        lambda: setattr(settings, "pair", (10.0, 1.0)),
        lambda: setattr(settings, "fn", torch.distributions.Normal(1.0, 1.0)),
        lambda: settings.table.update(inner=[2.0]),
        lambda: setattr(settings, "table", {"inner": [2.0]}),
    ):
        seen = Surroundings(program)
        assert not seen.changed()
        change()
        assert seen.changed()


def test_globals_attributes_flags_data_closures_and_handlers(monkeypatch):
    settings, numbers, rate = Settings(), [1.0, {"a": 1}], 0.1

    def closed():
        return rate, numbers

    wrapped = scale(closed, scale=2.0)

    def changes(change):
        seen = Surroundings(settings.program, wrapped)
        change()
        return seen.changed()

    assert changes(lambda: monkeypatch.setitem(globals(), "BETA", 2.0))
    assert changes(lambda: setattr(settings, "weight", 3.0))
    assert changes(lambda: settings.data.add_(1.0))
    assert changes(lambda: setattr(settings, "data", torch.ones(3)))
    assert changes(NET[1].eval)
    assert changes(lambda: numbers[1].update(a=2))
    assert changes(lambda: setattr(wrapped, "scale", 3.0))
    assert changes(lambda: numbers.append("b"))
    assert not changes(lambda: setattr(settings, "weight", float("3.0"))), "another object, and the same number"
    assert not changes(lambda: settings.__dict__.update(weight=settings.weight))
    rate = 0.2
    seen = Surroundings(closed)
    rate = 0.3
    assert seen.changed()
    NET[1].train()


class Snapshots(UserDict):
    def values(self):
        return iter(list(self.data.values()))


def test_a_mapping_whose_values_are_no_view():
    rates = Snapshots(beta=1.0)
    seen = Surroundings(lambda: rates["beta"])
    assert not seen.changed()
    rates["beta"] = 2.0
    assert seen.changed()


def test_the_code_of_libraries_is_not_followed():
    seen = Surroundings(torch.nn.functional.relu, types)
    assert not seen._places
    assert not seen._containers

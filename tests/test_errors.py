"""The tree of errors that the docstring draws is the tree of classes."""

import builtins
import inspect
import pickle
import re

import pytest

from sursum import errors

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


def drawn():
    """Child → parent as the docstring draws it: a class's parent is the nearest one to its left above it."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^(?:    )([│├└─\s]*)(\w+(?:Error|Warning))(?:\s{2,}|$)", line)
        if found:
            depth, name = len(found[1]), found[2]
            path = [(d, n) for d, n in path if d < depth]
            parents[name] = path[-1][1] if path else None
            path.append((depth, name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    ours = {cls.__name__ for cls in CLASSES}
    actual = {cls.__name__: next((base.__name__ for base in cls.__bases__ if base.__name__ in ours), None) for cls in CLASSES}
    assert drawn() == actual


def test_there_are_two_roots():
    assert [name for name, parent in drawn().items() if parent is None] == ["SursumError", "SursumWarning"]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_names_tell_errors_from_warnings(cls):
    if issubclass(cls, Warning):
        assert cls.__name__.endswith("Warning")
        assert issubclass(cls, errors.SursumWarning)
        assert issubclass(cls, UserWarning)
    else:
        assert cls.__name__.endswith("Error")
        assert issubclass(cls, errors.SursumError)
    assert inspect.getdoc(cls)
    assert cls.__name__ not in vars(builtins)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_one_can_be_sent_to_another_process(cls):
    again = pickle.loads(pickle.dumps(cls("site 'x'")))
    assert type(again) is cls
    assert str(again) == "site 'x'"


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (errors.SiteError, ValueError),
        (errors.PriorTypeError, TypeError),
        (errors.SamplingError, ValueError),
        (errors.StorageError, OSError),
        (errors.MissingFileError, FileNotFoundError),
        (errors.HandlerError, RuntimeError),
        (errors.CaptureError, RuntimeError),
    ],
)
def test_what_a_python_user_would_catch_catches_them(cls, expected):
    assert issubclass(cls, expected)


def test_files_are_a_branch_of_their_own():
    """Who catches what goes wrong with a run does not catch a full disk, and the other way round."""
    runs = (errors.SamplingError, errors.OptimisationError, errors.VariationalError, errors.PredictionError)
    for cls in (errors.StorageError, errors.MissingFileError):
        assert not issubclass(cls, (*runs, ValueError))
        assert not any(issubclass(run, cls) for run in runs)

"""What two ranks find by the scripts of several files, in one start of the processes: each imports torch first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.ranks import run_ranks


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """By file, of each rank, the last line that its script prints."""
    from tests.distributed import test_ranks, test_training_over_ranks

    scripts = {"ranks": test_ranks.FAST, "training": test_training_over_ranks.FAST}
    both = f"for script in {list(scripts.values())!r}:\n    exec(script, dict(globals()))\n    print('END')\n"
    ended = run_ranks(both, tmp_path_factory.mktemp("two"))
    assert [status for status, _, _ in ended] == [0, 0], "".join(error for _, _, error in ended)
    said = [out.split("\nEND\n") for _, out, _ in ended]
    return {name: [json.loads(parts[k].splitlines()[-1]) for parts in said] for k, name in enumerate(scripts)}

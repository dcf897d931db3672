"""Run a script on several ranks of gloo, in processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAD = """
import atexit, datetime, os, sys
import torch
import torch.distributed as td

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
limit = datetime.timedelta(seconds=120)
td.init_process_group("gloo", init_method="file://" + os.environ["MEET"], rank=rank, world_size=size, timeout=limit)
# gloo's threads are ended first: one that still listens when the interpreter goes may abort the process.
atexit.register(lambda: td.is_initialized() and td.destroy_process_group())
"""


def run_ranks(script: str, folder: Path, size: int = 2) -> list[tuple[int, str, str]]:
    """The exit status, output and errors of each rank."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(size), "MEET": str(folder / "meet")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HEAD + script],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, out, error) for process, (out, error) in zip(processes, said, strict=True)]

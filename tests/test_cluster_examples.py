"""What is submitted to clusters: scripts of SLURM and a job of KubeRay ask for what they should, and their programs run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import EXAMPLES, ROOT

FOLDER = EXAMPLES / "cluster"
SLURM = {
    "SLURM_JOB_NODELIST": "node[1-4]",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_CPUS_PER_TASK": "8",
    "SLURM_JOB_ID": "77",
    "SLURM_SUBMIT_DIR": "/home/me",
}


def _submitted(script: Path, folder: Path) -> str:
    """What a script has `srun` do, on nodes that are called node1 to node4."""
    for name, says in {"scontrol": r"printf 'node%s\n' 1 2 3 4", "srun": 'echo "$@"'}.items():
        (folder / name).write_text(f"#!/bin/bash\n{says}\n")
        (folder / name).chmod(0o755)
    environment = {**SLURM, "PATH": f"{folder}:/usr/bin:/bin"}
    ended = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    return ended.stdout.strip()


def test_slurm_starts_ray_on_every_node(tmp_path: Path) -> None:
    assert _submitted(FOLDER / "chains.sbatch", tmp_path) == (
        "--nodes=4 --ntasks=4 ray symmetric-run --address node1:6379 --min-nodes 4 --num-cpus 8 -- "
        "python examples/cluster/chains.py --address auto --store /home/me/chains.zarr"
    )


def test_slurm_starts_a_rank_a_core(tmp_path: Path) -> None:
    assert _submitted(FOLDER / "rows.sbatch", tmp_path) == (
        "torchrun --nnodes=4 --nproc-per-node=8 --rdzv-id=77 --rdzv-backend=c10d --rdzv-endpoint=node1:29500 "
        "examples/cluster/rows.py"
    )


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sbatch")), ids=lambda script: script.stem)
def test_a_script_of_slurm_asks_before_it_commands(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    commands = [k for k, line in enumerate(lines) if line and not line.startswith("#")]
    asked = {k: line for k, line in enumerate(lines) if line.startswith("#SBATCH ")}
    assert max(asked) < commands[0]  # SLURM reads no further
    assert {line.split()[1].split("=")[0] for line in asked.values()} >= {"--nodes", "--ntasks-per-node", "--cpus-per-task"}


def test_the_job_of_kuberay() -> None:
    yaml = pytest.importorskip("yaml")
    (job,) = yaml.safe_load_all((FOLDER / "chains.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    templates = [group["template"]["spec"] for group in groups]
    assert len({one["containers"][0]["image"] for one in templates}) == 1
    # The store is on a volume of the pods in which the script may run.
    store = re.search(r"--store (/\w+)/", job["spec"]["entrypoint"])
    assert store is not None
    (mounted,) = templates[0]["containers"][0]["volumeMounts"]
    assert mounted["mountPath"] == store[1]
    assert [volume["name"] for volume in templates[0]["volumes"]] == [mounted["name"]]
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert spec["rayVersion"] == pinned[1]


def _said(command: list[str], folder: Path) -> str:
    ended = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _means(summary: str) -> dict[str, float]:
    """The means in a printed summary, by name."""
    found = re.findall(r"^\W*([a-z]+(?:\[\d+\])?)\s+(-?\d[\d.]*)", summary, re.MULTILINE)
    return {name: float(mean) for name, mean in found}


@pytest.mark.slow
def test_chains_run_on_a_cluster_of_this_machine_and_go_on(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    said = _said([str(FOLDER / "chains.py"), "--chains", "2", "--draws", "1000"], tmp_path)
    assert 2.0 < _means(said)["mean"] < 7.0  # 4.4 with sd 3.3, by the published posterior


@pytest.mark.slow
def test_rows_are_divided_over_two_ranks(tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = _said([*launch, str(FOLDER / "rows.py"), "--rows", "2000", "--draws", "200"], tmp_path)
    means = _means(said)
    found = [means[f"slopes[{k}]"] for k in range(3)]
    np.testing.assert_allclose(found, [0.5, -1.0, 2.0], atol=0.1)  # the standard error is 0.022
    assert said.count("slopes[0]") == 1

"""`Ray`: a cluster of machines, or a local one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sursum.cluster.transport import Parcel, pack, perform, unpack
from sursum.cluster.workers import ATTEMPTS, Item, Lost, Result
from sursum.common.optional_packages import require
from sursum.common.settings import check_setting, real_number
from sursum.errors import OptionError


@dataclass(frozen=True)
class Ray:
    """Workers of a Ray cluster. Programs travel by cloudpickle, data once for each machine by Ray's object store.

    If this process is not connected to a cluster yet, it is connected to `address`, or starts a local one, which ends with it.

    Args:
        address: of the cluster, as `ray.init` takes it: "auto", or "ray://host:10001"; None for a local one.
        cpus_per_chain: how many CPUs Ray reserves for a chain, or for one item of a study.

    Raises:
        OptionError: the number of CPUs is not positive.
        MissingPackageError: Ray is not installed.

    References:
        Moritz, Nishihara, Wang et al. (2018), Ray: a distributed framework for emerging AI applications, OSDI.

    Example:
        >>> import sursum as su
        >>> su.cluster.Ray(cpus_per_chain=2)
        Ray(address=None, cpus_per_chain=2)
    """

    address: str | None = None
    cpus_per_chain: float = 1

    def __post_init__(self) -> None:
        text = self.address is None or isinstance(self.address, str)
        check_setting("address", text, self.address, "a text or None", OptionError, "leave it out for a local cluster")
        real_number("cpus_per_chain", self.cpus_per_chain, OptionError, "1 is usual", above=0)

    def connect(self) -> Any:
        """The package `ray`, connected."""
        ray = require("ray", "Work on a cluster")
        if not ray.is_initialized():
            quiet = {"include_dashboard": False} if self.address is None else {}
            # Ray otherwise changes what `CUDA_VISIBLE_DEVICES` is to its workers, and announces that it will stop doing so.
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **quiet)
        return ray

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result | Lost]]:
        """See `Workers`."""
        ray = self.connect()
        call = self._ready(ray, task)
        waiting, running = deque(range(len(items))), dict[Any, int]()
        limit = max(4, int(2 * ray.cluster_resources().get("CPU", 1) / self.cpus_per_chain))
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    number = waiting.popleft()
                    running[call(pack(items[number], f"item {number}"))] = number
                (done,), _ = ray.wait(list(running), num_returns=1)
                number = running.pop(done)
                yield number, _got(ray, done)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def sent(self, task: Callable[[Item], Result]) -> Callable[[Item], Result | Lost]:
        """See `Workers`."""
        ray = self.connect()
        call = self._ready(ray, task)
        return lambda item: _got(ray, call(pack(item, "the item")))

    def _ready(self, ray: Any, task: Any) -> Callable[[bytes], Any]:
        """What does the task, as it lies in the object store, with an item."""
        parcel = Parcel.of(task)
        # In a list, a reference is not followed for each item: a worker asks for the bytes if it does not know the task.
        packed = [ray.put(parcel.packed)]
        one_thread = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        remote = ray.remote(num_cpus=self.cpus_per_chain, max_retries=ATTEMPTS - 1, runtime_env=one_thread)(_perform)
        return lambda item: remote.remote(parcel.key, packed, item)


def _got(ray: Any, reference: Any) -> Any:
    """The result of a call, or that it is lost."""
    ends = ray.exceptions
    try:
        return unpack(ray.get(reference))
    except (ends.WorkerCrashedError, ends.NodeDiedError, ends.OutOfMemoryError, ends.ObjectLostError) as error:
        return Lost(f"its worker ended {ATTEMPTS} times, the last time so: {str(error).strip().splitlines()[0]}")
    except ends.RayTaskError as error:
        raise error.cause or error from None


def _perform(key: bytes, packed: list[Any], item: bytes) -> bytes:
    """In a worker: `perform`."""
    return perform(key, lambda: require("ray", "Work on a cluster").get(packed[0]), item)

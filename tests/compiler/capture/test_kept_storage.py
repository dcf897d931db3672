"""A recording keeps the addresses of what it has met, and not the memory."""

from __future__ import annotations

import gc

import torch

from sursum.common.torch_private import StorageWeakRef
from sursum.compiler.capture.capture import capture
from sursum.compiler.capture.kept_storage import KeptStorage


def test_memory_is_freed_and_its_address_is_not_used_again():
    tensor = torch.ones(1000)
    kept = [KeptStorage(tensor.untyped_storage())]
    assert kept[0].nbytes() == 4000
    watched = StorageWeakRef(tensor.untyped_storage())
    del tensor
    assert watched.expired()
    for _ in range(100):
        kept.append(KeptStorage(torch.ones(1000).untyped_storage()))
    assert len({one.address for one in kept}) == 101


def test_what_a_program_computes_is_freed_while_it_is_recorded():
    data, alive = torch.linspace(0.0, 1.0, 5000, dtype=torch.float64), []

    def program(q):
        seen = []
        total = q.sum()
        for k in range(20):
            column = (data + q[0]).exp() * (k + 1.0)
            seen.append(StorageWeakRef(column.untyped_storage()))
            total = total + column.sum()
        del column
        alive.append(sum(not one.expired() for one in seen))
        return total

    gc.disable()  # nothing is to wait for the collector of cycles
    try:
        points = torch.zeros(1).double(), torch.ones(1).double()
        graph = capture(program, points, gradient=True)
    finally:
        gc.enable()
    assert alive == [0, 0]
    assert len(graph.constants) == 1

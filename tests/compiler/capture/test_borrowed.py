"""Of data from outside a graph copies what is read of it."""

import torch
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.passes import optimise

POINTS = torch.ones(2).double(), torch.full((2,), 3.0).double()
BIG = torch.arange(100_000.0, dtype=torch.float64)


def captured(read: object) -> Graph:
    def program(q: Tensor) -> Tensor:
        return sum((q.sum() * part).sum() for part in read())  # type: ignore[operator]

    graph = capture(program, POINTS, gradient=True)
    for one in (graph, optimise(graph)):
        for q in (*POINTS, torch.tensor([0.5, -2.0]).double()):
            value, slope = Replay(one)(q)
            total = sum(float(part.sum()) for part in read())  # type: ignore[operator]
            assert float(value) == float(q.sum()) * total or abs(float(value) / (float(q.sum()) * total) - 1) < 1e-12
            assert torch.allclose(slope, torch.full((2,), total, dtype=torch.float64), rtol=1e-12)
    return graph


def copied(graph: Graph) -> int:
    return sum(constant.numel() for constant in graph.constants.values())


def test_a_view_made_outside_costs_what_it_shows() -> None:
    view = BIG[50_000:50_010]
    assert copied(captured(lambda: [view])) <= 4096 + 10


def test_a_view_made_inside_costs_what_it_shows() -> None:
    assert copied(captured(lambda: [BIG[10_000:10_010], BIG[90_000:90_020]])) == 30


def test_a_column_of_a_large_matrix_is_copied_alone() -> None:
    table = BIG.reshape(1000, 100)
    graph = captured(lambda: [table[:, 7], table[:, 7], table[::500, 3]])
    assert copied(graph) == 1002


def test_what_is_read_for_the_most_part_is_one_constant() -> None:
    table = BIG.reshape(1000, 100)
    graph = captured(lambda: [table[20], table[21:900], table[30, ::2]])
    assert len(graph.constants) == 1
    assert copied(graph) == 880 * 100


def test_repeated_and_empty_windows() -> None:
    row = BIG[70_000:70_003]
    graph = captured(lambda: [row[:, None].expand(3, 5000), BIG[5:5], BIG[99_999:]])
    assert copied(graph) <= 3 + 1


def test_an_index_into_a_large_table_needs_the_table() -> None:
    index = torch.tensor([5, 99_000])
    graph = captured(lambda: [BIG[index], BIG[7:9]])
    assert copied(graph) == 100_000 + 2

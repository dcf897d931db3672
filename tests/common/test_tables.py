"""Tables of text that a notebook shows as HTML."""

import pickle

import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.tables import Table


def test_the_shapes_of_a_trace_print_as_text_and_show_as_html():
    def model():
        with su.plate("data", 3):
            su.sample("a<b", dist.Normal(0.0, 1.0), obs=torch.zeros(3))

    shapes = su.trace(model).get_trace().format_shapes()
    head = ("site", "type", "batch", "event", "value", "plates", "line")
    cells = ("observed", "(3)", "()", "(3)", "data", f"test_tables.py:{model.__code__.co_firstlineno + 2}")
    lines = shapes.splitlines()
    assert [tuple(lines[0].split()), tuple(lines[2].split())] == [head, ("a<b", *cells)]
    assert repr(shapes) == str(shapes) == f"{shapes}" == "\n".join(lines)
    assert shapes._repr_html_() == (
        f"<table><thead><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr></thead>"
        f"<tbody><tr><td>a&lt;b</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr></tbody></table>"
    )


def test_a_table_can_be_pickled():
    table = Table([("a", "b"), ("1", "2")])
    again = pickle.loads(pickle.dumps(table))
    assert (again, again.rows, type(again)) == (table, table.rows, Table)

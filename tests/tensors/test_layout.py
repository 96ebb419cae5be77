"""Layouts: fields come back from rows and columns as they went in."""

from __future__ import annotations

import torch

from parc_ray.tensors.layout import Layout

LAYOUT = Layout({"position": (3,), "rotations": (2, 4)})
FIELDS = {"position": torch.rand(5, 3), "rotations": torch.rand(5, 2, 4)}


def test_rows_and_columns_return_their_fields():
    rows, columns = LAYOUT.join(FIELDS.values()), LAYOUT.stack(FIELDS.values())
    assert rows.shape == (5, LAYOUT.size) and columns.shape == (LAYOUT.size, 5)
    for fields in (LAYOUT.split(rows), LAYOUT.unstack(columns)):
        assert list(fields) == list(FIELDS) and all(torch.equal(fields[name], FIELDS[name]) for name in FIELDS)


def test_rows_keep_the_order_of_numbers_in_a_field():
    assert torch.equal(LAYOUT.join(FIELDS.values())[:, 3:], FIELDS["rotations"].flatten(1))

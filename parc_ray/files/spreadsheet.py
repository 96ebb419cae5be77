"""Cells of CSV files that spreadsheets open."""

from __future__ import annotations


def text_cell(text: str) -> str:
    """Return text as a cell that no spreadsheet interprets as a formula: `'=name` for `=name`."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

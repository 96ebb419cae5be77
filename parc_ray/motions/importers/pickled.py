"""Pickles of motions from any program."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable

from parc_ray.files import joblib_file
from parc_ray.files.reading import read_bytes


def load_pickle(path: Path) -> Any:
    """Return the content of a pickle or joblib file as plain values. Raises InputError if it is damaged."""
    return joblib_file.loads(read_bytes(path), str(path))


def has_keys(content: Any, keys: Iterable[str]) -> bool:
    """Return whether content is a dict with all these keys."""
    return isinstance(content, dict) and all(key in content for key in keys)

"""Resumption: checks that a resumed run would make the same recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from parc_ray.errors import InputError
from parc_ray.motions.dataset import MotionEntry
from parc_ray.runs.ledger import Ledger

MAX_SHOWN = 5
"""Maximum number of differences in a message."""


def require_same(
    ledger: Ledger, fingerprint: Mapping[str, Any], entries: Sequence[MotionEntry], output_dir: Path
) -> None:
    """Raise InputError if a resumed run would make other recordings."""
    lines = differences(ledger, fingerprint, entries)
    if lines:
        more = f"; and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
        raise InputError(
            f"output_dir {output_dir} holds a run that was made with other inputs: "
            f"{'; '.join(lines[:MAX_SHOWN])}{more}. Undo these changes to resume it, choose another "
            "output_dir, or pass --overwrite to delete it and start anew"
        )


def require_same_recovery(ledger: Ledger, recovery: Mapping[str, Any], output_dir: Path) -> None:
    """Raise InputError if the populations made so far would differ now; recovery: {} if it is switched off.

    Larger sizes may be added, because smaller ones are tried first and stay valid.
    """
    before = ledger.recovery
    if not (ledger.populations and recovery and before):
        return
    sizes = sorted((before["copies"], recovery["copies"]), key=len)
    same = {**before, "copies": sizes[1]} == {**recovery, "copies": sizes[1]} and sizes[1][: len(sizes[0])] == sizes[0]
    if not same:
        raise InputError(
            f"output_dir {output_dir} holds motions that were recovered otherwise: recovery is {dict(recovery)}, was "
            f"{dict(before)}. Only larger copies may be added; undo other changes to go on with it, or choose another "
            "output_dir"
        )


def differences(ledger: Ledger, fingerprint: Mapping[str, Any], entries: Sequence[MotionEntry]) -> list[str]:
    """Return one line per change to the run's inputs since it began, if recordings depend on it."""
    assert ledger.started is not None, "only a run that has begun can be resumed"
    before, now = flat(ledger.started.fingerprint), flat(fingerprint)
    lines = [
        f"{key} is {_short_text(now.get(key))}, was {_short_text(before.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    contents = {entry.name: entry.sha256 for entry in entries}
    planned = ledger.planned
    for what, names in (
        ("new in the dataset", [name for name in contents if name not in planned]),
        ("no longer in the dataset", [name for name in planned if name not in contents]),
        ("changed", [name for name in planned if contents.get(name, planned[name].sha256) != planned[name].sha256]),
    ):
        lines += [f"motion {name} is {what}" for name in names]
    return lines


def flat(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return nested mappings as a flat one.

    >>> flat({"retry": {"max_retries": 3}, "seed": 0})
    {'retry.max_retries': 3, 'seed': 0}
    """
    values: dict[str, Any] = {}
    for key, value in tree.items():
        place = (*prefix, key)
        values.update(flat(value, place) if isinstance(value, dict) else {".".join(place): value})
    return values


def _short_text(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."

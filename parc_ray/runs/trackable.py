"""Lists of trackable motions: success.csv, a row per motion, and accepted_motions.yaml, the motions recorded whole."""

from __future__ import annotations

import csv
import io
from typing import Iterable, Mapping

from parc_ray.files.spreadsheet import text_cell
from parc_ray.motions.dataset import MotionEntry
from parc_ray.runs.events import MotionEnded
from parc_ray.runs.history import Run
from parc_ray.runs.motion_state import MotionState
from parc_ray.tracking.metrics import METRICS

COLUMNS = (
    "motion", "path", "state", "attempts", "start_fraction", "start_time", "motion_seconds", "recorded_seconds",
    "recovered",    *(metric.name for metric in METRICS), "reason",
)  # fmt: skip


def accepted_motions(
    entries: Iterable[MotionEntry], outcomes: Mapping[str, MotionEnded], recovered: bool = False
) -> list[tuple[str, float]]:
    """Return files and weights of the motions recorded whole, in dataset order.

    recovered: include motions that only a population could track.
    """
    accepted = []
    for entry in entries:
        ended = outcomes.get(entry.name)
        if ended is None or ended.state != MotionState.RECORDED or ended.start_fraction > 0.0:
            continue
        if recovered or not ended.copies:
            accepted.append((entry.path, entry.weight))
    return accepted


def success_table(run: Run) -> str:
    """Return success.csv: a row per motion, with the metrics of its last attempt.

    Lengths are in m, angles in rad, times in s. Unknown values are empty cells.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for motion in run.motions:
        attempt = motion.last_attempt
        row: dict[str, object] = {
            "motion": text_cell(motion.name),
            "path": text_cell(motion.path),
            "state": motion.state,
            "attempts": len(motion.attempts),
            "motion_seconds": motion.seconds,
            "recorded_seconds": motion.recorded_seconds,
            "recovered": motion.copies > 0,
            "reason": motion.reason,
        }
        if attempt is not None:
            row.update(start_fraction=attempt.start_fraction, start_time=attempt.start_time)
            row.update((metric.name, attempt.quality.get(metric.name)) for metric in METRICS)
        writer.writerow(row)
    return file.getvalue()

"""CSV files of robot motions, as used by Unitree's LAFAN1 retargeting, GMR, BeyondMimic and mjlab.

One row per frame, no header: root position (m), root quaternion (xyzw, or wxyz by option), one angle (rad) per joint
in the MJCF's order. If there is a header, its last names are the joints.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from parc_ray.files.reading import read_text
from parc_ray.motions.importers.clip import ClipFormat, ReadOptions, SourceClip, fail, refusal
from parc_ray.motions.importers.joint_angles import JointAngles, to_clip

MAX_BYTES = 1 << 28
ROOT_COLUMNS = 7


def load_table(path: Path) -> list[str]:
    """Return the non-empty lines of a table. Raises InputError if it is not text."""
    return [line for line in read_text(path, MAX_BYTES).splitlines() if line.strip()]


def robot_csv_clips(lines: Any, path: Path, options: ReadOptions) -> dict[str, SourceClip]:
    """Return the clip of a table. Raises InputError, which names the line, if it is malformed."""
    if len(lines) < 2:
        raise refusal(path, f"has {len(lines)} line(s)")
    names: tuple[str, ...] = ()
    header = [word.strip() for word in lines[0].split(",")]
    if any(_number(word) is None for word in header):
        names = tuple(header[ROOT_COLUMNS:])
        if header[0] in ("time", "Frame") or header[0].endswith("translateX"):
            fail(
                path,
                f"its header begins with {header[0]}, and a table of a robot has root position and quaternion first",
                "Export it with `--to robot-csv`, or remove what comes before and convert centimetres and degrees",
            )
        lines = lines[1:]
    rows = [_row(line, number, len(header), path) for number, line in enumerate(lines, 1 + bool(names))]
    if len(header) <= ROOT_COLUMNS:
        raise refusal(path, f"has {len(header)} columns; root position and quaternion alone are {ROOT_COLUMNS}")
    rotation = [4, 5, 6, 3] if options.wxyz else [3, 4, 5, 6]
    motion = JointAngles(
        root_pos=[row[:3] for row in rows],
        root_rot=[[row[column] for column in rotation] for row in rows],
        angles=[row[ROOT_COLUMNS:] for row in rows],
        fps=None,
        names=names,
    )
    return {path.stem: to_clip(motion, options, str(path))}


def _row(line: str, number: int, count: int, path: Path) -> list[float]:
    values = [_number(word) for word in line.split(",")]
    if len(values) != count:
        raise refusal(path, f"line {number} has {len(values)} numbers instead of {count}")
    if any(value is None or not math.isfinite(value) for value in values):
        raise refusal(path, f"line {number} has something else than finite numbers")
    return [value for value in values if value is not None]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


FORMAT = ClipFormat(
    name="robot-csv", suffixes=(".csv",), load=load_table, recognize=lambda lines: True, clips=robot_csv_clips
)

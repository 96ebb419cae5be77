"""The report page: a single file that opens offline, built from a run's output directory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.config.record import OutputConfig
from parc_ray.errors import InputError
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.report.diagnosis import diagnose
from parc_ray.report.previews import Previews, pack_previews, urgency
from parc_ray.report.shapes import character_shapes
from parc_ray.report.statistics import AT_ONCE, LATER, RECOVERED, Statistics, statistics_of, why
from parc_ray.runs.history import Run, RunMotion, read_character, read_run
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import REPORT, OutputDirectory
from parc_ray.runs.resumption import flat
from parc_ray.tracking.metrics import METRICS

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("dom.js", "data.js", "charts.js", "timeline.js", "table.js", "preview.js", "page.js")
PREVIEW_BYTES = 4_400_000
"""Maximum size of a page's previews; a page of 500 motions stays below 5 MB."""
MAX_MOTIONS = 20_000
"""Maximum motions on a page; their metrics take 4 to 12 MB."""


def write_report(output_dir: Path, character: str | None = None, previews: bool = True) -> Path:
    """Write report.html atomically into an output directory; return its path.

    character: text of the MJCF; by default read from the path that the run used. Raises InputError if there is no
    run, OutputError if the page cannot be written.
    """
    page = render(read_run(output_dir), character, previews)
    OutputDirectory(output_dir, OutputConfig()).write_text(REPORT, page)
    return output_dir / REPORT


def render(run: Run, character: str | None = None, previews: bool = True) -> str:
    """Return the page of a run; arguments as for write_report."""
    statistics = statistics_of(run)
    run, left_out = limit_motions(run)
    notes: list[str] = []
    if left_out:
        notes.append(
            f"Counts and charts are of all motions, but {left_out} of them are neither in the table nor on the "
            "timeline, so that the page opens quickly: those that were not recorded whole come first. journal.jsonl "
            "tells of all."
        )
    shapes: dict[str, Any] | None = None
    packed: Previews | None = None
    reason = "The run was interrupted; `parc-ray report` makes a page with previews."
    if previews:
        try:
            text = read_character(run) if character is None else character
            skeleton = parse_skeleton(text, run.character)
            shapes = character_shapes(text, run.character, skeleton)
            packed = pack_previews(run, skeleton, PREVIEW_BYTES)
        except InputError as error:
            reason = f"There are no previews: {error}"
    if packed is None:
        notes.append(reason)
    else:
        notes += _preview_notes(packed)
    if run.excluded:
        first = run.excluded[0]
        notes.append(
            f"The dataset's configuration leaves out {len(run.excluded)} more motions, which are counted nowhere here, "
            f"for instance {first.path}: {first.reason}."
        )
    if run.sessions[-1].exit_code is None:
        notes.append("The run had not ended when this page was made.")
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    script = _wrap((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return _fill(
        (PAGE / "page.html").read_text(encoding="utf-8"),
        {
            "style": style,
            "script": script,
            "style hash": _fingerprint(style),
            "script hash": _fingerprint(script),
            "data": _embed(page_data(run, statistics, shapes, notes)),
            "previews": _embed(_previews(packed, reason)),
        },
    )


def limit_motions(run: Run) -> tuple[Run, int]:
    """Return the run with only as many motions as a page can show, in order, and the number left out."""
    if len(run.motions) <= MAX_MOTIONS:
        return run, 0
    urgent = sorted(range(len(run.motions)), key=lambda index: urgency(run.motions[index]))
    chosen = sorted(urgent[:MAX_MOTIONS])
    return replace(run, motions=tuple(run.motions[index] for index in chosen)), len(run.motions) - MAX_MOTIONS


def page_data(
    run: Run, statistics: Statistics, shapes: Mapping[str, Any] | None, notes: Sequence[str]
) -> dict[str, Any]:
    """Return all data of the page except previews, as plain values; long lists by columns."""
    index = {id(motion): k for k, motion in enumerate(run.motions)}
    every = [(motion, attempt) for motion in run.motions for attempt in _in_order(motion)]
    motions = [
        {
            "name": motion.name,
            "path": motion.path,
            "state": motion.state,
            "why": why(motion),
            "reason": motion.reason,
            "seconds": _short(motion.seconds),
            "terrain_range": motion.terrain_range,
            "start_fraction": motion.start_fraction,
            "how": motion.recorded_how,
            "copies": motion.copies,
            "recorded_seconds": _short(motion.recorded_seconds),
        }
        for motion in run.motions
    ]
    attempts = [
        {
            "motion": index[id(motion)],
            **{
                name: getattr(attempt, name)
                for name in ("number", "copies", "start_fraction", "outcome", "reason", "body", "env")
            },
            **{name: _short(getattr(attempt, name)) for name in ("start_time", "seconds", "began", "ended")},
            "criteria": list(attempt.criteria),
            "launch": attempt.launch,
            **{metric.name: _short(attempt.quality.get(metric.name)) for metric in METRICS},
        }
        for motion, attempt in every
    ]
    diagnosis = diagnose(run)
    return {
        "title": run.path.resolve().name,
        "simulator": run.simulator,
        "states": list(MotionState),
        "outcomes": list(Outcome),
        "ways": {"AT_ONCE": AT_ONCE, "RECOVERED": RECOVERED, "LATER": LATER},
        "metrics": [asdict(metric) for metric in METRICS],
        "notes": list(notes),
        "diagnosis": None if diagnosis is None else diagnosis.lines(),
        "sessions": [{**asdict(session), "config": None} for session in run.sessions],
        "launches": [asdict(launch) for launch in run.launches],
        "statistics": asdict(statistics),
        "motions": _columns(motions, ["name"]),
        "attempts": _columns(attempts, ["motion"]),
        "character": shapes,
        "setup": _setup(run),
    }


def _in_order(motion: RunMotion) -> list[RunAttempt]:
    """Return attempts and populations in the order in which they ended."""
    every = [*motion.attempts[:1], *motion.populations, *motion.attempts[1:]]
    return sorted(every, key=lambda attempt: (attempt.launch or 0, attempt.ended or 0.0))


def _preview_notes(packed: Previews) -> list[str]:
    notes = []
    if packed.left_out:
        total = len(packed.by_motion) + packed.left_out
        notes.append(
            f"{packed.left_out} of {total} motions have no 3-D preview here, so that the page stays small: "
            "those that were not recorded whole come first, then the others in the order of the dataset."
        )
    if packed.missing:
        reasons = sorted(set(packed.missing.values()))
        notes.append(f"{len(packed.missing)} motions have no 3-D preview, for instance because: {reasons[0]}.")
    lacking = [preview.note for preview in packed.by_motion.values() if preview.note]
    if lacking:
        notes.append(
            f"{len(lacking)} previews lack their reference or recording, for instance: {lacking[0]}. "
            "They are complete if the page is made where these files are."
        )
    return notes


def _previews(packed: Previews | None, reason: str) -> dict[str, Any]:
    if packed is None:
        return {"motions": {}, "missing": {}, "reason": reason}
    motions = {
        index: {"clips": preview.clips, "terrain": preview.terrain, "data": preview.data, "note": preview.note}
        for index, preview in packed.by_motion.items()
    }
    return {"motions": motions, "missing": packed.missing, "reason": ""}


def _setup(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the setup of the run: titles, keys and values."""
    versions = {**run.sessions[-1].versions, "simulator": run.simulator}
    return [
        ("Configuration", _pairs(run.config)),
        ("Versions", sorted((key, str(value)) for key, value in versions.items())),
        (
            "What recordings depend on",
            [pair for pair in _pairs(run.fingerprint) if not pair[0].startswith("env_file.")],
        ),
        ("Tracker's environment (env_file)", _pairs(run.fingerprint.get("env_file", {}))),
    ]


def _pairs(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """[("retry.max_retries", "3"), ...]"""
    return [(key, _text_of(value)) for key, value in flat(tree).items()]


def _text_of(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value)


def _short(value: float | None) -> float | None:
    """Round to five digits, which is plenty for display and saves two thirds of the bytes."""
    return None if value is None else float(f"{value:.5g}")


def _columns(rows: Sequence[Mapping[str, Any]], otherwise: Sequence[str]) -> dict[str, list[Any]]:
    names = list(rows[0]) if rows else otherwise
    return {name: [row[name] for row in rows] for name in names}


def _embed(content: Any) -> str:
    """Return JSON that is safe inside HTML for any names and reasons."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda found: f"\\u{ord(found.group()):04x}", text)


def _wrap(scripts: Iterable[str]) -> str:
    """Return all scripts wrapped in one scope."""
    return '"use strict";\n(() => {\n' + "\n".join(scripts) + "\n})();\n"


def _fingerprint(text: str) -> str:
    """Return the hash that lets the page's policy accept only its own script and style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with all {{names}} replaced in one pass, since values may contain braces."""
    return re.sub(r"\{\{([a-z ]+)\}\}", lambda found: values[found.group(1)], template)

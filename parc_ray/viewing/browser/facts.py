"""Facts about a motion as HTML; all text comes from files and is escaped."""

from __future__ import annotations

from html import escape
from typing import Iterable, Mapping, Sequence

from parc_ray.errors import one_line, printable
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs.history import RunMotion
from parc_ray.runs.motion_state import MotionState
from parc_ray.tracking.metrics import BY_NAME, Metric
from parc_ray.viewing.scenes.colors import color_of
from parc_ray.viewing.scenes.playback import Playback
from parc_ray.viewing.scenes.playlist import PlaylistItem
from parc_ray.viewing.scenes.scene import Clip, Scene

OTHER = "#6d7782"
STATE_COLORS = {MotionState.RECORDED: "#0072b2", MotionState.REJECTED: "#c9480a", MotionState.CRASHED: "#a4478a"}
"""Same colours as in the report."""
BOX = "margin:0 .75em .5em;overflow-wrap:anywhere;line-height:1.35"
PLAIN = "font-size:.85em"
SMALL = "font-size:.8em;opacity:.75"
BADGE = "color:#fff;border-radius:.25em;padding:0 .4em;font-weight:600"
"""Readable on the light and on the dark theme, as are all styles here."""
LONGEST = 300
"""Maximum length of a displayed name or reason, characters."""


def shown_text(text: str, limit: int = LONGEST) -> str:
    """Return text for a page or label: printable, on one line, shortened."""
    text = one_line(printable(text))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def title(playback: Playback) -> str:
    """Return the name and state of the open motion, and why it cannot be shown."""
    item = playback.item
    state = item.state
    if item.motion and item.motion.recorded_how:
        state = f"{state}, {item.motion.recorded_how}" if not item.motion.copies else item.motion.recorded_how
    color = STATE_COLORS.get(item.motion.state, OTHER) if item.motion else OTHER
    badge = f"<span style='{BADGE};background:{color}'>{_text(state)}</span>" if item.motion else ""
    place = f"{playback.index + 1} of {len(playback.playlist.items)}"
    count = f"<span style='{SMALL}'>{place}</span>"
    lines = [f"<div style='font-weight:600'>{_text(item.name)}</div>", f"<div>{count} <small>{badge}</small></div>"]
    if playback.problem:
        lines.append(f"<div style='font-weight:600'>Cannot be shown: {_text(playback.problem)}</div>")
    return _box(lines)


def facts(item: PlaylistItem, scene: Scene | None) -> str:
    """Return the outcome of a motion in its run, and a summary of its files."""
    lines: list[str] = []
    if item.motion:
        lines += _outcome(item.motion)
    if scene:
        lines += [_heading("What is here"), *map(_clip_line, scene.clips)]
        lines += [f"<div style='{PLAIN};margin-top:.5em'>⚠ {_text(note)}</div>" for note in scene.notes]
    return _box(lines)


def clip_label(clip: Clip) -> str:
    """Return the display name of a clip."""
    if clip.kind != "attempt":
        return {"reference": "Reference", "recording": "Recording", "motion": "Motion"}[clip.kind]
    return f"Attempt {clip.number}"


def failure(clip: Clip, item: PlaylistItem) -> str:
    """Return the label for the point where a clip failed."""
    outcomes = {attempt.number: attempt.outcome for attempt in item.motion.attempts} if item.motion else {}
    outcome = outcomes.get(clip.number, "failed")
    return shown_text(f"attempt {clip.number} {outcome}: {clip.ending}", 120)


def _outcome(motion: RunMotion) -> list[str]:
    lines = [f"<div style='{PLAIN}'>{_text(motion.reason)}</div>"] if motion.reason else []
    if motion.attempts:
        lines.append(_heading("Attempts"))
        lines.append(_rows([(f"{attempt.number}", _attempt(attempt)) for attempt in motion.attempts]))
    if motion.populations:
        lines.append(_heading("Recovery"))
        lines.append(_rows([(f"{one.copies} copies", _attempt(one)) for one in motion.populations]))
    last = motion.last_attempt
    if last and last.quality:
        lines.append(
            _heading("Quality of the recovered recording" if last.copies else f"Quality of attempt {last.number}")
        )
        lines.append(_rows(_metric_rows(last.quality)))
    return lines


def _attempt(attempt: RunAttempt) -> str:
    ending = f": {attempt.reason}" if attempt.reason else f" after {attempt.seconds:.2f} s"
    return f"from {attempt.start_time:.2f} s on, {attempt.outcome}{ending}"


def _metric_rows(quality: Mapping[str, float | None]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for name, value in quality.items():
        metric = BY_NAME.get(name, Metric(name, name, ""))
        rows.append((metric.title, "not finite" if value is None else f"{value:.3g} {metric.unit}"))
    return rows


def legend(clips: Sequence[Clip]) -> str:
    """Return the colour legend of the clips."""
    return _box(
        [
            f"<span style='{PLAIN};display:inline-block;margin-right:1em'>{_dot(clip)} {clip_label(clip)}</span>"
            for clip in clips
        ]
    )


def _dot(clip: Clip) -> str:
    return f"<span style='color:rgb{color_of(clip)}'>●</span>"


def _clip_line(clip: Clip) -> str:
    motion = clip.motion
    where = f"from {clip.start:.2f} s on, " if clip.start else ""
    extent = f"{where}{motion.length:.2f} s, {motion.num_frames} frames at {motion.fps:g} per s, {motion.loop_mode}"
    return f"<div style='{PLAIN}'>{_dot(clip)} {clip_label(clip)}: {_text(extent)}</div>"


def _heading(text: str) -> str:
    return f"<div style='{SMALL};margin-top:.5em'>{_text(text)}</div>"


def _rows(rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(
        f"<tr><td style='{SMALL};vertical-align:top;padding-right:.8em'>{_text(name)}</td><td>{_text(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table style='border-spacing:0;{PLAIN}'>{cells}</table>"


def _box(lines: Sequence[str]) -> str:
    return f"<div style='{BOX}'>{''.join(lines)}</div>"


def _text(text: str) -> str:
    return escape(shown_text(text))

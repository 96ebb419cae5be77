"""A comparison as text and tables for a terminal of 100 columns, with or without colours, and as plain values."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parc_ray.errors import printable
from parc_ray.report.comparison import Change, Comparison, Fate, FirstAttempts, Paired, Side
from parc_ray.runs.motion_state import MotionState

SHOWN = 8
"""Maximum entries of a list, unless all are requested."""
LONGEST_VALUE = 36
WIDE = 94
"""Minimum terminal columns to show the quartiles."""
SHOWN_IN = {
    "m": ("mm", 1e3, 1),
    "m/s": ("mm/s", 1e3, 1),
    "rad": ("deg", math.degrees(1.0), 2),
    "": ("%", 1e2, 1),
    "s": ("s", 1.0, 2),
}
"""Displayed unit, factor and decimals, by unit of the metric."""


def plain(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as one JSON object with the names of its fields; metrics in m and rad."""
    values = asdict(comparison)
    values["quality"] = [_plain(paired) for paired in comparison.quality]
    values["first_attempts"]["seconds"] = _plain(comparison.first_attempts.seconds)
    return values


def _plain(paired: Paired) -> dict[str, Any]:
    values = asdict(paired)
    del values["metric"]
    return {"name": paired.metric.name, "better": paired.metric.better, **values, "verdict": paired.verdict}


def print_comparison(comparison: Comparison, console: Console, everything: bool = False) -> None:
    """Print a comparison; long lists are cut unless `everything` is set."""
    limit = None if everything else SHOWN
    _print_runs(comparison, console, limit)
    _print_settings(comparison, console, limit)
    _print_counts(comparison, console)
    _print_changes(comparison, console, limit)
    _print_quality(comparison, console)
    _print_first_attempts(comparison.first_attempts, console)


def _print_runs(comparison: Comparison, console: Console, limit: int | None) -> None:
    for title, side in (("A, the baseline ", comparison.baseline), ("B, the candidate", comparison.candidate)):
        _say(console, f"{title}  {side.path}: {side.motions} motions, {side.simulator}", whole=True)
    for letter, side in (("A", comparison.baseline), ("B", comparison.candidate)):
        if side.exit_code != 0 or side.unfinished:
            _say(console, f"{letter} {_how_it_ended(side)}: what is said of it is not final")
    _say(console, f"{_count(comparison.compared, 'motion is', 'motions are')} compared: same name, same content")
    for what, names in (
        ("only in A", comparison.only_baseline),
        ("only in B", comparison.only_candidate),
        ("of the same name, but with other content", comparison.changed),
    ):
        if names:
            more = len(names) - len(names[:limit])
            listed = ", ".join(names[:limit]) + (f" and {more} more" if more else "")
            _say(console, f"{len(names)} {what}, not compared: {listed}")


def _how_it_ended(side: Side) -> str:
    how = f"has ended with exit code {side.exit_code}" if side.exit_code is not None else "has not ended, or was killed"
    return f"{how} ({side.unfinished} of these motions unfinished, {side.crashed} crashed)"


def _print_settings(comparison: Comparison, console: Console, limit: int | None) -> None:
    settings = comparison.settings
    if not settings:
        _say(console, "They were made with the same tracker, settings, simulator and versions.")
        return
    _say(console, "\nWhat they were made with", style="bold")
    table = _table("setting", "A", "B")
    for setting in settings[:limit]:
        table.add_row(*(_cell(value) for value in (setting.key, _short(setting.baseline), _short(setting.candidate))))
    console.print(table)
    _say_more(console, len(settings), limit, "settings")


def _print_counts(comparison: Comparison, console: Console) -> None:
    sides = (comparison.baseline, comparison.candidate)
    counts = [_counts(side) for side in sides]
    _say(console, "\nWhat became of the motions", style="bold")
    table = _table("", "A", "B", numbers=True)
    names = list(dict.fromkeys(name for own in counts for name in own))
    for name in sorted(names, key=_rank):
        table.add_row(_cell(name), *(f"{own.get(name, 0):,}" for own in counts))
    table.add_row("seconds recorded", *(f"{side.recorded_seconds:,.1f}" for side in sides), end_section=True)
    table.add_row("whole run: invalid files", *(f"{side.invalid:,}" for side in sides))
    table.add_row("whole run: control steps", *(f"{side.control_steps:,}" for side in sides))
    table.add_row("whole run: control steps/s", *(f"{side.steps_per_second:,.0f}" for side in sides))
    console.print(table)


def _counts(side: Side) -> dict[str, int]:
    """Return the number of a side's motions by final state, with the labels used on the terminal."""
    starts = {float(fraction): count for fraction, count in side.recorded_from.items()}
    counts = {f"recorded from {f:.0%}" if f else "recorded whole": count for f, count in sorted(starts.items())}
    counts["recovered"] = side.recovered
    counts.update((f"rejected, {reason}", count) for reason, count in side.rejected.items())
    counts.update({MotionState.CRASHED: side.crashed, MotionState.UNFINISHED: side.unfinished})
    return {name: count for name, count in counts.items() if count}


def _rank(name: str) -> tuple[int, float]:
    """Return a sort key: whole recordings first, then by start, then motions not recorded."""
    kinds = ("recorded whole", "recovered", "recorded from ", "rejected, ", MotionState.CRASHED, MotionState.UNFINISHED)
    kind = next(place for place, start in enumerate(kinds) if name.startswith(start))
    return kind, float(name.rsplit(" ", 1)[1].rstrip("%")) if kind == 2 else 0.0


def _print_changes(comparison: Comparison, console: Console, limit: int | None) -> None:
    won, lost = len(comparison.won), len(comparison.lost)
    gained = sum(change.candidate.recorded_seconds - change.baseline.recorded_seconds for change in comparison.earlier)
    missed = sum(change.candidate.recorded_seconds - change.baseline.recorded_seconds for change in comparison.later)
    _say(console, "\nB against A", style="bold")
    for count, what in (
        (won, "won: recorded in B, rejected in A"),
        (lost, "lost: recorded in A, rejected in B"),
        (len(comparison.earlier), f"recorded in both, in B from an earlier start: {gained:.1f} s more"),
        (len(comparison.later), f"recorded in both, in B from a later start: {-missed:.1f} s less"),
        (comparison.same_start, "recorded in both from the same start"),
        (comparison.neither, "rejected in both"),
        (len(comparison.undecided), "crashed or unfinished in one of them, which tells nothing"),
    ):
        if count or what.startswith(("won", "lost")):
            _say(console, f"{count:6}  {what}")
    _say(console, f"\n{_chance(won, lost, comparison.probability, 'won', 'lost')}")
    for title, changes in (
        ("won", comparison.won),
        ("lost", comparison.lost),
        ("earlier start in B", comparison.earlier),
        ("later start in B", comparison.later),
        ("not comparable", comparison.undecided),
    ):
        if changes:
            _print_list(title, changes, console, limit)


def _print_list(title: str, changes: Sequence[Change], console: Console, limit: int | None) -> None:
    _say(console, f"\n{title}", style="bold")
    table = _table("motion", "A", "B")
    for change in changes[:limit]:
        table.add_row(
            *(_cell(text) for text in (change.motion, _fate_text(change.baseline), _fate_text(change.candidate)))
        )
    console.print(table)
    _say_more(console, len(changes), limit, "motions")


def _print_quality(comparison: Comparison, console: Console) -> None:
    pairs = comparison.same_start
    _say(console, f"\nHow well they track: the {pairs} motions recorded in both from the same start", style="bold")
    if not pairs:
        return
    _print_paired(comparison.quality, console)
    higher = [_in_a_row(row.metric.title) for row in comparison.quality if row.metric.better == "higher"]
    _say(
        console,
        f"Lower is better, of {' and '.join(higher)} higher. Only what both have recorded is compared here: motions "
        "that one of them has won or lost, often the hard ones, are not in these metrics.",
    )


def _print_first_attempts(first: FirstAttempts, console: Console) -> None:
    pairs = first.seconds.pairs
    _say(console, f"\nHow long first attempts last, of all {pairs} motions that have one in both", style="bold")
    if not pairs:
        return
    _print_paired([first.seconds], console)
    _say(
        console,
        "An attempt that does not fail lasts as long as its motion: "
        f"{first.whole_baseline} in A, {first.whole_candidate} in B, "
        f"success rates of {first.whole_baseline / pairs:.1%} and {first.whole_candidate / pairs:.1%}. "
        + _chance(first.longer, first.shorter, first.probability, "longer", "shorter"),
    )


def _print_paired(rows: Sequence[Paired], console: Console) -> None:
    columns = ["mean", "A", "B", "B - A", "95 % interval", "sd", "B is"]
    if console.width >= WIDE:
        columns.insert(-1, "quartiles of B - A")
    table = _table(*columns, numbers=True)
    for row in rows:
        unit, factor, decimals = SHOWN_IN[row.metric.unit]

        def number(value: float | None, sign: str = "", factor: float = factor, decimals: int = decimals) -> str:
            text = "" if value is None else f"{value * factor:{sign}.{decimals}f}"
            return text[1:] if text and float(text) == 0 and text[0] in "+-" else text

        low, high = row.interval or (None, None)
        values = {
            "mean": f"{_in_a_row(row.metric.title)}, {unit}",
            "A": number(row.baseline),
            "B": number(row.candidate),
            "B - A": number(row.difference, "+"),
            "95 % interval": f"{number(low, '+')} to {number(high, '+')}" if row.interval else "few pairs",
            "sd": number(row.deviation),
            "quartiles of B - A": " ".join(number(value, "+") for value in row.quartiles or ()),
            "B is": row.verdict,
        }
        table.add_row(*(values[column] for column in columns))
    console.print(table)


def _in_a_row(title: str) -> str:
    """Return a title as words within a line: "Root error" as "root error", "MPJPE" as it is."""
    return title if title.isupper() else title[:1].lower() + title[1:]


def _chance(more: int, fewer: int, probability: float, what: str, against: str) -> str:
    """Return the sign test in plain words."""
    if more + fewer == 0:
        return f"None {what}, none {against}: no difference."
    found = f"{more} {what} against {fewer} {against}"
    if probability >= 1.0:
        return f"{found}: as even as it can be."
    told = f"{probability:.1%}" if probability >= 0.001 else "less than 0.1%"
    sense = "That is hardly chance." if probability < 0.05 else "That may be chance."
    return f"{found}: if neither run were better, {told} of comparisons would be so uneven or more. {sense}"


def _fate_text(fate: Fate) -> str:
    if fate.state != MotionState.RECORDED:
        return fate.reason if fate.state == MotionState.REJECTED else f"{fate.state} {fate.reason}".strip()
    if fate.copies:
        return f"recovered, {fate.recorded_seconds:.1f} s"
    where = f"from {fate.start_fraction:.0%}" if fate.start_fraction else "whole"
    return f"recorded {where}, {fate.recorded_seconds:.1f} s"


def _short(value: Any) -> str:
    """Return a short form: the end of a path, the beginning of anything else."""
    text = "not set" if value is None else str(value)
    if len(text) <= LONGEST_VALUE:
        return text
    return f"...{text[3 - LONGEST_VALUE :]}" if "/" in text else f"{text[:12]}..."


def _table(*columns: str, numbers: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        right = numbers and place > 0
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _cell(text: str) -> str:
    return escape(printable(text))


def _say_more(console: Console, total: int, limit: int | None, what: str) -> None:
    if limit is not None and total > limit:
        _say(console, f"  and {total - limit} more {what}; --all shows them")


def _say(console: Console, line: str, style: str = "", whole: bool = False) -> None:
    console.print(printable(line), style=style, highlight=False, markup=False, soft_wrap=whole, emoji=False)

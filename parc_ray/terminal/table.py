"""The table at the end of a run."""

from __future__ import annotations

from typing import Any, Mapping

from rich.markup import escape
from rich.table import Table

from parc_ray.runs.motion_state import MotionState
from parc_ray.terminal.screen import Screen


def print_summary(summary: Mapping[str, Any], title: str, screen: Screen) -> None:
    """Print the table of a run's results."""
    table = Table(title=escape(title), show_header=False)
    table.add_row("motions", str(summary["motions"]))
    table.add_row("attempted", str(summary["attempted"]))
    for fraction, count in summary["recorded_from"].items():
        where = "from the start" if float(fraction) == 0 else f"from {float(fraction):.0%}"
        table.add_row(f"recorded {where}", str(count))
    for copies, count in summary["recovered"].items():
        table.add_row(f"recovered with {copies} copies", str(count))
    for reason, count in summary["rejected_by_reason"].items():
        table.add_row(escape(f"rejected, {reason}"), str(count))
    for state in (MotionState.INVALID, MotionState.CRASHED, MotionState.UNFINISHED):
        if summary[state] or state != MotionState.UNFINISHED:
            table.add_row(state, str(summary[state]))
    table.add_row("recorded", f"{summary['recorded_seconds']:.1f} s of {summary['dataset_seconds']:.1f} s of motion")
    table.add_row("speed", f"{summary['control_steps_per_second']:,.0f} control steps/s")
    table.add_row("wall time", f"{summary['wall_seconds']:.1f} s")
    screen.console.print(table)
    screen.alert(*(f"crashed: {motion}: {reason}" for motion, reason in summary["crashed_motions"].items()))

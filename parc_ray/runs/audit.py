"""Audit: compares the output directory, the journal and the ledger at the end of a run."""

from __future__ import annotations

from parc_ray.runs.ledger import Ledger, read_ledger
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import OutputDirectory


def contradictions(ledger: Ledger, output: OutputDirectory) -> list[str]:
    """Return one line per contradiction; empty if there is none.

    Every motion has at most one final state, the same in the ledger and the journal, with its own line. Every recorded
    motion has a file of its size, and no other motion has one. Recordings are listed, not opened.
    """
    problems: list[str] = []
    journalled = read_ledger(output.journal)
    if journalled is None:
        return ["journal.jsonl contains no record of this run"]
    for name in sorted(ledger.outcomes.keys() | journalled.outcomes.keys()):
        if ledger.outcomes.get(name) != journalled.outcomes.get(name):
            problems.append(
                f"journal.jsonl says of {name} {journalled.outcomes.get(name)}, not {ledger.outcomes.get(name)}"
            )
    problems += [f"journal.jsonl has no line for the final state of {name}" for name in sorted(journalled.unwritten)]
    sizes = output.sizes()
    for name in ledger.planned:
        outcome, path = ledger.outcomes.get(name), output.recording_path(name)
        expected = outcome.bytes if outcome is not None and outcome.state == MotionState.RECORDED else None
        if sizes.get(path) != expected:
            problems.append(f"{path} has {sizes.get(path)} bytes, not {expected}")
    return problems

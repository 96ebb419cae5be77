"""Audit: whether the output directory, the journal and the ledger tell the same of every motion."""

from __future__ import annotations

from typing import List

from parc_ray.runs.ledger import Ledger, read_ledger
from parc_ray.runs.motion_state import MotionState
from parc_ray.runs.output import OutputDirectory


def contradictions(ledger: Ledger, output: OutputDirectory) -> List[str]:
    """What does not fit together at the end of a run, one line each; nothing if all is well.

    Every motion has one final state or none, in the ledger as in the journal, and a line there that tells of it; every
    recorded motion has its file, and no other has one. Reads the journal and lists the recordings, but does not open
    these.
    """
    problems: List[str] = []
    journalled = read_ledger(output.journal)
    if journalled is None:
        return ["journal.jsonl does not tell of this run"]
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

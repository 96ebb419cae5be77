"""Audit: whether the output directory, the journal and the ledger tell the same of every motion."""

from __future__ import annotations

from typing import List

from parc_ray.runs.history import read_history
from parc_ray.runs.ledger import Ledger
from parc_ray.runs.output import OutputDirectory


def contradictions(ledger: Ledger, output: OutputDirectory, control_freq: int) -> List[str]:
    """What does not fit together at the end of a run, one line each; nothing, if all is well.

    Every motion has one final state or none, in the ledger as in the journal; every recorded motion has its file, and
    no other has one. Reads the journal and lists the recordings, but does not open these.
    """
    problems: List[str] = []
    history = read_history(output.journal)
    if history is None:
        return ["journal.jsonl does not tell of this run"]
    journalled = Ledger(ledger.dataset)
    history.replay(journalled, output, control_freq)
    for name in sorted(ledger.outcomes.keys() | journalled.outcomes.keys()):
        if ledger.outcomes.get(name) != journalled.outcomes.get(name):
            problems.append(
                f"journal.jsonl says of {name} {journalled.outcomes.get(name)}, not {ledger.outcomes.get(name)}"
            )
    sizes = output.sizes()
    for entry in ledger.dataset.entries:
        outcome, path = ledger.outcomes.get(entry.name), output.recording_path(entry.name)
        recorded = outcome is not None and outcome.state == "recorded"
        expected = outcome.bytes if outcome is not None and recorded else None
        if sizes.get(path) != expected:
            problems.append(f"{path} has {sizes.get(path)} bytes, not {expected}")
    return problems

"""History: what the journal of an earlier run says, so that the same command can go on where it ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from parc_ray.errors import InputError
from parc_ray.motions.dataset import Dataset, MotionEntry
from parc_ray.recording.attempts import AttemptResult
from parc_ray.recording.shard import RunFiles
from parc_ray.runs.journal import read_journal
from parc_ray.runs.ledger import Ledger, Outcome
from parc_ray.runs.output import OutputDirectory
from parc_ray.trackers.families import family

MAX_SHOWN = 5
"""So many differences are named, the others counted"""


@dataclass(frozen=True)
class History:
    """An earlier run in the output directory."""

    path: Path
    """of its journal"""
    fingerprint: Mapping[str, Any]
    """of everything but the dataset that its recordings depend on"""
    planned: Mapping[str, MotionEntry]
    """the motions of its dataset, by name"""
    events: Sequence[Mapping[str, Any]]

    @property
    def runs(self) -> int:
        """How often the command was run so far."""
        return sum(event["event"] == "run" for event in self.events)

    @property
    def simulator(self) -> str:
        """The simulator that it records with."""
        return str(self.fingerprint["simulator"])

    @property
    def known(self) -> Dict[str, MotionEntry]:
        """Its motions by the fingerprint of their content."""
        return {entry.sha256: entry for entry in self.planned.values()}

    def differences(self, files: RunFiles, entries: Sequence[MotionEntry]) -> List[str]:
        """What recordings depend on and has changed since, one line each."""
        before, now = flat(self.fingerprint), flat(fingerprint(files))
        lines = [
            f"{key} is {_shown(now.get(key))}, was {_shown(before.get(key))}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        contents = {entry.name: entry.sha256 for entry in entries}
        changed = [n for n, entry in self.planned.items() if n in contents and contents[n] != entry.sha256]
        for what, names in (
            ("new in the dataset", [name for name in contents if name not in self.planned]),
            ("no longer in the dataset", [name for name in self.planned if name not in contents]),
            ("changed", changed),
        ):
            lines += [f"motion {name} is {what}" for name in names]
        return lines

    def require_same(self, files: RunFiles, entries: Sequence[MotionEntry]) -> None:
        """Raises InputError if recordings would not be those that the run began with."""
        lines = self.differences(files, entries)
        if lines:
            more = f"; and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
            raise InputError(
                f"output_dir {self.path.parent} holds a run that was made with other inputs: "
                f"{'; '.join(lines[:MAX_SHOWN])}{more}. Undo these changes to go on with it, choose another "
                "output_dir, or pass --overwrite to delete it and begin anew"
            )

    def replay(self, ledger: Ledger, output: OutputDirectory, control_freq: int) -> None:
        """Bring a fresh ledger to where the journal ends.

        A motion that was given up because its actors died is not final when the run goes on: the machine may have been
        to blame.
        """
        names = {item.name for item in fields(AttemptResult)}
        for event in self.events:
            kind = event["event"]
            if kind == "run":
                ledger.reopen_crashed()
            elif kind == "attempt":
                result = AttemptResult(**{name: value for name, value in event.items() if name in names})
                path = output.recording_path(result.motion) if result.outcome == "recorded" else None
                ledger.add(result, path, event["recording_bytes"])
                ledger.env_steps += round(result.seconds * control_freq)
            elif kind == "lost":
                ledger.forget(event["motion"])
            elif kind == "motion" and event["state"] == "crashed":
                ledger.finish(event["motion"], Outcome("crashed", event["reason"]))

    def without_line(self, ledger: Ledger) -> Dict[str, Outcome]:
        """Final states that follow from the journal, but are not written there: the writer was killed in between."""
        written: Dict[str, str] = {}
        for event in self.events:
            if event["event"] == "run":
                written = {motion: state for motion, state in written.items() if state != "crashed"}
            elif event["event"] == "lost":
                written.pop(event["motion"], None)
            elif event["event"] == "motion" and event["state"] != "invalid":
                written[event["motion"]] = event["state"]
        return {motion: outcome for motion, outcome in ledger.outcomes.items() if motion not in written}


def outcome_event(motion: str, outcome: Outcome, output: OutputDirectory) -> Dict[str, Any]:
    """The journal's event for a motion's final state."""
    path = str(outcome.path.relative_to(output.path)) if outcome.path else None
    return {"event": "motion", "motion": motion, **vars(outcome), "path": path}


def read_history(path: Path) -> Optional[History]:
    """The run that a journal tells of; None if there is none, or it had not begun to work when it ended.

    Raises InputError if the journal is damaged.
    """
    events = list(read_journal(path)) if path.exists() else []
    runs = [event for event in events if event["event"] == "run"]
    if not runs:
        return None
    try:
        planned = [_entry(event) for event in events if event["event"] == "planned"]
        if len(planned) < runs[0]["motions"]:
            return None
        return History(path, runs[0]["fingerprint"], {entry.name: entry for entry in planned}, events)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is the journal of another version of parc_ray ({error}); choose another output_dir, or pass "
            "--overwrite to delete that run and begin anew"
        ) from None


def dataset_events(dataset: Dataset) -> List[Dict[str, Any]]:
    """The journal's events for the motions of a dataset, and before them for those that are none of it.

    A journal that tells of all motions has then lost nothing of what was found beside them.
    """
    found: Sequence[Tuple[Dict[str, Any], Sequence[Any]]] = (
        ({"event": "excluded"}, dataset.excluded),
        ({"event": "motion", "state": "invalid"}, dataset.invalid),
        ({"event": "planned"}, dataset.entries),
    )
    return [
        {**kind, "motion": motion.name, **{key: value for key, value in vars(motion).items() if key != "name"}}
        for kind, motions in found
        for motion in motions
    ]


def fingerprint(files: RunFiles) -> Dict[str, Any]:
    """Everything but the dataset that recordings depend on, as plain values."""
    config = files.config
    acceptance = config.acceptance.model_dump() if config.acceptance else "none"
    content = {
        "simulator": files.simulator,
        f"version of {files.simulator}": files.engine.version,
        **family(config.tracker).fingerprint(files.tracker),
        "char_file (sha256)": hashlib.sha256(files.character.encode("utf-8")).hexdigest(),
        "torque_limits": config.torque_limits,
        "seed": config.seed,
        "retry": config.retry.model_dump(),
        "acceptance": acceptance,
        "record": config.record.model_dump(exclude={"keep_failures"}),
        "output": config.output.model_dump(exclude={"terrain_file", "report"}),
    }
    plain: Dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _entry(event: Mapping[str, Any]) -> MotionEntry:
    names = {item.name for item in fields(MotionEntry)} - {"name"}
    values = {name: value for name, value in event.items() if name in names}
    size_x, size_y = values.pop("terrain_shape")
    return MotionEntry(name=event["motion"], terrain_shape=(size_x, size_y), **values)


def flat(tree: Mapping[str, Any], prefix: Tuple[str, ...] = ()) -> Dict[str, Any]:
    """Nested mappings as one: {"retry.max_retries": 3, ...}"""
    values: Dict[str, Any] = {}
    for key, value in tree.items():
        place = (*prefix, key)
        values.update(flat(value, place) if isinstance(value, dict) else {".".join(place): value})
    return values


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."

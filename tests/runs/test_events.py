"""The journal's format: scripts read it, and journals of earlier versions must stay readable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from parc_ray.motions.dataset import Dataset, ExcludedMotion, InvalidMotion, MotionEntry
from parc_ray.recording.outcome import Outcome
from parc_ray.recording.run_attempt import RunAttempt
from parc_ray.runs import events
from parc_ray.runs.history import read_run
from parc_ray.runs.journal import Journal
from parc_ray.runs.journal_reader import read_events, read_journal
from parc_ray.runs.ledger import read_ledger
from parc_ray.runs.lines import event_of, line_of
from parc_ray.runs.motion_state import MotionState

FIRST = Path(__file__).parent / "first_journal.jsonl"
"""As the first version that could go on with a run wrote it, in three sessions; of the demo's motions two are left,
of the fingerprint's env_file two keys."""

ENTRY = MotionEntry("m", "m.pkl", 1.0, 61, 30.0, 2.0, (3, 4), 100, sha256="f", terrain_range=0.5)
ATTEMPT = RunAttempt(
    "m",
    0,
    0.0,
    0.0,
    2.0,
    Outcome.RECORDED,
    quality={"root_error": 0.1},
    recorded_seconds=2.0,
    env=1,
    began=0.5,
    ended=2.5,
)
DATASET = Dataset((ENTRY,), (InvalidMotion("bad", "bad.pkl", "is empty"),), (ExcludedMotion("s", "s.pkl", "short"),))
LINES = [
    (
        events.RunStarted({"seed": 0}, 1, "here", 7, "/here", "humanoid.xml", {"ray": "2"}, {"seed": 0}),
        "run host pid folder character versions fingerprint config motions",
    ),
    (events.ShardStarted(0, ["m"], 1, 0), "shard shard motions envs deaths"),
    (events.ActorReady(0, "here", "a CPU"), "ready shard node cpu"),
    (
        events.AttemptEnded(0, 4, ATTEMPT),
        "attempt shard recording_bytes recording_sha256 trajectory_bytes motion number start_fraction start_time "
        "seconds outcome reason quality next_fraction recorded_seconds criteria body env began ended",
    ),
    (
        events.MotionEnded("m", MotionState.RECORDED, "", 0.25, 2.0, "m.pkl", 4),
        "motion motion state reason start_fraction seconds path bytes sha256",
    ),
    (events.RecordingLost("m"), "lost motion"),
    (events.ActorDied(0, "gone", ["m"], "here", "cuda:0"), "death shard reason unfinished node device"),
    (events.DeviceSetAside("here", "cuda:0", "broken"), "set_aside node device reason"),
    (events.ActorIdle("here", "cuda:0"), "idle shard node device"),
    (events.RunEnded(0), "end exit_code"),
    *zip(
        events.dataset_events(DATASET),
        (
            "excluded motion path reason",
            "motion state motion path reason",
            "planned motion path weight num_frames fps length terrain_shape file_bytes sha256 terrain_range labelled "
            "loops",
        ),
    ),
]


@pytest.mark.parametrize("event, expected", LINES, ids=[type(event).__name__ for event, _ in LINES])
def test_every_line_has_the_keys_of_its_event_and_is_read_back(tmp_path, event, expected):
    kind, *keys = expected.split()
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(event)
    journal.close()
    (line,) = read_journal(tmp_path / "journal.jsonl")
    assert line["event"] == kind
    assert line.keys() == {"event", "time", "elapsed", *keys}
    (read,) = read_events(tmp_path / "journal.jsonl")
    assert json.dumps(line_of(read.event)) == json.dumps(line_of(event)) and type(read.event) is type(event)


def test_a_planned_motion_is_the_entry_that_it_was():
    *_, line = (json.loads(json.dumps(line_of(event))) for event in events.dataset_events(DATASET))
    assert event_of(line) == ENTRY


def test_what_later_versions_add_is_ignored(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(
        '{"event": "ready", "time": 1.0, "elapsed": 0.5, "shard": 3, "mood": "good"}\n'
        '{"event": "rewound", "time": 1.0, "elapsed": 0.5}\n'
    )
    (line,) = read_events(path)
    assert (line.event, line.time, line.clock) == (events.ActorReady(3), 1.0, 0.5)


# ------------------------------------------------------------------------------------------- the first version


def test_the_ledger_of_the_first_versions_journal():
    """Without elapsed, env, began, ended, criteria, folder, character, terrain_range and envs."""
    ledger = read_ledger(FIRST)
    assert (ledger.sessions, ledger.attempts, ledger.control_steps) == (3, 5, 6 + 27 + 7 + 6 + 113)
    assert {name: (done.state, done.reason, done.bytes) for name, done in ledger.outcomes.items()} == {
        "demo_tumble_idle_d10_045": ("rejected", "not tracked: root position after 0.20 s", 0),
        "demo_late_idle_d10_040": ("recorded", "", 37322),
    }
    assert ledger.next_attempt == {"demo_late_idle_d10_040": 2, "demo_tumble_idle_d10_045": 3}
    assert ledger.unwritten == {}
    assert ledger.simulator == "mujoco"


def test_a_run_of_the_first_version_is_read_back(tmp_path):
    shutil.copy(FIRST, tmp_path / "journal.jsonl")
    run = read_run(tmp_path)
    assert {m.name: (m.state, [a.outcome for a in m.attempts]) for m in run.motions} == {
        "demo_late_idle_d10_040": ("recorded", ["failed", "recorded"]),
        "demo_tumble_idle_d10_045": ("rejected", ["failed", "failed", "failed"]),
    }
    assert [(session.exit_code, round(session.seconds, 3)) for session in run.sessions] == [
        (130, 20.026),
        (130, 52.098),
        (0, 65.356),
    ]
    assert [(launch.session, launch.shard, launch.envs) for launch in run.launches] == [(k, 1, None) for k in range(3)]
    attempts = [attempt for _, attempt in run.attempts()]
    assert all((a.env, a.began, a.trajectory) == (None, None, None) for a in attempts)
    assert [a.criteria for a in attempts] == [("root position",), ()] + [("root position",)] * 3

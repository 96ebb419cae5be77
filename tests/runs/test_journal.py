from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from parc_ray.errors import InputError, OutputError
from parc_ray.runs.events import ActorReady, MotionEnded, RunEnded, RunStarted, ShardStarted
from parc_ray.runs.journal import Journal
from parc_ray.runs.journal_reader import read_journal
from parc_ray.runs.motion_state import MotionState
from tests.runs.test_ledger import attempt


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


STARTED = RunStarted({}, 2, host="node7", pid=123)
SHARD = ShardStarted(1, ["a"], 1)


def write(path, *events):
    journal = Journal(path)
    for event in events:
        journal.write(event)
    journal.close()


def test_events_are_read_back_in_order_and_appended_to(path):
    write(path, STARTED, MotionEnded("große Ü\n\u2028 bung", MotionState.REJECTED))
    write(path, RunEnded(0))
    events = list(read_journal(path))
    assert [event["event"] for event in events] == ["run", "motion", "end"]
    assert events[1]["motion"] == "große Ü\n\u2028 bung"
    assert len(path.read_bytes().splitlines()) == 3
    assert all(event["time"] > 1.7e9 for event in events)


def test_an_event_is_on_its_way_to_disk_at_once(path):
    journal = Journal(path)
    journal.write(ActorReady(0))
    assert [event["shard"] for event in read_journal(path)] == [0]
    journal.close()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_last_line_is_skipped(path, cut):
    write(path, SHARD, MotionEnded("a", MotionState.RECORDED))
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [event["event"] for event in read_journal(path)] == ["shard"]


def test_every_line_is_json_by_itself(path):
    event = attempt("a")
    quality = {"error": 0.5, "diverged": float("nan")}
    write(path, replace(event, attempt=replace(event.attempt, quality=quality)))
    assert json.loads(path.read_text())["quality"] == {"error": 0.5, "diverged": None}


@pytest.mark.parametrize(
    "tail", [b"", b'{"event": "mot', b'{"event": "motion", "time": 1}', b"\0" * 30, b"\0" * 30 + b"\n"]
)
def test_a_journal_goes_on_after_its_last_whole_line(path, tail):
    """A kill leaves half a line, a power failure zeros."""
    write(path, STARTED, SHARD)
    path.write_bytes(path.read_bytes() + tail)
    write(path, RunEnded(0))
    assert [event["event"] for event in read_journal(path)] == ["run", "shard", "end"]


@pytest.mark.parametrize("damage", [b"nonsense\n", b"[1, 2]\n", b"{}\n", b"\xff\n", b"\n"])
def test_a_damaged_line_in_the_middle_is_named(path, damage):
    write(path, STARTED)
    path.write_bytes(path.read_bytes() + damage + path.read_bytes())
    with pytest.raises(InputError, match=r"journal\.jsonl: line 2 is damaged.*--overwrite"):
        list(read_journal(path))
    journal = Journal(path)
    journal.clear()
    journal.write(STARTED)
    journal.close()
    assert [event["event"] for event in read_journal(path)] == ["run"]


def test_only_one_at_a_time_writes_a_journal(path):
    """The lock dies with its owner: no file is left that would have to be removed by hand."""
    first = Journal(path)
    first.write(STARTED)
    with pytest.raises(InputError, match=r"another run is at work there \(on node7, pid 123\)"):
        Journal(path)
    first.close()
    Journal(path).close()


def test_a_full_disk_is_told(path):
    journal = Journal(path)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._file.fileno())
    os.close(full)
    with pytest.raises(OutputError, match=r"journal\.jsonl: cannot be written \(No space left"):
        journal.write(STARTED)


def test_a_journal_that_is_deleted_meanwhile_is_restored(path):
    journal = Journal(path)
    journal.events([ActorReady(shard=1), attempt("walk", 0, "failed")])
    before = path.read_bytes()
    path.unlink()
    with pytest.raises(OutputError, match=r"journal.jsonl: was deleted .* nothing is lost; run the same command"):
        journal.events([attempt("walk", 1, "failed")])
    journal.close()
    assert path.read_bytes().startswith(before) and len(list(read_journal(path))) == 3


def test_a_journal_that_is_replaced_meanwhile_is_not_touched(path):
    journal = Journal(path)
    path.unlink()
    path.write_text("of somebody else")
    with pytest.raises(OutputError, match="Another file is in its place"):
        journal.events([attempt("walk", 0, "failed")])
    journal.close()
    assert path.read_text() == "of somebody else"

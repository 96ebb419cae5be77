from __future__ import annotations

import json

import pytest

from parc_ray.cluster.journal import Journal, read_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def write(path, *events):
    journal = Journal(path)
    for event, values in events:
        journal.write(event, **values)
    journal.close()


def test_events_are_read_back_in_order_and_appended_to(path):
    write(path, ("run", {"motions": 2}), ("motion", {"motion": "große Ü\n\u2028 bung", "path": None}))
    write(path, ("end", {"exit_code": 0}))
    events = list(read_journal(path))
    assert [event["event"] for event in events] == ["run", "motion", "end"]
    assert events[1]["motion"] == "große Ü\n\u2028 bung"
    assert len(path.read_bytes().splitlines()) == 3
    assert all(event["time"] > 1.7e9 for event in events)


def test_an_event_is_on_its_way_to_disk_at_once(path):
    journal = Journal(path)
    journal.write("shard", shard=0)
    assert [event["shard"] for event in read_journal(path)] == [0]
    journal.close()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_last_line_is_skipped(path, cut):
    write(path, ("shard", {"shard": 1}), ("motion", {"motion": "a", "state": "recorded"}))
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [event["event"] for event in read_journal(path)] == ["shard"]


def test_every_line_is_json_by_itself(path):
    write(path, ("attempt", {"quality": {"error": 0.5}, "number": 1}))
    assert json.loads(path.read_text())["quality"] == {"error": 0.5}

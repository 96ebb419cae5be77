"""The logs: every line at the time when it came about, whoever tells of it and whenever."""

from __future__ import annotations

import calendar
import re
import shutil
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.cluster import driver
from parc_ray.errors import InputError, OutputError
from parc_ray.runs import logs
from parc_ray.runs.logs import Logs, in_order, stamp
from tests.cluster.runs import assert_accounted_for, record_run
from tests.cluster.simulated import simulated_actor
from tests.runs.test_output import directory

STAMPED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{3})Z (.*)")


def read(path):
    """(s since 1970, text) of every line; fails if one has no time."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [STAMPED.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match]
    times = [calendar.timegm(time.strptime(match[1], "%Y-%m-%d %H:%M:%S")) + float(match[2]) for match in found]
    return list(zip(times, (match[3] for match in found)))


@pytest.fixture
def made(tmp_path):
    (tmp_path / "logs").mkdir()
    return Logs(tmp_path / "logs")


@given(st.lists(st.tuples(st.floats(0, 4e9), st.text(st.characters(blacklist_categories=("C", "Zl", "Zp"))))))
def test_a_merge_is_a_stable_sort_by_time(lines):
    content = "".join(f"{stamp(seconds)} {text}\n" for seconds, text in lines)
    expected = sorted(((round(seconds * 1000), text) for seconds, text in lines), key=lambda line: line[0])
    assert in_order(content.encode()).decode() == "".join(f"{stamp(ms / 1000)} {text}\n" for ms, text in expected)


def test_what_has_no_time_stays_with_the_line_before_it():
    later, earlier = stamp(200.0).encode(), stamp(100.0).encode()
    content = b"torn\n" + later + b" b\n  its detail\n\0\0\n" + earlier + b" a\n2026-11-23 00:"
    merged = b"torn\n" + earlier + b" a\n2026-11-23 00:\n" + later + b" b\n  its detail\n\0\0\n"
    assert in_order(content) == merged == in_order(merged)
    assert in_order(b"") == b""


def test_lines_are_where_they_belong_as_soon_as_they_are_written(made):
    before = time.time()
    made.write([(0.0, "begins")])
    made.write([(5.0, "walk_001: recorded"), (90.0, "walk_002: failed"), (0.0, "done")], shard=3)
    made.write([(7.0, "idle")], shard=12345)
    made.write([])
    shard = [text for _, text in read(made.folder / "shard_0003.log")]
    assert shard == ["shard 3: walk_002: failed", "shard 3: walk_001: recorded", "shard 3: done"]
    assert [text for _, text in read(made.run)] == ["begins", *shard, "shard 12345: idle"]
    made.merge()
    times, texts = zip(*read(made.run))
    assert list(texts) == [shard[0], "shard 12345: idle", shard[1], "begins", shard[2]]
    assert times == tuple(sorted(times))
    assert times[0] == pytest.approx(before - 90, abs=1.0) and times[2] == pytest.approx(before - 5, abs=1.0)
    assert {path.name for path in made.shards()} == {"shard_0003.log", "shard_12345.log"}


def test_clocks_that_are_set_do_not_disturb_a_run(made, monkeypatch):
    made.write([(0.0, "first")])
    monkeypatch.setattr(logs.time, "time", lambda: 0.0)
    made.write([(0.0, "second")])
    made.write([(-3.0, "from the future")])
    times = [when for when, _ in read(made.run)]
    assert times == sorted(times) and times[-1] - times[0] < 1.0


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2Jwalk", "a\rb", "2026\u2028x", "\ud800", "tab\tb", "走る"])
def test_a_line_stays_a_line_whatever_is_in_it(made, text):
    made.write([(0.0, text), (0.0, "next")], shard=1)
    for path in (made.run, made.folder / "shard_0001.log"):
        lines = read(path)
        assert len(lines) == 2
        assert all(letter.isprintable() for _, line in lines for letter in line)


def test_a_merge_that_fails_leaves_the_log_as_it_was(made, monkeypatch):
    made.write([(0.0, "later")])
    made.write([(9.0, "earlier")])
    before = made.run.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            made.merge()
    assert made.run.read_bytes() == before and [path.name for path in made.folder.iterdir()] == ["run.log"]
    made.merge()
    assert [text for _, text in read(made.run)] == ["earlier", "later"]


def test_a_log_that_cannot_be_written_is_told(made):
    shutil.rmtree(made.folder)
    with pytest.raises(OutputError, match=r"run\.log: cannot be written \(No such file"):
        made.write([(0.0, "line")])


def test_logs_of_shards_are_the_runs_own(tmp_path):
    """--overwrite deletes them, and nothing is written through a link that has the name of one."""
    output = directory(tmp_path / "out")
    output.prepare()
    output.log("line", 3)
    (tmp_path / "out" / "logs" / "shard_notes.log").write_text("mine")
    output.clear()
    assert [path.name for path in (tmp_path / "out" / "logs").iterdir()] == ["shard_notes.log"]
    (tmp_path / "out" / "logs" / "shard_0007.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"shard_0007\.log: is a symbolic link"):
        output.require_unlinked()


def test_of_many_lines_each_is_written_once(made, monkeypatch):
    """10,000 motions with three attempts each."""
    append, written = logs._append, []
    monkeypatch.setattr(logs, "_append", lambda path, text: (written.append(len(text)), append(path, text)))
    for report in range(1000):
        made.write([(0.5, f"motion_{report}_{k}: attempt 0 from 0%: recorded") for k in range(30)], report % 8)
    made.merge()
    assert sum(written) == sum(path.stat().st_size for path in (made.run, *made.shards()))
    assert len(read(made.run)) == 30_000


# ------------------------------------------------------------------------------------------- runs


def ends(lines):
    """Those of attempts: (time of the line, time that the actor itself has read from the clock)."""
    return [(when, float(text.rsplit(" ", 1)[1])) for when, text in lines if ", ended at " in text]


def test_actors_lines_have_the_time_at_which_they_came_about(many_motions, address, tmp_path, monkeypatch):
    """Not that of the report, which comes up to 0.8 s later; and a run that goes on appends to what is there."""
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.03))
    monkeypatch.setattr(driver, "REPORT_SECONDS", 0.8)
    run = record_run(tmp_path, many_motions, address, ray={"num_actors": 2, "num_shards": 2})
    assert_accounted_for(run)
    folder = run.output / "logs"
    lines = read(folder / "run.log")
    assert [when for when, _ in lines] == sorted(when for when, _ in lines)
    assert len(ends(lines)) == run.summary["attempts"]
    assert statistics.median(abs(when - really) for when, really in ends(lines)) < 0.2
    by_shard = [read(folder / f"shard_000{shard}.log") for shard in (0, 1)]
    assert all([when for when, _ in part] == sorted(when for when, _ in part) for part in by_shard)
    assert sorted(line for line in lines if line[1].startswith("shard ")) == sorted(by_shard[0] + by_shard[1])
    first, second = (ends(part) for part in by_shard)
    assert first[0][0] < second[-1][0] and second[0][0] < first[-1][0], "they worked at the same time"
    assert lines[0][1].startswith("60 motions,") and lines[-1][1] == "the run has ended with exit code 0"

    # As a kill leaves it: out of order, the last line torn; and half of the recordings are gone.
    content = (folder / "run.log").read_bytes()
    half = content.index(b"\n", len(content) // 2) + 1
    (folder / "run.log").write_bytes(content[half:] + content[:half] + b"2026-")
    for path in run.files[::2]:
        path.unlink()
    again = record_run(tmp_path, many_motions, address)
    assert_accounted_for(again)
    text = (folder / "run.log").read_text()
    assert text.count("\n2026-\n") == 1
    text = text.replace("\n2026-\n", "\n")
    assert text.startswith(content.decode())
    later = text[len(content) :].splitlines()
    assert later == sorted(later, key=lambda line: line[:24])
    assert sum(", ended at " in line for line in later) == len(run.files[::2])
    assert (folder / "shard_0000.log").read_text().count("began at") == 2


def test_an_unforeseen_error_is_in_the_log_whole(many_motions, address, tmp_path, monkeypatch):
    from tests.cluster.test_driver import once, scripted

    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(many_motions / "motion_000.pkl", few / "idle_000.pkl")
    monkeypatch.setattr(driver, "ShardActor", scripted(once(tmp_path, lambda: 1 / 0)))
    run = record_run(tmp_path, few, address)
    texts = [text for _, text in read(run.output / "logs" / "shard_0000.log")]
    assert any('File "' in text and "test_logs.py" in text for text in texts)
    assert any(text.startswith("shard 0: actor raised: ZeroDivisionError") for text in texts)

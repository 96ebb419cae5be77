"""What a run says: to people, to scripts, and to readers that have gone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading

from rich.console import Console

from parc_ray.cluster import driver, record_keeper
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.session import record_and_report
from parc_ray.terminal.screen import EventStream, Screen, Unbreakable
from tests.cluster.runs import Run, assert_accounted_for, write_config
from tests.cluster.simulated import simulated_actor
from tests.reference import ROOT

SIMULATED = "from tests.cluster.simulated import install; install(seconds=0.02)"
NOISE = "import os\nprint('from Python')\nos.write(1, b'from a library')\nos.system('echo from a child')"
BUILTIN_MAIN = "from parc_ray.cli import main; main()"


def start(config, *arguments, before="pass"):
    """parc-ray record in a process of its own, with simulated recorders; `before` runs when the run begins."""
    program = f"""
from parc_ray.planning import preparation
{SIMULATED}
make_plan = preparation.make_plan
def noisy(*arguments):
    exec({before!r})
    return make_plan(*arguments)
preparation.make_plan = noisy
{BUILTIN_MAIN}
"""
    return start_program(program, config, *arguments)


def start_program(program, config, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(
        [sys.executable, "-c", program, "record", "--config", str(config), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT,
    )  # fmt: skip


def events(text):
    return [json.loads(line) for line in text.splitlines()]


# ------------------------------------------------------------------------------------------- --json


def test_json_is_the_journal_with_progress_and_a_summary(many_motions, motions, address, tmp_path):
    """Line by line as it is in the file; and nothing else is on standard output, whoever prints."""
    config = write_config(tmp_path, [many_motions, motions / "more" / "deep"], address, ray={"num_actors": 2})
    (tmp_path / "empty.pkl").write_bytes(b"")
    process = start(config, "--json", before=NOISE)
    stdout, stderr = (text.decode() for text in process.communicate(timeout=120))
    assert process.returncode == 0, stderr
    kept = [line for line in stdout.splitlines() if json.loads(line)["event"] not in ("progress", "summary")]
    assert kept == (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    *said, summary = events(stdout)
    assert summary.pop("event") == "summary" and summary.pop("time") > 0
    run = Run(0, tmp_path / "out", stderr)
    assert summary == run.summary
    progress = [event for event in said if event["event"] == "progress"]
    states = ("recorded", "rejected", "invalid", "crashed", "waiting")
    assert progress
    assert all(sum(event[state] for state in states) == event["motions"] == summary["motions"] for event in progress)
    assert progress[-1]["recorded"] >= progress[0]["recorded"] and progress[-1]["steps_per_second"] > 0
    assert all(text in stderr for text in ("from Python", "from a library", "from a child", "control steps/s"))
    assert_accounted_for(run)


def test_bad_input_is_an_event_too(motions, tmp_path):
    process = start_program(BUILTIN_MAIN, write_config(tmp_path, [motions], None, speed=3), "--json")
    stdout, stderr = (text.decode() for text in process.communicate(timeout=120))
    assert process.returncode == 2
    (event,) = events(stdout)
    assert event["event"] == "error" and event["exit_code"] == 2 and "speed" in event["message"]
    assert stderr.strip().endswith(event["message"]) and "Traceback" not in stderr


def test_a_slow_reader_does_not_slow_the_run_and_one_that_goes_does_not_end_it():
    reader, writer = os.pipe()
    stream = EventStream(writer)
    for number in range(20_000):  # more than any pipe holds
        stream.event("progress", number=number)
    text = b""
    while text.count(b"\n") < 10_000:
        text += os.read(reader, 1 << 16)
    assert [event["number"] for event in events(text.decode()[: text.rindex(b"\n") + 1])][:3] == [0, 1, 2]
    os.close(reader)
    stream.event("progress", number=-1)
    closing = threading.Thread(target=stream.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    os.close(writer)


def test_a_run_outlives_its_reader(many_motions, address, tmp_path):
    """As with `parc-ray record ... | head -1`."""
    processes = {
        name: start(write_config(tmp_path / name, [many_motions], address), *arguments)
        for name, arguments in (("json", ["--json"]), ("words", []))
    }
    for process in processes.values():
        assert process.stdout.readline()
        process.stdout.close()
    for name, process in processes.items():
        stderr = process.stderr.read().decode()
        assert process.wait(120) == 0, stderr
        run = Run(0, tmp_path / name / "out", stderr)
        assert_accounted_for(run)
        assert run.summary["unfinished"] == 0 and run.events("end")
        assert "BrokenPipe" not in stderr and "Traceback" not in stderr


# ------------------------------------------------------------------------------------------- people


def test_quiet_says_only_what_must_be_known(motions, address, tmp_path, monkeypatch):
    """Motions that are invalid or crash, each once."""
    monkeypatch.setattr(driver, "ShardActor", simulated_actor(0.0))
    config = load_config(write_config(tmp_path, [motions], address), RecordConfig, None)
    read_bytes = record_keeper.read_bytes
    monkeypatch.setattr(
        record_keeper, "read_bytes", lambda path: read_bytes(path) + b"changed" * ("tumble" in path.name)
    )
    alerts = Console(file=io.StringIO(), width=200)
    assert record_and_report(config, None, False, Screen(Console(quiet=True), alerts)).exit_code == 3
    lines = alerts.file.getvalue().splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["crashed", "invalid", "invalid"]


def test_quiet_leaves_standard_output_empty(motions, tmp_path):
    process = start_program(BUILTIN_MAIN, write_config(tmp_path, [motions], None, speed=3), "--quiet")
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == b"" and stderr.startswith(b"error: ") and b"speed" in stderr


def test_letters_that_a_terminal_lacks_do_not_end_a_run():
    raw = io.BytesIO()
    console = Console(file=Unbreakable(io.TextIOWrapper(raw, encoding="latin-1")), width=80)
    console.print("crashed: Übung_走る: died")
    assert raw.getvalue().decode("latin-1") == "crashed: Übung_\\u8d70\\u308b: died\n"


def test_a_full_disk_under_standard_output_does_not_end_a_run():
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        console = Console(file=Unbreakable(full), width=80)
        for _ in range(3):
            console.print("line")

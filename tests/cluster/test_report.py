"""report.html of real runs: every number computed again from journal.jsonl and the recordings, by other means."""

from __future__ import annotations

import json
import pickle
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from parc_ray import cli, session
from parc_ray.motions.motion_file import read_motion
from tests.cluster.conftest import SPECS
from tests.cluster.runs import assert_accounted_for, record_run
from tests.report.embedded import embedded, rows, unpacked

QUALITIES = ("root_error", "body_error", "joint_angle_error", "contact_agreement", "max_penetration")


@pytest.fixture(scope="module")
def truth(undisturbed):
    """The journal as plain dicts, and what the page says of it."""
    lines = [json.loads(line) for line in (undisturbed.output / "journal.jsonl").read_text().splitlines()]
    by_kind = defaultdict(list)
    for line in lines:
        by_kind[line["event"]].append(line)
    page = (undisturbed.output / "report.html").read_text()
    attempts = by_kind["attempt"]
    return SimpleNamespace(
        lines=by_kind, attempts=attempts, page=page, data=embedded(page), statistics=embedded(page)["statistics"],
        planned={line["motion"]: line for line in by_kind["planned"]},
        last={line["motion"]: line for line in attempts},
        final={line["motion"]: line for line in by_kind["motion"] if line["state"] != "invalid"},
        parts={path.stem: pickle.loads(path.read_bytes()) for path in undisturbed.files},
    )  # fmt: skip


def test_the_headline(truth, undisturbed):
    counts = truth.statistics["counts"]
    states = Counter(line["state"] for line in truth.lines["motion"])
    assert counts["motions"] == sum(counts["states"].values()) == len(truth.lines["motion"])
    assert counts["states"] == {
        "recorded": len(truth.parts), "rejected": states["rejected"], "invalid": states["invalid"], "crashed": 0,
        "unfinished": 0,
    }  # fmt: skip
    frames = [len(pickle.loads(part["motion_data"])["root_pos"]) for part in truth.parts.values()]
    assert counts["recorded_seconds"] == pytest.approx(sum(n - 1 for n in frames) / 30, abs=1e-3)
    assert counts["dataset_seconds"] == pytest.approx(sum(m["length"] for m in truth.planned.values()), abs=1e-3)
    assert counts["attempts"] == len(truth.attempts)
    assert counts["control_steps"] == round(sum(line["seconds"] for line in truth.attempts) * 30)
    assert counts["wall_seconds"] == pytest.approx(
        truth.lines["end"][0]["elapsed"] - truth.lines["run"][0]["elapsed"], abs=2e-3
    )
    summary = undisturbed.summary
    assert summary["wall_seconds"] == counts["wall_seconds"], "the same in the table and in the report"
    assert summary["control_steps_per_second"] == round(counts["control_steps"] / counts["wall_seconds"], 1)
    for name in ("motions", "attempts", "recorded_seconds", "dataset_seconds"):
        assert counts[name] == summary[name]
    for name, value in counts["states"].items():
        assert value == summary[name]


def test_the_funnel(truth):
    found = {start["fraction"]: start for start in truth.statistics["starts"]}
    assert set(found) == {line["start_fraction"] for line in truth.attempts}
    for fraction, start in found.items():
        own = [line for line in truth.attempts if line["start_fraction"] == fraction]
        assert start["attempted"] == len(own) == sum(start[n] for n in ("recorded", "retried", "ended", "open"))
        assert start["recorded"] == sum(line["outcome"] == "recorded" for line in own)
        assert start["retried"] == sum(line["next_fraction"] is not None for line in own)
        assert start["open"] == 0
    ended = Counter(ending["state"] for ending in truth.statistics["endings"] for _ in range(ending["motions"]))
    states = Counter(line["state"] for line in truth.lines["motion"] if line["state"] != "recorded")
    assert ended == states
    for ending in truth.statistics["endings"]:
        if ending["state"] == "rejected":
            kind, _, criteria = ending["reason"].partition(": ")
            rejected = [line["reason"] for line in truth.final.values() if line["state"] == "rejected"]
            matching = [r for r in rejected if r.startswith(kind) and all(c in r for c in criteria.split(", "))]
            assert ending["motions"] == len(matching)


def test_the_distributions(truth):
    for name, histogram in zip(QUALITIES, truth.statistics["quality"]):
        assert histogram["name"] == name
        edges = np.array(histogram["edges"])
        every = np.array([line["quality"][name] for line in truth.attempts])
        for outcome, counts in histogram["series"].items():
            values = np.array([line["quality"][name] for line in truth.attempts if line["outcome"] == outcome])
            assert counts == np.histogram(np.minimum(values, edges[-1]), edges)[0].tolist()
            if len(values):
                assert histogram["medians"][outcome] == pytest.approx(np.median(values))
        assert histogram["beyond"] == (every > edges[-1]).sum()
    limits = truth.lines["run"][0]["config"]["acceptance"]
    assert truth.statistics["quality"][3]["limit"] == limits["min_contact_agreement"]
    assert truth.statistics["quality"][4]["limit"] == limits["max_penetration"]


def test_where_and_why_attempts_failed(truth):
    failed = [line for line in truth.attempts if line["outcome"] == "failed"]
    share, seconds = truth.statistics["failed_at"]
    for histogram, value in (
        (share, lambda line: (line["start_time"] + line["seconds"]) / truth.planned[line["motion"]]["length"]),
        (seconds, lambda line: line["seconds"]),
    ):
        assert set(histogram["series"]) == {line["reason"].split(" (")[0].split(" after")[0] for line in failed}
        for criterion, counts in histogram["series"].items():
            values = [value(line) for line in failed if line["reason"].startswith(criterion)]
            edges = np.array(histogram["edges"])
            assert counts == np.histogram(np.minimum(values, edges[-1]), edges)[0].tolist()
    told = Counter()
    for line in truth.attempts:
        for part in filter(None, line["reason"].split("; ")):
            name = part.split(" after ")[0].split(":")[0]
            told[tuple(name.rstrip(")").split(" (")) if "(" in name else (name, "")] += 1
    assert {(f["criterion"], f["body"]): f["attempts"] for f in truth.statistics["failures"]} == told


def test_success_by_length_and_terrain(truth, motions, skeleton):
    relief = {}
    for name, line in truth.planned.items():
        hf = pickle.loads(pickle.loads(Path(line["path"]).read_bytes())["terrain_data"])["hf"]
        relief[name] = float(hf.max() - hf.min())
    values = {"seconds": {n: line["length"] for n, line in truth.planned.items()}, "terrain_range": relief}
    for name, bins in truth.statistics["success"].items():
        assert sum(b["recorded_whole"] + b["recorded_later"] + b["not_recorded"] for b in bins) == len(SPECS)
        for k, b in enumerate(bins):
            last = k == len(bins) - 1

            def inside(value, b=b, last=last):
                return b["low"] <= value < b["high"] or (last and value == b["high"])

            own = [motion for motion, value in values[name].items() if inside(round(value, 4))]
            starts = [truth.last[n]["start_fraction"] for n in own if truth.final[n]["state"] == "recorded"]
            assert b["recorded_whole"] == starts.count(0.0)
            assert b["recorded_later"] == len(starts) - starts.count(0.0)
            assert b["not_recorded"] == len(own) - len(starts)


def test_the_timeline(truth):
    """Slots do one thing at a time, between the start of their actor and the end of the run."""
    (launch,), (use,), (session,) = truth.data["launches"], truth.statistics["use"], truth.data["sessions"]
    zero = truth.lines["run"][0]["elapsed"]
    assert launch["envs"] == len(SPECS) and launch["motions"] == len(SPECS) and launch["death"] == ""
    assert launch["ready"] == pytest.approx(truth.lines["ready"][0]["elapsed"] - zero, abs=2e-3)
    attempts = rows(truth.data["attempts"])
    assert 0 <= launch["began"] < launch["ready"] < launch["ended"] <= session["seconds"]
    busy = defaultdict(list)
    for attempt in attempts:
        assert launch["ready"] <= attempt["began"] < attempt["ended"] <= launch["ended"] + 0.05  # two processes' clocks
        busy[attempt["env"]].append((attempt["began"], attempt["ended"]))
    assert set(busy) <= set(range(len(SPECS)))
    for spans in busy.values():
        spans.sort()
        assert all(first[1] <= second[0] + 2e-3 for first, second in zip(spans, spans[1:]))
    for name, outcomes in (("useful", {"recorded"}), ("wasted", {"failed", "rejected"})):
        seconds = sum(line["ended"] - line["began"] for line in truth.attempts if line["outcome"] in outcomes)
        assert use[name] == pytest.approx(seconds, abs=0.01)
    total = launch["envs"] * (launch["ended"] - launch["ready"])
    assert use["cut"] == 0.0
    assert use["useful"] + use["wasted"] + use["idle"] == pytest.approx(total, abs=0.01)


def test_the_tables(truth):
    """Every motion and every attempt, to five digits."""
    shown = rows(truth.data["motions"])
    assert {row["name"] for row in shown if row["state"] != "invalid"} == set(SPECS)
    for row in shown:
        if row["state"] == "invalid":
            continue
        line = truth.final[row["name"]]
        assert (row["state"], row["reason"]) == (line["state"], line["reason"])
        assert row["seconds"] == pytest.approx(truth.planned[row["name"]]["length"], rel=1e-4)
        assert row["start_fraction"] == (line["start_fraction"] if line["state"] == "recorded" else None)
    attempts = rows(truth.data["attempts"])
    assert len(attempts) == len(truth.attempts)
    journalled = {(line["motion"], line["number"]): line for line in truth.attempts}
    for row in attempts:
        line = journalled[shown[row["motion"]]["name"], row["number"]]
        for name in ("outcome", "reason", "start_fraction", "criteria", "body", "env"):
            assert row[name] == line[name]
        for name, value in line["quality"].items():
            assert row[name] == pytest.approx(value, rel=1e-4)


def test_the_previews(truth, undisturbed, skeleton):
    """The recorded character stands on the ground of its own recording, and begins in its reference."""
    previews = embedded(truth.page, "previews")
    shown = rows(truth.data["motions"])
    assert {shown[int(k)]["name"] for k in previews["motions"]} == set(SPECS)
    for index, preview in previews["motions"].items():
        name = shown[int(index)]["name"]
        found = unpacked(preview, skeleton.num_bodies)
        clips = {clip["kind"]: clip for clip in preview["clips"]}
        assert ("recording" in clips) == (truth.final[name]["state"] == "recorded")
        if "recording" not in clips:
            continue
        (file,) = (undisturbed.output / "recorded_motions").rglob(f"{name}.pkl")
        recording = read_motion(file, skeleton)
        channels, size = found["recording"][:3].T / 1000, clips["recording"]["frames"]
        times = np.linspace(0, recording.length, size)
        frames = np.arange(recording.num_frames) / 30
        path = np.stack([np.interp(times, frames, recording.root_pos[:, k]) for k in range(3)], axis=1)
        moved = (channels - path).mean(axis=0)
        np.testing.assert_allclose(channels - path, np.broadcast_to(moved, path.shape), atol=2e-3)
        x, y, dx = preview["terrain"][2:]
        cells = np.rint((channels[:, :2] - [x, y]) / dx).astype(int).clip(0, np.array(found["heights"].shape) - 1)
        ground = found["heights"][cells[:, 0], cells[:, 1]]
        own = recording.terrain.height_at(path[:, :2]) + moved[2]
        assert (np.abs(ground - own) < 2e-3).mean() > 0.9, "but for those just on the edge of a cell"


def test_a_browser_shows_the_same(truth, undisturbed, browser):
    with browser.page(undisturbed.output / "report.html") as page:
        tiles = dict(zip(*(page.locator(s).all_inner_texts() for s in (".tile > span", ".tile b"))))
        table = [row.locator("td").all_inner_texts() for row in page.locator("#table tbody tr").all()]
        heads = [text.split("\n")[0] for text in page.locator("#table thead th").all_inner_texts()]
    counts = truth.statistics["counts"]
    states = {name: str(value) for name, value in counts["states"].items() if name != "unfinished"}
    assert tiles == {"motions": str(counts["motions"]), **states}
    shown = [dict(zip(heads, row)) for row in table]
    assert len(shown) == counts["motions"]
    valid = {row["Motion"]: row for row in shown if row["State"].split("\n")[0] != "invalid"}
    assert set(valid) == set(SPECS)
    for name, row in valid.items():
        quality = truth.last[name]["quality"]
        assert row["Root"] == f"{quality['root_error']:.3f}"
        assert row["Contacts"] == f"{quality['contact_agreement']:.2f}"
        assert row["Length"] == f"{truth.planned[name]['length']:.1f}"


# ------------------------------------------------------------------------------------------- when it is written


def test_a_report_that_fails_fails_no_run(motions, address, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "write_report", lambda *_, **__: 1 / 0)
    run = record_run(tmp_path, motions, address)
    assert run.code == 0
    assert "the report could not be written: division by zero" in run.console
    assert not (run.output / "report.html").exists()
    assert_accounted_for(run)
    monkeypatch.undo()
    again = record_run(tmp_path, motions, address, output={"report": False})
    assert again.code == 0, "whether there is a report does not keep a run from going on"
    assert "report.html" not in again.console and not (run.output / "report.html").exists()
    result = CliRunner().invoke(cli.app, ["report", str(run.output)])
    assert result.exit_code == 0 and str(run.output / "report.html") in result.output.replace("\n", "")
    data = embedded((run.output / "report.html").read_text())
    assert [session["exit_code"] for session in data["sessions"]] == [0, 0]
    assert data["notes"] == []

"""parc-ray compare of real runs: every metric computed again from journal.jsonl, by other means."""

from __future__ import annotations

import json
from collections import Counter
from math import comb

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from parc_ray import cli
from tests.cluster.conftest import SPECS
from tests.cluster.runs import CHECKPOINT, record_run


def changed_checkpoint(path):
    """The demo's tracker with weights that are 2 % off."""
    generator = torch.Generator().manual_seed(3)

    def disturbed(value):
        if isinstance(value, dict):
            return {key: disturbed(item) for key, item in value.items()}
        if not isinstance(value, torch.Tensor) or value.dim() != 2:
            return value
        return value * (1 + 0.02 * torch.randn(value.shape, generator=generator))

    torch.save(disturbed(torch.load(CHECKPOINT, weights_only=True)), path)
    return path


@pytest.fixture(scope="module")
def other(motions, address, tmp_path_factory):
    """The dataset recorded by a tracker that is a little worse, with other retries and a stricter acceptance."""
    folder = tmp_path_factory.mktemp("other")
    retry = {"start_fractions": [0.25, 0.3], "max_retries": 2, "min_segment_seconds": 1.0}
    model = str(changed_checkpoint(folder / "model.pt"))
    acceptance = {"max_mean_root_error": 0.06}
    return record_run(folder, motions, address, retry=retry, model_file=model, acceptance=acceptance)


def compared(baseline, candidate):
    result = CliRunner().invoke(cli.app, ["compare", str(baseline.output), str(candidate.output), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def journal(run):
    lines = [json.loads(line) for line in (run.output / "journal.jsonl").read_text().splitlines()]
    attempts = [line for line in lines if line["event"] == "attempt"]
    return {
        name: {
            "final": next(li for li in lines if li["event"] == "motion" and li["motion"] == name and "path" in li
                          and li["state"] != "invalid"),
            "first": next(li for li in attempts if li["motion"] == name),
            "last": [li for li in attempts if li["motion"] == name][-1],
        }
        for name in SPECS
    }  # fmt: skip


def test_every_figure_follows_from_the_journals(undisturbed, other):
    found, before, after = compared(undisturbed, other), journal(undisturbed), journal(other)
    starts = [
        {name: own["final"]["start_fraction"] for name, own in side.items() if own["final"]["state"] == "recorded"}
        for side in (before, after)
    ]
    both = sorted(starts[0].keys() & starts[1].keys())
    kinds = {
        "won": sorted(starts[1].keys() - starts[0].keys()),
        "lost": sorted(starts[0].keys() - starts[1].keys()),
        "earlier": [name for name in both if starts[1][name] < starts[0][name]],
        "later": [name for name in both if starts[1][name] > starts[0][name]],
        "undecided": [],
    }
    assert kinds["lost"] and len(both) > 2, "there is something to compare"
    assert {kind: [change["motion"] for change in found[kind]] for kind in kinds} == kinds
    assert found["compared"] == len(SPECS) and found["neither"] == len(SPECS) - len(starts[0].keys() | starts[1].keys())
    for kind in ("won", "lost"):
        for change in found[kind]:
            for side, name in ((before, "baseline"), (after, "candidate")):
                final = side[change["motion"]]["final"]
                assert (change[name]["state"], change[name]["reason"]) == (final["state"], final["reason"])
    won, lost = len(kinds["won"]), len(kinds["lost"])
    tail = sum(comb(won + lost, k) for k in range(min(won, lost) + 1)) / 2 ** (won + lost)
    assert found["probability"] == pytest.approx(min(1.0, 2 * tail))

    pairs = [name for name in both if starts[0][name] == starts[1][name]]
    assert found["same_start"] == len(pairs) > 0
    assert {metric["name"] for metric in found["quality"]} == set(before["idle_000"]["last"]["quality"])
    for metric in found["quality"]:
        values = np.array([[side[n]["last"]["quality"][metric["name"]] for side in (before, after)] for n in pairs])
        check(metric, values)
        assert np.abs(values[:, 1] - values[:, 0]).max() > 0 or metric["name"] == "contact_agreement"
    check(
        found["first_attempts"]["seconds"],
        np.array([[s[n]["first"]["seconds"] for s in (before, after)] for n in SPECS]),
    )
    assert found["first_attempts"]["whole_baseline"] == sum(s["first"]["outcome"] != "failed" for s in before.values())


def check(metric, values):
    differences = values[:, 1] - values[:, 0]
    assert metric["pairs"] == len(values)
    assert [metric["baseline"], metric["candidate"]] == pytest.approx(values.mean(axis=0))
    assert metric["difference"] == pytest.approx(differences.mean())
    if len(values) > 1:
        assert metric["deviation"] == pytest.approx(
            np.sqrt(((differences - differences.mean()) ** 2).sum() / (len(values) - 1))
        )
    assert metric["quartiles"] == pytest.approx(np.percentile(differences, [25, 50, 75]))


def test_counts_are_those_of_the_summaries(undisturbed, other):
    found = compared(undisturbed, other)
    for side, run in (("baseline", undisturbed), ("candidate", other)):
        assert found[side]["recorded_from"] == run.summary["recorded_from"]
        assert found[side]["rejected"] == run.summary["rejected_by_reason"]
        assert found[side]["recorded_seconds"] == run.summary["recorded_seconds"]
        assert found[side]["motions"] == run.summary["motions"] and found[side]["invalid"] == run.summary["invalid"]
        assert found[side]["control_steps"] == run.summary["env_steps"]
    keys = Counter(setting["key"].split(".")[0].split(" (")[0] for setting in found["settings"])
    assert keys == {"model_file": 2, "retry": 2, "acceptance": 1}


def test_a_run_and_itself(undisturbed):
    found = compared(undisturbed, undisturbed)
    assert not any(found[kind] for kind in ("won", "lost", "earlier", "later", "settings", "only_baseline", "changed"))
    assert all(metric["difference"] == 0.0 and metric["verdict"] == "" for metric in found["quality"])
    assert found["baseline"] == found["candidate"]

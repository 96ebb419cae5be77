"""Metrics as Ray exports them, and the dashboard that shows them."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import ray
from ray.util import metrics as ray_metrics

from parc_ray.cluster.monitoring import COUNTERS, GAUGES, Monitoring
from parc_ray.runs.activity import Activity, ActorWork
from parc_ray.runs.events import ActorDied, MotionEnded, ShardStarted
from parc_ray.runs.pace import Pace
from tests.cluster.command import Command, actor_processes
from tests.cluster.runs import write_config
from tests.reference import ROOT
from tests.runs.test_ledger import attempt, crash, make_ledger

DASHBOARD = ROOT / "configs" / "grafana" / "parc_ray.json"
METRIC = re.compile(r"^ray_(parc_ray_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

OFTEN = """
import json, os, time
os.environ["RAY_metrics_report_interval_ms"] = "500"
import ray
from pathlib import Path
from parc_ray.cluster import host, monitoring
from tests.cluster.simulated import install
install(seconds=0.06)
monitoring.UPDATE_SECONDS = 0.2
folder, connect, shutdown = Path({!r}), host.connect, ray.shutdown
def connected(*arguments):
    resources = connect(*arguments)
    (folder / "nodes.json").write_text(json.dumps([node for node in ray.nodes() if node["Alive"]]))
    return resources
def linger():
    deadline = time.monotonic() + 60
    while not (folder / "seen").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    shutdown()
host.connect, ray.shutdown = connected, linger
"""
"""Ray passes metrics on every 10 s, and simulated runs do not take as long. Some of its versions forget at once what a
driver that has gone has told, so this one waits until all has been seen."""


LAST_WORDS = tuple(int(part) for part in ray.__version__.split(".")[:2]) >= (2, 50)
"""Ray 2.10 does not always pass on what a driver has told last; it forgets all of it soon after the driver has gone"""


def scrape(nodes):
    """(name, labels, value) of what all nodes export of ours."""
    found = []
    for node in nodes:
        try:
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            with urlopen(url, timeout=10) as page:
                text = page.read().decode()
        except (URLError, OSError):
            continue  # its agent is not up yet
        found += [(name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in METRIC.findall(text)]
    return found


def totals(samples, name, *labels):
    """Sums by labels."""
    sums = Counter()
    for sample, tags, value in samples:
        if sample == name:
            sums[tuple(tags[label] for label in labels)] += value
    return sums


def test_what_ray_exports_is_what_the_journal_says(many_motions, address, tmp_path):
    """On the ports that Prometheus asks, by shard; and when the run has ended no gauge stays as it was."""
    config = write_config(tmp_path, [many_motions], address, ray={"num_actors": 2, "num_shards": 3})
    here, seen, sums = str(tmp_path / "out"), {}, set()

    def samples():
        return [sample for sample in scrape(nodes) if sample[1]["run"] == here]

    with Command(config, OFTEN.format(str(tmp_path))) as command:
        command.wait_for("attempt", 10)
        os.kill(actor_processes()[0].pid, signal.SIGKILL)
        nodes = json.loads((tmp_path / "nodes.json").read_text())
        while command.running:
            ended = bool(command.events("end"))
            last = samples()
            for name, tags, value in last:
                seen.setdefault(name, []).append((tags, value))
            sums.add(sum(totals(last, "parc_ray_motions").values()))
            attempts = Counter((str(event["shard"]), event["outcome"]) for event in command.events("attempt"))
            if ended and (not LAST_WORDS or totals(last, "parc_ray_attempts_total", "shard", "outcome") == attempts):
                (tmp_path / "seen").touch()
                break
            time.sleep(0.3)  # an agent that is always asked takes nothing in
        run = command.finish()
    assert run.code == 0, run.console
    assert set(seen) >= set(GAUGES) and 60.0 in sums
    assert max(value for _, value in seen["parc_ray_device_memory_used_bytes"]) == 3 << 30
    assert max(value for _, value in seen["parc_ray_slot_utilisation"]) == pytest.approx(0.5, abs=0.05)
    assert max(value for _, value in seen["parc_ray_process_memory_bytes"]) > 10e6
    assert {tags["shard"] for tags, _ in seen["parc_ray_shard_motions"]} >= {"0", "1", "2"}
    counted = totals(last, "parc_ray_attempts_total", "shard", "outcome")
    assert counted and not counted - attempts
    if LAST_WORDS:
        assert counted == attempts
        deaths = Counter((str(event["shard"]),) for event in run.events("death"))
        assert totals(last, "parc_ray_actor_deaths_total", "shard") == deaths and deaths
        assert sum(totals(last, "parc_ray_control_steps_total").values()) == run.summary["env_steps"]
        assert not [sample for sample in last if sample[0] in GAUGES and sample[2]]


def test_the_dashboard_shows_every_metric_and_no_other():
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    exported = {f"ray_{name}" for name in (*GAUGES, *COUNTERS)}
    assert {name for query in queries for name in re.findall(r"ray_parc_ray_\w+", query)} == exported
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert {name for query in queries for name in re.findall(r"\$(\w+)", query)} <= {*variables, "__rate_interval"}
    assert variables["datasource"]["type"] == "datasource"
    places = [panel["datasource"] for panel in dashboard["panels"]] + [
        target["datasource"] for panel in dashboard["panels"] for target in panel["targets"]
    ]
    assert all(place == {"type": "prometheus", "uid": "${datasource}"} for place in places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    labels = {f"ray_{name}": {"run", *tags} for name, (_, tags) in {**GAUGES, **COUNTERS}.items()}
    for query in queries:
        (name,) = re.findall(r"ray_parc_ray_\w+", query)
        used = set(re.findall(r"(\w+)=~", query)) | set(re.findall(r"\w+", "".join(re.findall(r"by \((.*?)\)", query))))
        assert used <= labels[name], query


# ------------------------------------------------------------------------------------------- without Ray


@pytest.fixture
def recorded(monkeypatch):
    """What Ray would be given: {(name, labels): value}."""
    values = {}

    class Metric:
        def __init__(self, name, description, tag_keys):
            self.name, self.keys = name, set(tag_keys)

        def set_default_tags(self, tags):
            self.default = tags
            return self

        def set(self, value, tags):
            tags = {**self.default, **tags}
            assert set(tags) == self.keys
            assert all(tag.isascii() and 0 < len(tag) <= 255 for tag in tags.values())
            values[self.name, tuple(sorted(tags.items()))] = value

        def inc(self, value, tags):
            assert value > 0
            before = values.get((self.name, tuple(sorted({**self.default, **tags}.items()))), 0)
            self.set(before + value, tags)

    monkeypatch.setattr(ray_metrics, "Gauge", Metric)
    monkeypatch.setattr(ray_metrics, "Counter", Metric)
    return values


def test_a_shard_on_a_gpu_leaves_nothing_behind(recorded):
    metrics = Monitoring("/mnt/Übung/" + "x" * 300, pytest.fail)
    metrics.work(ActorWork(7, 10, 2.0, 50, 400, "knöten", 300, "cuda:3", 20_000, 80_000))
    by_name = {name: value for (name, _), value in recorded.items()}
    assert by_name == {
        "parc_ray_envs": 10,
        "parc_ray_envs_busy": 8.0,
        "parc_ray_slot_utilisation": 0.8,
        "parc_ray_control_steps_total": 400,
        "parc_ray_steps_per_second": 200.0,
        "parc_ray_process_memory_bytes": 300,
        "parc_ray_device_memory_used_bytes": 20_000,
        "parc_ray_device_memory_total_bytes": 80_000,
    }
    (tags,) = (dict(tags) for name, tags in recorded if name == "parc_ray_device_memory_used_bytes")
    assert (tags["shard"], tags["node"], tags["device"]) == ("7", "kn\\xf6ten", "cuda:3")
    metrics.work(ActorWork(8, 4, 1.0, 5, 20))
    metrics.shard_over(7)
    left = {name for (name, tags), value in recorded.items() if value and dict(tags)["shard"] == "7"}
    assert left == {"parc_ray_control_steps_total"}
    assert recorded["parc_ray_envs", (("run", tags["run"]), ("shard", "8"))] == 4


def test_motions_are_where_an_actor_got_them_last(recorded, monkeypatch):
    monkeypatch.setattr("parc_ray.cluster.monitoring.UPDATE_SECONDS", 0.0)
    metrics, ledger = Monitoring("out", pytest.fail), make_ledger(4, invalid=1)

    def shown(name, *labels):
        found = {tuple(dict(tags)[label] for label in labels): v for (n, tags), v in recorded.items() if n == name}
        return {key: value for key, value in found.items() if value}

    metrics.events([ShardStarted(0, ["m0", "m1", "m2"])])
    ledger.take(attempt("m0"))
    metrics.events([MotionEnded("m0", "recorded")])
    metrics.progress(Pace(ledger).measure(Activity(actors=1, shards_waiting=1)))
    assert shown("parc_ray_shard_motions", "shard", "state") == {("0", "recorded"): 1, ("0", "waiting"): 2}
    assert shown("parc_ray_motions", "state") == {("recorded",): 1, ("invalid",): 1, ("waiting",): 3}
    metrics.events([ShardStarted(1, ["m1"]), ShardStarted(2, ["m2"]), crash("m1")])
    ledger.take(crash("m1"))
    metrics.progress(Pace(ledger).measure(Activity()))
    expected = {("0", "recorded"): 1, ("1", "crashed"): 1, ("2", "waiting"): 1}
    assert shown("parc_ray_shard_motions", "shard", "state") == expected
    metrics.close()
    assert not any(recorded.values())


def test_metrics_that_fail_are_given_up_and_the_run_is_not(recorded, monkeypatch):
    said = []

    def fail(*_):
        raise RuntimeError("no agent")

    metrics = Monitoring("out", said.append)
    monkeypatch.setattr(ray_metrics.Gauge, "set", fail)
    for _ in range(3):
        metrics.progress(Pace(make_ledger()).measure(Activity()))
        metrics.events([ActorDied(1, "killed")])
        metrics.close()
    assert said == ["Ray takes no more metrics of this run: RuntimeError('no agent')"]
    monkeypatch.setattr(ray_metrics.Gauge, "__init__", fail)
    Monitoring("out", said.append).close()
    assert len(said) == 2

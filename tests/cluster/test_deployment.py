"""The recipes for clusters: what the documentation says word for word, and the files in configs/cluster."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.runs import Run, assert_accounted_for, write_config
from tests.cluster.waiting import PATIENCE
from tests.reference import ROOT

CLUSTER = ROOT / "configs" / "cluster"
FAKES = {
    # As Slurm does it: a task on each of two nodes, for as long as the process lives that the script has become.
    "srun": """
        echo "srun $1 $2" >> "$TOLD"
        shift 2
        for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@" & tasks+=($!); done
        while kill -0 "$PPID" 2> /dev/null; do sleep 0.1; done
        kill "${tasks[@]}"
    """,
    "ray": """
        trap 'kill $(jobs -p)' TERM
        if [[ $2 == --head ]]; then
            "$PYTHON" -m http.server --bind 127.0.0.1 "$PORT" > /dev/null 2>&1 &
        else
            sleep 0.5  # the driver must wait for it
            sleep 1000 &
        fi
        echo "ray $* for task $SLURM_PROCID, token of ${#RAY_AUTH_TOKEN}" >> "$TOLD"
        wait
    """,
    "parc-ray": """
        echo "parc-ray $* at $RAY_ADDRESS" >> "$TOLD"
        trap 'echo stopped >> "$TOLD"; exit 130' TERM
        [[ -z ${WAITS:-} ]] || { touch "$WAITS"; while :; do sleep 0.1; done; }
        exit "${CODE:-0}"
    """,
    "python": 'exec "$PYTHON" "$@"',
}
FAKE_RAY = {
    "ray/util.py": "def get_node_ip_address(): return '127.0.0.1'",
    "ray/__init__.py": """
import os
def init(*_, **__): pass
def nodes():
    told = open(os.environ["TOLD"]).read()
    return [{"Alive": f"for task {number}" in told} for number in range(2)]
""",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture()
def slurm(tmp_path):
    """The Slurm script in a job of two pretended nodes; starts it with more variables."""
    for name, text in FAKES.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for name, text in FAKE_RAY.items():
        (tmp_path / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "modules" / name).write_text(text)
    port = free_port()
    variables = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path / "modules"),
        "SLURM_JOB_ID": "77", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "3", "RAY_PORT": str(port),
        "TOLD": str(tmp_path / "told"), "PYTHON": sys.executable,
    }  # fmt: skip

    def start(**more):
        command = ["bash", str(CLUSTER / "slurm.sh"), "phys_record.yaml"]
        with (tmp_path / "errors").open("w") as errors:
            return subprocess.Popen(command, env={**variables, **more}, stderr=errors)

    return start, tmp_path, port


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 3])
def test_a_slurm_job_records_on_all_its_nodes_and_ends_as_the_run_does(slurm, code):
    start, folder, port = slurm
    job = start(CODE=str(code))
    assert job.wait(timeout=60) == code, (folder / "errors").read_text()
    told = (folder / "told").read_text().splitlines()
    head = f"ray start --head --node-ip-address 127.0.0.1 --port {port} --num-cpus 3 --block for task 0, token of 64"
    node = f"ray start --address 127.0.0.1:{port} --num-cpus 3 --block for task 1, token of 64"
    assert told == [
        "srun --cpus-per-task 3", head, node, f"parc-ray record --config phys_record.yaml at 127.0.0.1:{port}"
    ], "the run plans with the nodes that are there when it begins"  # fmt: skip


@pytest.mark.slow
def test_a_slurm_job_whose_time_is_nearly_over_stops_the_run(slurm):
    start, folder, _ = slurm
    job = start(WAITS=str(folder / "waits"))
    while not (folder / "waits").exists():
        assert job.poll() is None, (folder / "errors").read_text()
    job.terminate()
    assert job.wait(timeout=60) == 130, (folder / "errors").read_text()
    assert "stopped" in (folder / "told").read_text()


def test_the_rayjob_has_what_kuberay_requires():
    job = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert set(spec) <= {
        *("entrypoint", "submissionMode", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit"),
        "rayClusterSpec",
    }
    assert spec["entrypoint"].startswith("parc-ray record --config ")
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] and workers["minReplicas"] == workers["replicas"] == 0
    assert cluster["authOptions"] == {"mode": "token"}
    # What the driver reads and writes is where the driver runs, and only there.
    config = Path(spec["entrypoint"].split()[-1])
    mounts = [
        [mount["mountPath"] for mount in group["template"]["spec"]["containers"][0]["volumeMounts"]] for group in groups
    ]
    assert str(config.parent) in mounts[0] and all(str(config.parent) not in own for own in mounts[1:])


def linter(name: str) -> str:
    """A linter of the extra dev, which pip installs as a program."""
    return str(Path(sys.executable).parent / name)


def test_shell_scripts_are_free_of_known_mistakes():
    scripts = [*ROOT.glob("scripts/*.sh"), *CLUSTER.glob("*.sh"), ROOT / ".ci" / "run"]
    assert len(scripts) > 5
    found = subprocess.run([linter("shellcheck"), *map(str, scripts)], stdout=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_dockerfile_is_free_of_known_mistakes():
    found = subprocess.run(
        [linter("hadolint"), str(CLUSTER / "Dockerfile")], stdout=subprocess.PIPE, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_the_dockerfile_has_two_targets_made_of_files_that_exist():
    text = re.sub(r"\\\n", " ", (CLUSTER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in lines} <= {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "CMD"}
    assert re.findall(r"^FROM \S+:\S+ AS (\w+)$", text, re.MULTILINE) == ["current", "isaacgym"]
    for name in re.findall(r"scripts/[\w.]+", text):
        assert (ROOT / name).exists()
    extras = re.findall(r"environment.sh (\S+)", text)
    assert extras == ["warp,upload", "upload"]
    for extra in ",".join(extras).split(","):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


# ------------------------------------------------------------------------------------------- ray job submit


def commands():
    """The recipe's three blocks: head, each other node, and the job."""
    text = (ROOT / "parc_ray" / "cluster" / "README.md").read_text()
    section = text.split("## A cluster")[1].split("\n## ")[0]
    return re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 9), reason="Ray 2.10 has no tokens")
def test_the_recipe_for_a_cluster_works_word_for_word(motions, tmp_path):
    """A head and two other nodes, all on this machine. Only ports, which may be taken here, are others."""
    head, node, job = commands()
    folder = tempfile.mkdtemp(prefix="ray")  # names of sockets must not be long
    home, parc_ray = tmp_path / "home", tmp_path / "bin" / "parc-ray"
    home.mkdir()
    parc_ray.parent.mkdir()
    parc_ray.write_text(f"#!{sys.executable}\nfrom parc_ray.cli import main\nmain()\n")
    parc_ray.chmod(0o755)
    config = write_config(tmp_path / "run", [motions], None, ray={"num_actors": 1}, max_envs_per_actor=8)
    ports = {"6379": str(free_port()), "8265": str(free_port())}
    variables = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    path = os.pathsep.join([str(parc_ray.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    variables.update(HOME=str(home), PATH=path, HEAD="127.0.0.1", PYTHONPATH=str(ROOT), RAY_TMPDIR=folder)

    def bash(text, place):
        for port, other in ports.items():
            text = text.replace(port, other)
        # Small nodes: this machine has other things to do. With one folder they would delete each other's copies of the
        # job's, as machines of their own cannot.
        # The agent that takes jobs needs a port of its own: another Ray on this machine has the usual one.
        agent = f"--dashboard-agent-listen-port {free_port()}"
        own = f"--num-cpus 1 --object-store-memory 80000000 --temp-dir {folder}/{place} {agent}"
        text = re.sub(r"(ray start .*)", rf"\1 {own}", text)
        return subprocess.run(
            ["bash", "-ec", text], env=variables, cwd=config.parent, capture_output=True, text=True,
            timeout=200, check=False,
        )  # fmt: skip

    try:
        for place, text in enumerate((head, node, node, job)):
            done = bash(text, place)
            deadline = time.monotonic() + PATIENCE
            while text == job and "No available agent" in done.stderr and time.monotonic() < deadline:
                done = bash(text, place)  # Ray is not that quick on a busy machine
            assert done.returncode == 0, done.stdout + done.stderr
        run = Run(0, tmp_path / "run" / "out", done.stdout)
        assert_accounted_for(run)
        assert run.summary["recorded"] > 0
        (home / ".ray" / "auth_token").write_text("0" * 64)
        assert bash(job, 3).returncode != 0, "a stranger without the token"
    finally:
        for process in processes_of(folder):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder):
    """Ray's processes of this test: those whose environment has its folder."""
    import ray  # noqa: F401  isort: skip  (it brings psutil)
    import psutil

    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("RAY_TMPDIR", "").startswith(folder):
                yield process
        except psutil.Error:
            continue

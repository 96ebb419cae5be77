"""Who can reach a local Ray: it listens on all network interfaces, so only a token keeps others out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from tests.reference import ROOT

pytestmark = pytest.mark.slow

RAY_HAS_TOKENS = not ray.__version__.startswith("2.10.")
NETWORK = """
ip link set lo up
ip netns add neighbour && ip link add here type veth peer name there && ip link set there netns neighbour
ip addr add 10.77.0.1/24 dev here && ip link set here up
ip -n neighbour addr add 10.77.0.2/24 dev there && ip -n neighbour link set there up && ip -n neighbour link set lo up
ip route add default via 10.77.0.2
"""
OWNER = """
import logging, subprocess, sys
import ray
from parc_ray.cluster.connection import connect, ray_session
logging.basicConfig(format="%(message)s")
with ray_session():
    connect(None, ["cpu"])
    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    command = ["ip", "netns", "exec", "neighbour", sys.executable, "-c", sys.argv[1], f"10.77.0.1:{port}"]
    print(subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip())
"""
STRANGER = """
import os, sys, tempfile
os.environ.update(HOME=tempfile.mkdtemp(), RAY_AUTH_MODE="disabled")
os.environ.pop("RAY_AUTH_TOKEN", None)
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, 10)
    print("entered")
except Exception as error:
    print(type(error).__name__, error)
"""


def can_make_networks() -> bool:
    command = ["unshare", "--net", "--mount", "sh", "-ec", f"mount -t tmpfs none /run; {NETWORK}"]
    try:
        return not subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    except OSError:
        return False


@pytest.mark.skipif(not can_make_networks(), reason="needs unshare, ip and the right to make networks")
def test_another_address_enters_only_a_ray_without_tokens_which_is_said_once(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
        environment.pop(name, None)
    script = f'mount -t tmpfs none /run; {NETWORK} exec "$@"'
    for time in range(2):
        ended = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", OWNER, STRANGER],
            env=environment, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("AuthenticationError" if RAY_HAS_TOKENS else "entered"), ended.stdout
        said = "listens on all network interfaces and has no tokens" in ended.stderr
        assert said == (not RAY_HAS_TOKENS and time == 0), ended.stderr

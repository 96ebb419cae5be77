"""Connection to Ray: joining or starting a cluster, and its resources."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Iterator, Sequence

import ray
from ray.experimental import internal_kv

from parc_ray.errors import InputError, LostRayError, one_line, shorten
from parc_ray.planning.resources import Resources
from parc_ray.simulators.cache_folder import cache_folder, lock_folder
from parc_ray.terminal.notices import alert

ALIKE = "All nodes need the same Ray, the same Python and, with RAY_AUTH_MODE=token, the same token"
LONGEST_REASON = 250
"""In characters."""
STATUS_KEY = "__autoscaling_status"
"""Key of the Ray monitor's status."""
KINDS_OF_NODES = ("active_nodes", "idle_nodes", "pending_launches")
"""Its entries with types of nodes."""
FIRST_REPORT_SECONDS = 12.0
"""Time within which an autoscaler has reported, at most; the head's programs start together."""
V2_KEY, V2_NAMESPACE = "__autoscaler_v2_enabled", "__autoscaler"
"""Set to "1" on clusters with the second version of the autoscaler, which KubeRay may use; it writes no status."""
AUTH_MODE = "RAY_AUTH_MODE"


@contextmanager
def ray_session() -> Iterator[None]:
    """Context that disconnects from the Ray joined or started inside it. A Ray that was already running is kept."""
    if ray.is_initialized():
        yield
        return
    mode = os.environ.get(AUTH_MODE)
    try:
        yield
    finally:
        ray.shutdown()
        if mode is None and AUTH_MODE in os.environ:
            _forget_token()


def _forget_token() -> None:
    """Undo Ray's token settings after a local cluster: actors on a cluster without tokens would die at once."""
    # Ray reads the variable at initialization, and keeps its mode if the variable is not set.
    os.environ[AUTH_MODE] = "disabled"
    with suppress(ImportError, AttributeError):  # not public
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
    del os.environ[AUTH_MODE]


def connect(address: str | None, devices: Sequence[str], dashboard: bool = False) -> Resources:
    """Join the Ray cluster at an address, or start Ray on this machine, and return its resources.

    devices: GPUs to which a local Ray is limited, such as ["cuda:2"]; dashboard: start it with a dashboard.
    Raises InputError if the cluster cannot be reached, LostRayError if Ray does not start.
    """
    if ray.is_initialized():
        return read_resources()
    if address is None:
        return _start_ray(devices, dashboard)
    _require_listener(address)
    try:
        context: Any = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"ray.address = {address!r}: cannot be reached: {last_line(error)}. {ALIKE}") from None
    except Exception as error:  # other version of Ray or Python, missing token, or timeout
        raise InputError(f"ray.address = {address!r}: cannot be joined: {_reason(error)}. {ALIKE}") from None
    return read_resources(getattr(context, "dashboard_url", None) or "")


def _start_ray(devices: Sequence[str], dashboard: bool) -> Resources:
    """Start Ray on this machine, with the named GPUs or with all."""
    gpus = [] if list(devices) == ["cpu"] else _visible_gpus()
    numbers = [int(name.partition(":")[2]) for name in devices if name.startswith("cuda:")]
    chosen = [gpus[number] for number in numbers if number < len(gpus)] if numbers else gpus
    # "local", because None would join any cluster that runs on this machine. Ray itself would count only whole GPUs,
    # even if CUDA_VISIBLE_DEVICES names parts of one (MIG).
    try:
        with _show_gpus(chosen):
            context: Any = ray.init(
                address="local", num_gpus=len(chosen), include_dashboard=dashboard, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
    except Exception as error:  # a bare Exception if the machine is too busy
        raise LostRayError(
            f"Ray does not start on this machine: {_reason(error)}. Run the same command again"
        ) from None
    if os.environ.get(AUTH_MODE) != "token":
        _say_that_ray_is_open()
    found = read_resources(getattr(context, "dashboard_url", None) or "", joined=False)
    return replace(found, local_gpus=len(gpus))


def _say_that_ray_is_open() -> None:
    """Warn, once per machine, of a local Ray without tokens."""
    with lock_folder(cache_folder("notices")) as folder:
        if (folder / "open_ray").exists():
            return
        (folder / "open_ray").touch()
    alert(
        f"Ray {ray.__version__} listens on all network interfaces and has no tokens: whoever reaches this machine can "
        "run programs on it while it records. Where others can, allow Ray's ports from this machine only (a firewall "
        "rule), or record in a network namespace (unshare --net). This is said once per machine"
    )


def _visible_gpus() -> list[str]:
    """Return CUDA's names of the visible GPUs: entries of CUDA_VISIBLE_DEVICES, else their numbers."""
    import torch  # takes seconds; planning needs it anyway

    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [str(number) for number in range(count)] if names is None else names.replace(" ", "").split(",")[:count]


@contextmanager
def _show_gpus(names: Sequence[str]) -> Iterator[None]:
    """Limit processes started in this context to these GPUs; restores the environment afterwards."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@dataclass(frozen=True)
class Node:
    """A live node."""

    id: str
    """Ray's ID of the node; host names may repeat."""
    cpus: int
    gpus: int
    memory: int = 0
    """Bytes available to actors; 0 if unknown."""


def read_nodes() -> list[Node]:
    """Return the live nodes."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    keys = ("CPU", "GPU", "memory")
    return [Node(node["NodeID"], *(int(node["Resources"].get(key, 0)) for key in keys)) for node in alive]


def read_resources(dashboard: str = "", joined: bool = True) -> Resources:
    """Return the resources of the live nodes. joined: False for a Ray of this run, which no autoscaler manages."""
    nodes = read_nodes()
    memory = min((node.memory for node in nodes if node.memory), default=0)
    autoscaler = joined and has_autoscaler(0.0 if any(node.gpus for node in nodes) else FIRST_REPORT_SECONDS)
    return Resources(tuple((node.cpus, node.gpus) for node in nodes), memory, dashboard, autoscaler=autoscaler)


def devices_by_node(nodes: Sequence[Node], cpus: int, gpus: float) -> dict[str, int]:
    """Return the number of devices per node that fit an actor with these CPUs and GPUs, by Ray's node ID.

    A device is a GPU, or several GPUs if an actor needs several; for actors without GPUs, it is a whole node.
    """
    fitting = [node for node in nodes if node.cpus >= cpus and node.gpus >= gpus]
    return {node.id: int(node.gpus / max(gpus, 1.0)) if gpus else 1 for node in fitting}


def has_autoscaler(patience: float) -> bool:
    """Return True if an autoscaler adds nodes to the cluster. patience: s, for the first report of a new cluster.

    The second version of Ray's autoscaler says so at once. The first reports types of nodes; so does every cluster
    without one, where each node is a type of its own, "node_ID".
    """
    deadline = time.monotonic() + patience
    try:
        while _read_store(V2_KEY, V2_NAMESPACE) != b"1":
            report = json.loads(_read_store(STATUS_KEY) or b"{}").get("autoscaler_report") or {}
            kinds = {kind for key in KINDS_OF_NODES for kind in report.get(key) or {}}
            kinds.update((report.get("node_type_mapping") or {}).values())
            if kinds or time.monotonic() > deadline:
                return any(not kind.startswith("node_") for kind in kinds)
            time.sleep(0.5)
        return True
    except Exception:  # not a public interface
        return False


def _read_store(key: str, namespace: str | None = None) -> bytes | None:
    value: bytes | None = internal_kv._internal_kv_get(key, namespace=namespace)
    return value


def _require_listener(address: str) -> None:
    """Raise InputError if nothing listens at host:port: Ray itself would retry for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(
            f"ray.address = {address!r}: nothing answers there ({error}); give the address of a running head node, "
            "or leave it out to start Ray on this machine"
        ) from None


def _reason(error: Exception) -> str:
    """Return an error's message as one line of limited length."""
    return shorten(one_line(error), LONGEST_REASON)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, the most informative one of Ray's long messages."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

"""Connection to Ray: joining a cluster or starting one here, and what it has."""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Optional, Sequence

import ray
from ray.experimental import internal_kv

from parc_ray.errors import InputError, LostRayError, shorten
from parc_ray.planning.resources import Resources

ALIKE = "All nodes need the same Ray, the same Python and, with RAY_AUTH_MODE=token, the same token"
LONGEST_REASON = 250
"""Characters."""
STATUS_KEY = "__autoscaling_status"
"""Of Ray's monitor."""
AUTH_MODE = "RAY_AUTH_MODE"


@contextmanager
def ray_session() -> Iterator[None]:
    """Context at whose end this process leaves the Ray that it joined or started within; its caller's own Ray stays."""
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
    """Undo what Ray does to this process when it starts a cluster: actors on one without tokens would die at once."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray reads the variable when it is initialized, and keeps its mode where the variable is not set.
    os.environ[AUTH_MODE] = "disabled"
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    del os.environ[AUTH_MODE]


def connect(address: Optional[str], devices: Sequence[str], dashboard: bool = False) -> Resources:
    """Join the Ray cluster at an address, or start Ray on this machine, and return its resources.

    devices such as ["cuda:2"] limit a Ray that is started here to these GPUs; dashboard: start it with a dashboard.
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
    except Exception as error:  # another version of Ray or Python there, no token here, no answer in time
        reason = shorten(" ".join(str(error).split()), LONGEST_REASON)
        raise InputError(f"ray.address = {address!r}: cannot be joined: {reason}. {ALIKE}") from None
    return read_resources(getattr(context, "dashboard_url", None) or "")


def _start_ray(devices: Sequence[str], dashboard: bool) -> Resources:
    """Start Ray on this machine, with the GPUs that devices name, or with all."""
    gpus = [] if list(devices) == ["cpu"] else _visible_gpus()
    numbers = [int(name.partition(":")[2]) for name in devices if name.startswith("cuda:")]
    chosen = [gpus[number] for number in numbers if number < len(gpus)] if numbers else gpus
    # "local", because None would join whatever cluster runs on this machine. Ray itself would count whole GPUs only,
    # where CUDA_VISIBLE_DEVICES names parts of one (MIG).
    try:
        with _show_gpus(chosen):
            context: Any = ray.init(
                address="local", num_gpus=len(chosen), include_dashboard=dashboard, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
    except Exception as error:  # a bare Exception where the machine is too busy
        reason = shorten(" ".join(str(error).split()), LONGEST_REASON)
        raise LostRayError(f"Ray does not start on this machine: {reason}. Run the same command again") from None
    return replace(read_resources(getattr(context, "dashboard_url", None) or ""), local_gpus=len(gpus))


def _visible_gpus() -> List[str]:
    """Return CUDA's names of the GPUs that this process may use: entries of CUDA_VISIBLE_DEVICES, or else numbers."""
    import torch  # takes seconds, and the planning that follows needs it anyway

    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [str(number) for number in range(count)] if names is None else names.replace(" ", "").split(",")[:count]


@contextmanager
def _show_gpus(names: Sequence[str]) -> Iterator[None]:
    """Let processes that start in this context see these GPUs only; afterwards the environment is as it was."""
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
    """A node that is alive."""

    id: str
    """Ray's name for it; hosts may share a name."""
    cpus: int
    gpus: int
    memory: int = 0
    """Bytes that actors may use; 0 if unknown."""


def read_nodes() -> List[Node]:
    """Return the nodes that are alive."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    keys = ("CPU", "GPU", "memory")
    return [Node(node["NodeID"], *(int(node["Resources"].get(key, 0)) for key in keys)) for node in alive]


def read_resources(dashboard: str = "") -> Resources:
    """Return the resources of the nodes that are alive."""
    nodes = read_nodes()
    memory = min((node.memory for node in nodes if node.memory), default=0)
    return Resources(tuple((node.cpus, node.gpus) for node in nodes), memory, dashboard, autoscaler=has_autoscaler())


def devices_by_node(nodes: Sequence[Node], cpus: int, gpus: float) -> Dict[str, int]:
    """Return how many devices of each node could have an actor with some CPUs and GPUs, by Ray's name for the node.

    A device is a GPU, or several for an actor that needs several; for actors without GPUs it is a whole node.
    """
    fitting = [node for node in nodes if node.cpus >= cpus and node.gpus >= gpus]
    return {node.id: int(node.gpus / max(gpus, 1.0)) if gpus else 1 for node in fitting}


def has_autoscaler() -> bool:
    """Whether an autoscaler adds nodes to the cluster.

    Ray's monitor reports on every cluster; where it only looks on, it names a node type for each node, "node_ID".
    """
    try:
        status = internal_kv._internal_kv_get(STATUS_KEY)
        report = json.loads(status)["autoscaler_report"] if status else {}
        kinds = {kind for key in ("active_nodes", "idle_nodes", "pending_launches") for kind in report.get(key) or {}}
        return any(not kind.startswith("node_") for kind in kinds)
    except Exception:  # it is no public interface
        return False


def _require_listener(address: str) -> None:
    """Raises InputError if nothing listens at host:port: Ray itself would retry for minutes."""
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


def last_line(error: BaseException) -> str:
    """The last line of an error's message, which of Ray's long ones says most."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

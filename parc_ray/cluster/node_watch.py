"""NodeWatch: the nodes of a cluster, and whether its head and this process's own node are still there."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import ray

from parc_ray.cluster.connection import Node, read_nodes
from parc_ray.errors import LostRayError

PATIENCE_SECONDS = 40.0
"""Time that the head may be unreachable. Ray itself would end this process with exit code 1 after 60 s."""
CONNECT_SECONDS = 2.0


class NodeWatch:
    """Reads the live nodes.

    Actors continue while the head is away. It may return if Ray's state is stored externally (Redis).
    """

    def __init__(self) -> None:
        context = ray.get_runtime_context()
        self._address, self._own = str(context.gcs_address), str(context.get_node_id())
        self._answered = time.monotonic()
        self._nodes: list[Node] = read_nodes()

    def nodes(self) -> list[Node]:
        """Return the live nodes, or those at the head's last answer.

        Raises LostRayError if the head has not answered for PATIENCE_SECONDS, or has given up this process's own node:
        reports of actors no longer arrive then, and old versions of Ray wait forever.
        """
        now = time.monotonic()
        if self._head_answers():
            self._answered = now
            self._nodes = read_nodes()
            if self._own not in {node.id for node in self._nodes}:
                raise LostRayError(f"Ray cannot be reached from {socket.gethostname()}: its node has left the cluster")
        elif now - self._answered > PATIENCE_SECONDS:
            raise LostRayError(f"Ray's head at {self._address} has not answered for {PATIENCE_SECONDS:g} s")
        return self._nodes

    def _head_answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        with suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            return True
        return False

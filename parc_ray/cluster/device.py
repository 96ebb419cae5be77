"""Device: the GPUs or CPUs that one actor uses."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Device:
    """The device of one actor: GPUs of a node, or CPUs of a node."""

    node: str
    """Host name."""
    node_id: str
    """Ray's ID of the node; host names may repeat."""
    gpu: str = ""
    """Number of the GPU on its node, or several separated by commas; empty for an actor on CPUs."""

    cpu: str = field(default="", compare=False)
    """Type of the node's CPU; empty if the system does not report it."""

    @property
    def name(self) -> str:
        """cuda:1, or cpu."""
        return f"cuda:{self.gpu}" if self.gpu else "cpu"

    def __str__(self) -> str:
        return f"node {self.node} {self.name}" if self.gpu else f"node {self.node}"

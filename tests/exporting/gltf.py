"""A reader of binary glTF files after the specification, without the library that wrote them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np


class Gltf:
    """A file, and the poses of its nodes at its keyframes."""

    def __init__(self, content: bytes):
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json: dict[str, Any] = json.loads(content[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0" and binary % 4 == 0
        self.binary = content[28 + size : 28 + size + binary]
        self.nodes = {node["name"]: index for index, node in enumerate(self.json["nodes"])}

    def array(self, accessor: int) -> Any:
        """Return the numbers of an accessor, checked against its bounds."""
        about = self.json["accessors"][accessor]
        view = self.json["bufferViews"][about["bufferView"]]
        columns = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[about["type"]]
        kind = {5126: np.float32, 5125: np.uint32}[about["componentType"]]
        start = view.get("byteOffset", 0) + about.get("byteOffset", 0)
        array = np.frombuffer(self.binary, kind, about["count"] * columns, start).reshape(-1, columns)
        assert array.nbytes == view["byteLength"] and start % 4 == 0
        np.testing.assert_allclose([array.min(axis=0), array.max(axis=0)], [about["min"], about["max"]], rtol=1e-6)
        return array

    @property
    def times(self) -> Any:
        """Return the times of the keyframes, s."""
        (animation,) = self.json["animations"]
        inputs = {sampler["input"] for sampler in animation["samplers"]}
        return self.array(inputs.pop())[:, 0] if len(inputs) == 1 else None

    def placed(self, frame: int) -> dict[int, Any]:
        """Return world matrices [4, 4] of all nodes at a keyframe."""
        (animation,) = self.json["animations"]
        pose = [dict(node) for node in self.json["nodes"]]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            pose[channel["target"]["node"]][channel["target"]["path"]] = self.array(sampler["output"])[frame]
        placed: dict[int, Any] = {}

        def place(node: int, above: Any) -> None:
            placed[node] = above @ matrix(pose[node])
            for child in pose[node].get("children", ()):
                place(child, placed[node])

        for root in self.json["scenes"][self.json["scene"]]["nodes"]:
            place(root, np.eye(4))
        return placed


def matrix(node: dict[str, Any]) -> Any:
    """Return the matrix of a node: translation * rotation * scale."""
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    result = np.eye(4)
    result[:3, :3] = turn * node.get("scale", (1.0, 1.0, 1.0))
    result[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return result

"""The data of a page, read independently of the page's scripts."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import numpy as np


def embedded(page: str, name: str = "data") -> Any:
    """Return the JSON of one of the page's blocks."""
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(found)


def rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def unpacked(preview: dict[str, Any], bodies: int) -> dict[str, np.ndarray]:
    """Return the channels of each clip, and heights (m), of a packed preview."""
    numbers = iter(_numbers(zlib.decompress(base64.b64decode(preview["data"]))))
    found = {}
    for clip in preview["clips"]:
        channels, frames = 7 + 3 * (bodies - 1) + bodies, clip["frames"]
        table = np.array([next(numbers) for _ in range(channels * frames)]).reshape(channels, frames)
        found[clip["kind"]] = table.cumsum(axis=1).cumsum(axis=1)
    size_x, size_y = preview["terrain"][:2]
    heights = np.array([next(numbers) for _ in range(size_x * size_y)]).cumsum()
    assert next(numbers, None) is None, "more numbers than were announced"
    found["heights"] = heights.reshape(size_x, size_y) / 1000
    return found


def _numbers(content: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(-(value + 1) // 2 if value % 2 else value // 2)
            value = shift = 0
    assert shift == 0, "ends within a number"
    return numbers

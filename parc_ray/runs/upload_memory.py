"""UploadMemory: uploads.jsonl, which lists the verified copies at each address.

A line with `url` is followed by a line per copy, with `file`, `bytes` and `sha256`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Tuple

from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import unwritable

Copies = Dict[str, Tuple[int, str]]
"""Size in bytes and SHA-256 of each file at an address, by name."""


class UploadMemory:
    """The verified copies of one run, over all sessions and addresses."""

    def __init__(self, path: Path):
        self._path = path
        self._copies = _read(path)

    def knows(self, url: str) -> bool:
        """Return True if the run has copied to an address before."""
        return url in self._copies

    def copies(self, url: str) -> Copies:
        """Return the verified copies at an address."""
        return self._copies.get(url, {})

    def begin(self, url: str) -> None:
        """Set the address of the copies that follow. Raises OutputError."""
        try:
            self._append(url=url)
        except OSError as error:
            raise unwritable(self._path, error) from error

    def add(self, name: str, size: int, sha256: str) -> None:
        """Add a copy. Raises OSError."""
        self._append(file=name, bytes=size, sha256=sha256)

    def _append(self, **values: object) -> None:
        # The previous line may be torn.
        with self._path.open("ab", buffering=0) as file:
            file.write(b"\n" + json.dumps(values).encode("utf-8"))


def _read(path: Path) -> dict[str, Copies]:
    """Return the copies by address, without lines torn by a kill."""
    copies: dict[str, Copies] = {}
    url = ""
    for line in read_bytes(path).splitlines() if path.exists() else []:
        try:
            content = json.loads(line)
            if "url" in content:
                url = content["url"]
                copies.setdefault(url, {})
            else:
                copies[url][content["file"]] = (content["bytes"], content["sha256"])
        except (KeyError, TypeError, ValueError):
            continue
    return copies

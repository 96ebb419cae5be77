"""A file system of a few kilobytes that only chosen processes see, and that ends with the process that holds it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.reference import ROOT


class SmallDisk:
    """A tmpfs mounted at a folder in a separate mount namespace, invisible to the rest of the machine.

    with SmallDisk(folder, "200k") as disk:
        subprocess.run([*disk.wrapper, "df", str(folder)])
    """

    def __init__(self, folder: Path, size: str):
        """Skip the test if the machine allows mounts neither to root nor in a user namespace."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        root = os.geteuid() == 0
        script = f"mount -t tmpfs -o size={size} none '{folder}' && echo mounted && exec sleep 3600"
        self._holder = subprocess.Popen(
            ["unshare", "-m" if root else "-Urm", "sh", "-c", script],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = self._holder.stdout.readline()
        if said != "mounted\n":
            self.close()
            pytest.skip(f"this machine allows no mounts: {said.strip()}")
        enter = ["nsenter", "-t", str(self._holder.pid), "-m", *([] if root else ["-U", "--preserve-credentials"])]
        # Entering a mount namespace ends in its root directory.
        self.wrapper: list[str] = [*enter, "sh", "-c", f'cd "{ROOT}" && exec "$@"', "sh"]
        self.view = Path(f"/proc/{self._holder.pid}/root") / folder.relative_to("/")
        """the folder as processes outside see it"""

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()

    def run(self, *command: str) -> None:
        subprocess.run([*self.wrapper, *command], check=True)

    def resize(self, size: str) -> None:
        self.run("mount", "-o", f"remount,size={size}", str(self.folder))

    def make_read_only(self, folder: Path) -> None:
        """Forbid new files in a folder. The disk itself cannot become read-only while a file on it is open."""
        self.run("mount", "--bind", str(folder), str(folder))
        self.run("mount", "-o", "remount,bind,ro", str(folder))

    def make_writable(self, folder: Path) -> None:
        self.run("umount", str(folder))

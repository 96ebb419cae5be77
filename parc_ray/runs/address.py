"""Address: a folder at a URL that fsspec reaches: `s3://bucket/run`, `gs://`, `sftp://`, `file:///mnt/run`."""

from __future__ import annotations

from typing import Any


class Address:
    """A folder at a URL. Its methods are thread-safe, and raise the errors of its file system.

    Address("s3://bucket/run").write("recorded_motions/walk_0_49/walk_7.pkl", content)
    """

    def __init__(self, url: str):
        self.url = url

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in the folder, at any depth, by relative name."""
        files, root = self._open()
        files.invalidate_cache()
        return {path[len(root) + 1 :]: about["size"] for path, about in files.find(root, detail=True).items()}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        files, root = self._open()
        content: bytes = files.cat_file(f"{root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""
        files, root = self._open()
        path = f"{root}/{name}"
        # Object stores (the asynchronous file systems) have no folders: this would create a missing bucket.
        if not files.async_impl:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        files, root = self._open()
        files.rm_file(f"{root}/{name}")

    def _open(self) -> tuple[Any, str]:
        """Return the file system of this thread, cached by fsspec, and the folder's path there."""
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self.url)
        return files, root.rstrip("/")

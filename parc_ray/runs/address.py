"""Address: a folder somewhere else, wherever fsspec reaches: `s3://bucket/run`, `gs://`, `sftp://`, `file:///mnt/run`."""

from __future__ import annotations

from typing import Any, Dict, Tuple


class Address:
    """A folder at a URL. Its methods may be called from several threads, and raise whatever its file system raises.

    Address("s3://bucket/run").write("recorded_motions/walk_0_49/walk_7.pkl", content)
    """

    def __init__(self, url: str):
        self.url = url

    def sizes(self) -> Dict[str, int]:
        """Bytes of all files in it, at any depth, by their names from there."""
        files, root = self._open()
        files.invalidate_cache()
        return {path[len(root) + 1 :]: about["size"] for path, about in files.find(root, detail=True).items()}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        files, root = self._open()
        content: bytes = files.cat_file(f"{root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of another one if there is one."""
        files, root = self._open()
        path = f"{root}/{name}"
        # Object stores, which are the asynchronous ones, have no folders: this would make a bucket that is missing.
        if not files.async_impl:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        files, root = self._open()
        files.rm_file(f"{root}/{name}")

    def _open(self) -> Tuple[Any, str]:
        """This thread's file system, which fsspec keeps, and the folder's path there."""
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self.url)
        return files, root.rstrip("/")

"""Upload: copies a run's files to an address (`output.upload`) while it records, and verifies them there.

Uploads run in the background; upload errors never affect the run. Threads are daemons, because an executor's would keep
the process alive while a connection hangs. fsspec's own copying neither verifies its writes nor stops in time.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Collection, Iterator

from parc_ray.errors import InputError, MissingDependencyError, OutputError, UploadError, shorten
from parc_ray.files.plain_yaml import read_yaml
from parc_ray.files.reading import MAX_DATASET_BYTES, read_bytes
from parc_ray.motions.dataset import dataset_file_bytes
from parc_ray.runs.address import Address
from parc_ray.runs.output import ARGUMENTS, DATASET, RECORDED_DATASET, UPLOADS, OutputDirectory, is_own
from parc_ray.runs.upload_memory import Copies, UploadMemory

COPIERS = 8
"""Files copied at a time; most of the time is spent waiting for answers."""
PAUSES = (1.0, 4.0, 16.0)
"""Seconds before a failed copy is retried."""
STALL_SECONDS = 600.0
"""Seconds that the end of a run waits for its next copy."""
HURRY_SECONDS = 3.0
"""Seconds that an interrupted run waits for all copies."""
LOOK_SECONDS = 0.5
SECRET = re.compile(r"://[^/@]*:[^@]*@|\?|^(s3|s3a|gs|gcs|r2|oss)://[^/]*@", re.IGNORECASE)
"""A password in a URL, or parameters, which may contain one. Buckets have no users: text before a bucket is a token."""


class Upload:
    """Copies the files of one output directory to an address.

    upload = Upload("s3://bucket/run", output)
    upload.require_usable(overwrite=False)
    upload.begin()
    upload.add(output.recording_path("walk_7"))
    for waiting in upload.finish():
        print(f"{waiting} files wait")
    upload.require_complete()
    """

    def __init__(self, url: str, output: OutputDirectory):
        self.url, self._output, self._address = url, output, Address(url)
        self._memory = UploadMemory(output.path / UPLOADS)
        self._verified: Copies = dict(self._memory.copies(url))
        self._there: dict[str, int] = {}
        """Size of every file at the address."""
        self._missing: dict[str, str] = {}
        """Reasons of failed copies, by name."""
        self._waiting: set[str] = set()
        self._again: set[str] = set()
        """Waiting files that were added again: they may have changed during the copy."""
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        """Names of files; None ends a thread."""
        self._lock, self._settled = threading.Lock(), threading.Event()
        """Lock for the state above; event set while no file waits."""
        self._failed = 0
        """Failures since the last successful copy."""
        self._last_copied = 0.0
        self._ending = self._in_vain = False
        self._deadline = float("inf")

    def require_usable(self, overwrite: bool) -> None:
        """Raise InputError if the address cannot be written to, or holds another run's files."""
        place, trial = f"key 'output.upload' = {self.url!r}", f".{secrets.token_hex(8)}.tmp"
        if SECRET.search(self.url):
            raise InputError(
                "key 'output.upload': must hold neither a password nor parameters, which would be in the files of the "
                "run: put them where the address's library looks for them, or into fsspec's configuration "
                "(~/.config/fsspec)"
            )
        try:
            self._there = self._address.sizes()
            self._address.write(trial, b"a trial")
            itself = (self._output.path / trial).exists()
            self._address.remove(trial)
        except ImportError as error:
            raise MissingDependencyError(
                f'{place}: {_reason(error)}: pip install "parc-ray[upload]" (for s3://; other addresses may need '
                "another package), or leave the key out"
            ) from None
        except Exception as error:
            raise InputError(
                f"{place}: cannot be written to: {_reason(error)}. Check the address, that its bucket is there, and "
                "that credentials are where its library looks for them (s3://: where the AWS command line does)"
            ) from None
        if itself:
            raise InputError(f"{place}: is output_dir itself; choose another address, or leave the key out")
        found = sorted({name.partition("/")[0] for name in self._own()})
        if found and not overwrite and not self._memory.knows(self.url):
            raise InputError(
                f"{place}: holds another run's files ({', '.join(found)}); choose another address, or pass --overwrite "
                "to delete them"
            )

    def clear(self) -> None:
        """Delete the files of runs at the address, and nothing else. Raises OutputError."""
        try:
            with ThreadPoolExecutor(COPIERS) as pool:
                list(pool.map(self._address.remove, list(self._own())))
        except Exception as error:
            raise OutputError(f"output.upload {self.url}: cannot be cleared: {_reason(error)}") from None
        self._verified, self._there = {}, {}

    def begin(self) -> None:
        """Claim the address, and start copying the run's existing files. Raises OutputError."""
        self._memory.begin(self.url)
        for _ in range(COPIERS):
            threading.Thread(target=self._copy_all, name="upload", daemon=True).start()
        inputs = {name for name in (DATASET, *ARGUMENTS) if (self._output.path / name).is_file()}
        gone = {name for name in self._verified if not (self._output.path / name).is_file()}
        self._put({*inputs, *gone, *map(self._name, self._output.motion_files())})

    def add(self, path: Path) -> None:
        """Copy a finished file of the run, or delete its copy if the file is gone."""
        self._put([self._name(path)])

    def finish(self) -> Iterator[int]:
        """Copy the remaining files and those written at the end of a run; yield the number of waiting files.

        Ends when no file waits, when nothing was copied for STALL_SECONDS, or soon after `hurry`.
        """
        with self._lock:
            self._ending, self._last_copied = True, time.monotonic()
            again, self._missing, self._failed = list(self._missing), {}, 0
        self._put([*again, *map(self._name, self._output.documents())])
        try:
            while not self._settled.is_set():
                yield len(self._waiting)
                self._settled.wait(LOOK_SECONDS)
                if time.monotonic() > min(self._deadline, self._last_copied + STALL_SECONDS):
                    return
        finally:
            self._in_vain = True
            for _ in range(COPIERS):
                self._queue.put(None)

    def hurry(self) -> None:
        """Make `finish` end within HURRY_SECONDS. Safe in signal handlers."""
        self._deadline = time.monotonic() + HURRY_SECONDS

    @property
    def hurried(self) -> bool:
        """True if `hurry` was called."""
        return self._deadline < float("inf")

    def require_complete(self) -> None:
        """Raise UploadError if copies are missing."""
        with self._lock:
            missing = {**self._missing, **dict.fromkeys(sorted(self._waiting), "not copied yet")}
        if missing:
            name, reason = next(iter(missing.items()))
            raise UploadError(
                f"output.upload {self.url}: {len(missing)} files of the run are missing there ({name}: {reason}); "
                f"all are in {self._output.path}; run the same command to copy the rest"
            )

    def _own(self) -> Iterator[str]:
        return filter(is_own, self._there)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._output.path).as_posix()

    def _put(self, names: Collection[str]) -> None:
        with self._lock:
            self._again |= self._waiting.intersection(names)
            new = set(names) - self._waiting
            self._waiting |= new
            if self._waiting:
                self._settled.clear()
            else:
                self._settled.set()
        for name in sorted(new):
            self._queue.put(name)

    def _copy_all(self) -> None:
        for name in iter(self._queue.get, None):
            reason = self._try(name)
            with self._lock:
                if name in self._again:
                    self._again.remove(name)
                    self._queue.put(name)
                    continue
                self._waiting.discard(name)
                if reason:
                    self._missing[name] = reason
                    self._failed += 1
                    # If the network is down, retrying every file is pointless.
                    self._in_vain |= self._ending and self._failed >= COPIERS
                else:
                    self._failed, self._last_copied = 0, time.monotonic()
                if not self._waiting:
                    self._settled.set()

    def _try(self, name: str) -> str:
        """Make a copy, with retries; return the reason if it failed, else an empty string."""
        reason = "not copied yet"
        for pause in (*PAUSES, 0.0):
            if self._in_vain:
                return reason
            try:
                self._copy(name)
                return ""
            except Exception as error:
                reason = _reason(error)
            time.sleep(pause)
        return reason

    def _copy(self, name: str) -> None:
        """Copy a file unless an identical copy is known. Raises the errors of the file system."""
        if not (self._output.path / name).exists():
            if name in self._there:
                self._address.remove(name)
                del self._there[name]
            return
        content = self._content(name)
        copy = (len(content), hashlib.sha256(content).hexdigest())
        same_size = self._there.get(name) == len(content)
        if same_size and self._verified.get(name) == copy:
            return
        if not same_size or self._address.read(name) != content:
            self._address.write(name, content)
            self._there[name] = len(content)
            if self._address.read(name) != content:
                raise OSError("the copy differs from the file")
        self._verified[name] = copy
        self._memory.add(name, *copy)

    def _content(self, name: str) -> bytes:
        """Return the content of a copy. At the address, recorded_motions.yaml has paths relative to its own folder."""
        path = self._output.path / name
        if name != RECORDED_DATASET:
            return read_bytes(path)
        motions = read_yaml(path, MAX_DATASET_BYTES)["motions"]
        return dataset_file_bytes(
            (os.path.relpath(motion["file"], path.parent), motion["weight"]) for motion in motions
        )


def _reason(error: Exception) -> str:
    """Return the first line of an error."""
    return shorten((str(error).strip() or type(error).__name__).splitlines()[0], 200)

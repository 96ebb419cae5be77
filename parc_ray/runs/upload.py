"""Upload: copies of a run's files at an address (`output.upload`), made while it records, and compared there.

Nobody waits for them before the run has ended, and whatever goes wrong with them, the run is as it was. What is there
as it should be is remembered in uploads.jsonl: a line with `url`, then one for each copy, with `file`, `bytes` and
`sha256`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Collection, Dict, Iterator, Optional, Set, Tuple

from parc_ray.errors import InputError, MissingDependencyError, OutputError, UploadError, shorten
from parc_ray.files.plain_yaml import read_yaml
from parc_ray.files.reading import MAX_DATASET_BYTES, read_bytes
from parc_ray.files.writing import unwritable
from parc_ray.motions.dataset import dataset_file_bytes
from parc_ray.runs.address import Address
from parc_ray.runs.output import ARGUMENTS, DATASET, RECORDED_DATASET, UPLOADS, OutputDirectory, is_own

COPIERS = 8
"""Files that are copied at a time: most of the time is waiting for answers"""
PAUSES = (1.0, 4.0, 16.0)
"""Seconds before a copy that failed is tried again"""
STALL_SECONDS = 600.0
"""How long the end of a run waits for the next copy to be there"""
HURRY_SECONDS = 3.0
"""The same, of all copies together, for somebody who wants the run to end"""
LOOK_SECONDS = 0.5
SECRET = re.compile(r"://[^/@]*:[^@]*@|\?")
"""A password in a URL, or parameters, in which others hide theirs"""

Copies = Dict[str, Tuple[int, str]]
"""Bytes and SHA-256 of each file at an address, by its name"""


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
        remembered = _remembered(output.path / UPLOADS)
        self._claimed = url in remembered
        self._verified = remembered.get(url, {})
        self._there: Dict[str, int] = {}
        """Bytes of what is at the address."""
        self._missing: Dict[str, str] = {}
        """Why files are not there although they were tried, by name."""
        self._waiting: Set[str] = set()
        self._again: Set[str] = set()
        """Those of them that were added once more: they may have changed while they were copied."""
        self._queue: SimpleQueue[Optional[str]] = SimpleQueue()
        """Names of files; None where a thread ends."""
        self._lock, self._settled = threading.Lock(), threading.Event()
        """Of all that follows from a copy; whether none waits."""
        self._failed = 0
        """Files that were tried in vain since one was copied."""
        self._last_copied = 0.0
        self._ending = self._in_vain = False
        self._deadline = float("inf")

    def require_usable(self, overwrite: bool) -> None:
        """Raises InputError if nothing can be written there, or another run's files are in the way."""
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
        if found and not overwrite and not self._claimed:
            raise InputError(
                f"{place}: holds another run's files ({', '.join(found)}); choose another address, or pass --overwrite "
                "to delete them"
            )

    def clear(self) -> None:
        """Delete what any run has written there, and nothing else. Raises OutputError."""
        try:
            with ThreadPoolExecutor(COPIERS) as pool:
                list(pool.map(self._address.remove, list(self._own())))
        except Exception as error:
            raise OutputError(f"output.upload {self.url}: cannot be cleared: {_reason(error)}") from None
        self._verified, self._there = {}, {}

    def begin(self) -> None:
        """Make the address this run's, and begin to copy what the run has so far. Raises OutputError."""
        try:
            self._remember(url=self.url)
        except OSError as error:
            raise unwritable(self._output.path / UPLOADS, error) from error
        for _ in range(COPIERS):
            threading.Thread(target=self._copy_all, name="upload", daemon=True).start()
        inputs = {name for name in (DATASET, *ARGUMENTS) if (self._output.path / name).is_file()}
        gone = {name for name in self._verified if not (self._output.path / name).is_file()}
        self._put({*inputs, *gone, *map(self._name, self._output.motion_files())})

    def add(self, path: Path) -> None:
        """Have a file of the run copied, which is whole and stays as it is, or its copy deleted if it is gone."""
        self._put([self._name(path)])

    def finish(self) -> Iterator[int]:
        """Copy what is left, with all that a run writes at its end; yields how many files wait, now and then.

        It ends when none waits, when waiting has become vain, and soon if `hurry` was or is called.
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
        """Have `finish` end within seconds, also from a signal handler."""
        self._deadline = time.monotonic() + HURRY_SECONDS

    @property
    def hurried(self) -> bool:
        """Whether somebody wants the run to end."""
        return self._deadline < float("inf")

    def require_complete(self) -> None:
        """Raises UploadError if files are not there."""
        with self._lock:
            missing = {**self._missing, **dict.fromkeys(sorted(self._waiting), "not copied yet")}
        if missing:
            name, reason = next(iter(missing.items()))
            raise UploadError(
                f"output.upload {self.url}: {len(missing)} files of the run are not there ({name}: {reason}); all are "
                f"in {self._output.path}, and the same command goes on with the copies"
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
            reason = self._tried(name)
            with self._lock:
                if name in self._again:
                    self._again.remove(name)
                    self._queue.put(name)
                    continue
                self._waiting.discard(name)
                if reason:
                    self._missing[name] = reason
                    self._failed += 1
                    # Nobody waits for each of ten thousand files when a network is down.
                    self._in_vain |= self._ending and self._failed >= COPIERS
                else:
                    self._failed, self._last_copied = 0, time.monotonic()
                if not self._waiting:
                    self._settled.set()

    def _tried(self, name: str) -> str:
        """Make a copy, or give it up; returns why."""
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
        """Have at the address what is here, if that is not known to be so. Raises whatever goes wrong."""
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
                raise OSError("what is there is not what was sent")
        self._verified[name] = copy
        self._remember(file=name, bytes=copy[0], sha256=copy[1])

    def _remember(self, **values: object) -> None:
        # The line before may be torn.
        with (self._output.path / UPLOADS).open("ab", buffering=0) as file:
            file.write(b"\n" + json.dumps(values).encode("utf-8"))

    def _content(self, name: str) -> bytes:
        """What a copy holds: recorded_motions.yaml names its motions from its own folder, wherever that will be."""
        path = self._output.path / name
        if name != RECORDED_DATASET:
            return read_bytes(path)
        motions = read_yaml(path, MAX_DATASET_BYTES)["motions"]
        return dataset_file_bytes(
            (os.path.relpath(motion["file"], path.parent), motion["weight"]) for motion in motions
        )


def _remembered(path: Path) -> Dict[str, Copies]:
    """What uploads.jsonl tells of each address; a line that a kill has torn tells nothing."""
    copies: Dict[str, Copies] = {}
    url = ""
    for line in read_bytes(path).splitlines() if path.exists() else []:
        try:
            told = json.loads(line)
            if "url" in told:
                url = told["url"]
                copies.setdefault(url, {})
            else:
                copies[url][told["file"]] = (told["bytes"], told["sha256"])
        except (KeyError, TypeError, ValueError):
            continue
    return copies


def _reason(error: Exception) -> str:
    """The first line of an error."""
    return shorten((str(error).strip() or type(error).__name__).splitlines()[0], 200)

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from parc_ray.simulators.engine_output import EngineOutput
from tests.reference import ROOT

SCRIPT = """
import ctypes, os, sys
from parc_ray.simulators.engine_output import EngineOutput
libc = ctypes.CDLL(None)
print("before", flush=True)
output = EngineOutput()
libc.printf(b"from C\\n")
os.write(2, b"on stderr\\n")
print("from Python")
text = output.new_text()
assert all(words in text for words in ("from C", "on stderr", "from Python")), text
assert "before" not in text and output.new_text() == ""
libc.printf(b"x" * 300000 + b"\\n")  # more than a pipe holds
assert len(output.new_text()) == 300001
output.close()
print("after", flush=True)
"""


@pytest.mark.parametrize("where", ["file", "pipe"])
def test_native_output_is_read_and_let_through(where, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    if where == "pipe":
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        out, err = ended.stdout, ended.stderr
    else:
        with (tmp_path / "out").open("a") as out_file, (tmp_path / "err").open("a") as err_file:
            ended = subprocess.run(command, env=environment, stdout=out_file, stderr=err_file, timeout=60)
        out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert ended.returncode == 0, err
    assert err == "on stderr\n"
    lines = out.splitlines()
    assert lines[0] == "before" and lines[-1] == "after"
    assert sorted(lines[1:-1]) == ["from C", "from Python", "x" * 300000]


def test_last_words_are_let_through():
    """What is printed after the last look, and even as the process ends."""
    script = SCRIPT.partition("text = ")[0] + "output.new_text()\nlibc.printf(b'last words\\n')\n"
    ended = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0 and ended.stdout.splitlines()[-1] == "last words"


def test_a_log_that_somebody_empties(tmp_path):
    saved = os.dup(2)
    with (tmp_path / "log").open("ab") as log:
        os.dup2(log.fileno(), 2)
        try:
            output = EngineOutput()
            os.write(2, b"a long first line\n")
            assert "first" in output.new_text()
            os.truncate(tmp_path / "log", 0)
            os.write(2, b"next\n")
            assert output.new_text() == "next\n"
            output.close()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    assert ctypes.CDLL(None).fflush(None) == 0

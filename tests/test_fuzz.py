"""A small, fixed portion of fuzz.py: nothing may crash, hang or be executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reference import ROOT

pytestmark = pytest.mark.slow


def test_no_file_does_harm(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "fuzz.py"), "--count", "500", "--seed", "7"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path / "kept")], cwd=str(ROOT), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for target in ("motions", "misc", "checkpoints", "yaml", "characters"):
        assert re.search(rf"^{target}: \d+ accepted, \d+ refused$", done.stdout, flags=re.MULTILINE), done.stdout
    assert not (tmp_path / "kept").exists()

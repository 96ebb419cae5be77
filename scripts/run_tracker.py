"""PARC's run_tracker, for recording: python scripts/run_tracker.py --mode record --arg_file FILE [--overwrite]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parc_ray.cli import run_command, tracker_app

if __name__ == "__main__":
    run_command(tracker_app, sys.argv[1:])

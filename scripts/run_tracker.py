"""PARC's run_tracker, for recording: python scripts/run_tracker.py --mode record --arg_file record_args.txt."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parc_ray.cli import run_tracker

if __name__ == "__main__":
    run_tracker(sys.argv[1:])

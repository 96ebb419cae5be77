"""PARC's stage 4: python scripts/parc_4_phys_record.py [--config FILE] [options of parc-ray record]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parc_ray.cli import app, run_command

if __name__ == "__main__":
    run_command(app, ["record", *sys.argv[1:]])

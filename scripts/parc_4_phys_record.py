"""PARC's stage 4: python scripts/parc_4_phys_record.py [--config FILE] [options of parc-ray record]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parc_ray.cli import app, guarded

DEFAULT = "configs/parc_4_phys_record_default.yaml"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not any(argument.split("=")[0] == "--config" for argument in arguments):
        arguments = ["--config", DEFAULT, *arguments]
    guarded(app, ["record", *arguments])

"""Fingerprint: all inputs that a run's recordings depend on, except the dataset."""

from __future__ import annotations

import json
from typing import Any

from parc_ray.character.character import text_sha256
from parc_ray.config.base import fingerprint_values
from parc_ray.recording.run_files import RunFiles
from parc_ray.runs.journal import finite
from parc_ray.runs.ledger import CHARACTER_SHA256
from parc_ray.trackers.families import family


def fingerprint(files: RunFiles) -> dict[str, Any]:
    """Return all inputs that recordings depend on, except the dataset, as plain JSON values."""
    config = files.config
    acceptance = fingerprint_values(config.acceptance) if config.acceptance else "none"
    content = {
        "simulator": files.simulator,
        f"version of {files.simulator}": files.engine.version,
        **family(config.tracker).fingerprint(files.tracker),
        CHARACTER_SHA256: text_sha256(files.character),
        "torque_limits": config.torque_limits,
        **{name: getattr(config, name).model_dump(exclude_none=True) for name in files.engine.sections},
        "seed": config.seed,
        "retry": fingerprint_values(config.retry),
        "acceptance": acceptance,
        "record": fingerprint_values(config.record, {"keep_failures"}),
        "output": fingerprint_values(config.output, {"terrain_file", "report", "logger", "upload"}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(finite(content)))
    return plain

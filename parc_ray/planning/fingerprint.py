"""Fingerprint: everything but the dataset that the recordings of a run depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict

from parc_ray.recording.shard import RunFiles
from parc_ray.trackers.families import family


def fingerprint(files: RunFiles) -> Dict[str, Any]:
    """Everything but the dataset that recordings depend on, as plain values."""
    config = files.config
    acceptance = config.acceptance.model_dump() if config.acceptance else "none"
    content = {
        "simulator": files.simulator,
        f"version of {files.simulator}": files.engine.version,
        **family(config.tracker).fingerprint(files.tracker),
        "char_file (sha256)": hashlib.sha256(files.character.encode("utf-8")).hexdigest(),
        "torque_limits": config.torque_limits,
        **{name: getattr(config, name).model_dump(exclude_none=True) for name in files.engine.sections},
        "seed": config.seed,
        "retry": config.retry.model_dump(),
        "acceptance": acceptance,
        "record": config.record.model_dump(exclude={"keep_failures"}),
        "output": config.output.model_dump(exclude={"terrain_file", "report", "logger", "upload"}),
    }
    plain: Dict[str, Any] = json.loads(json.dumps(content))
    return plain

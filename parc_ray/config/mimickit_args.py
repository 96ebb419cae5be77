"""Converts MimicKit's argument files (args/*.txt) to recording runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

from parc_ray.config.loading import check_config, expand, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import parse_args, path_of
from parc_ray.errors import InputError


def config_of_mimickit(
    arg_file: Path,
    model_file: Optional[Path],
    output: Optional[Path],
    settings: Optional[Path],
    data_dir: Optional[str],
) -> RecordConfig:
    """Return the run that records the motions of an argument file's environment with its tracker.

    model_file: the checkpoint, replacing the file's own.
    settings: a phys_record.yaml whose keys override those of the argument file.
    The file's num_envs is that of the training and is ignored. Raises InputError.
    """
    table = parse_args(["--arg_file", str(arg_file)])
    source = str(arg_file)
    expanded: Dict[str, List[str]] = {
        key: expand(list(values), data_dir, source, f"--{key}") for key, values in table.items() if values
    }
    for key in ("env_config", "agent_config"):
        if key not in expanded:
            raise InputError(f"{source}: has no --{key}; give one of MimicKit's argument files (args/*.txt)")
    own = {} if settings is None else expand(load_yaml(settings), data_dir, str(settings))
    env_file = path_of(expanded["env_config"])
    content: Dict[str, Any] = {
        "tracker": "mimickit",
        "env_file": str(env_file),
        "agent_file": str(path_of(expanded["agent_config"])),
        "dataset_file": _motion_file(env_file, data_dir),
        **own,
    }
    if "engine_config" in expanded:
        content.setdefault("engine_file", str(path_of(expanded["engine_config"])))
    if model_file is not None or "model_file" in expanded:
        content.setdefault("model_file", str(model_file or path_of(expanded["model_file"])))
    if output is not None:
        content["output_dir"] = str(output)
    for key, option in (("model_file", "--model-file"), ("output_dir", "--output")):
        if key not in content:
            raise InputError(f"{option} is missing, and {source} does not give it")
    devices = expanded.get("devices") or expanded.get("device")
    if devices:
        content.setdefault("device", devices[0] if len(devices) == 1 else devices)
    return check_config(content, RecordConfig, source if settings is None else str(settings))


def _motion_file(env_file: Path, data_dir: Optional[str]) -> Optional[str]:
    """Return the path of the motions on which the environment was trained."""
    name = expand(load_yaml(env_file), data_dir, str(env_file)).get("motion_file")
    if not isinstance(name, str):
        raise InputError(f"{env_file}: key 'motion_file' is missing; give the motion or the dataset to record")
    return name

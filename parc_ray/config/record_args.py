"""record_args.txt: arguments of PARC's run_tracker, written by a run and read to resume or repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from parc_ray.config.loading import check_config, expand, load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, quote
from parc_ray.files.reading import read_text

OWN_SECTION = "parc_ray"
"""Key of record_env.yaml that holds parc_ray's own settings; PARC ignores it."""

REPLACED = ("env.dm.motion_file", "env.dm.terrain_save_path", "env.output_motion_dir")
"""Keys of dm_env.yaml that record_environment replaces; nothing else reads them."""


def record_environment(
    environment: Mapping[str, Any], config: RecordConfig, dataset_file: Path, output_dir: Path
) -> Dict[str, Any]:
    """Return the content of record_env.yaml: dm_env.yaml with the paths of dataset and output, as PARC writes it."""
    env = dict(environment["env"])
    env["dm"] = {
        **env.get("dm", {}),
        "motion_file": str(dataset_file),
        "terrain_save_path": str(output_dir / "terrain.pkl"),
    }
    env["output_motion_dir"] = str(output_dir / "recorded_motions")
    own = config.model_dump(mode="json", exclude=set(_FROM_ARGUMENTS))
    own["acceptance"] = own["acceptance"] or "none"
    return {**environment, "env": env, OWN_SECTION: own}


def format_args(config: RecordConfig, record_env: Path, num_motions: int) -> str:
    """Return the content of record_args.txt. PARC needs one env per motion, so num_envs is the number of motions."""
    arguments = {
        "env_config": record_env,
        "agent_config": config.agent_file,
        "model_file": config.model_file,
        "num_envs": num_motions,
        "device": " ".join(config.devices),
        "mode": "record",
        "visualize": False,
    }
    return "".join(f"--{name} {value}\n" for name, value in arguments.items())


def parse_args(tokens: Sequence[str]) -> Dict[str, List[str]]:
    """Parse PARC's `--key value ...` arguments. The first occurrence of a key counts; --arg_file supplies the others.

    Raises InputError if the arg_file cannot be read.
    """
    table: Dict[str, List[str]] = {}
    _collect(tokens, table)
    if table.get("arg_file"):
        path = Path(table["arg_file"][0])
        lines = read_text(path, place=f"--arg_file {path}").splitlines()
        words = [word for line in lines if not line.startswith("#") for word in line.split()]
        _collect(words, table)
    return table


def config_of_args(table: Mapping[str, Sequence[str]], data_dir: Optional[str]) -> RecordConfig:
    """Return the run of parsed arguments. Raises InputError for a mode other than record, or a missing key."""
    mode = (table.get("mode") or ["train"])[0]
    if mode != "record":
        raise InputError(
            f"--mode {mode}: parc_ray only records (--mode record); train and test a tracker with PARC's own "
            "scripts/run_tracker.py"
        )
    for key in ("env_config", "agent_config", "model_file"):
        if not table.get(key):
            raise InputError(f"--{key} is missing; give it, or an --arg_file that has it")
    expanded = {key: expand(list(values), data_dir, "arguments", f"--{key}") for key, values in table.items()}
    record_env, agent_file, model_file = (
        path_of(expanded[key]) for key in ("env_config", "agent_config", "model_file")
    )
    content = expand(load_yaml(record_env), data_dir, str(record_env))
    env, own = content.get("env"), content.get(OWN_SECTION) or {}
    try:
        motion_file, output_dir = env["dm"]["motion_file"], str(Path(env["output_motion_dir"]).parent)
    except (KeyError, TypeError):
        raise InputError(
            f"{record_env}: keys 'env.dm.motion_file' and 'env.output_motion_dir' are needed: "
            "give the record_env.yaml of a recording run"
        ) from None
    if not isinstance(own, dict):
        raise InputError(f"{record_env}: key {OWN_SECTION!r} = {quote(own)}: must be a section of 'key: value' lines")
    device: Any = expanded.get("device", ["cuda"])
    return check_config(
        {
            **own,
            "output_dir": output_dir,
            "dataset_file": motion_file,
            "env_file": str(record_env),
            "agent_file": str(agent_file),
            "model_file": str(model_file),
            "device": device[0] if len(device) == 1 else device,
        },
        RecordConfig,
        str(record_env),
    )


_FROM_ARGUMENTS = (
    "output_dir", "dataset_file", "create_dataset_config", "env_file", "agent_file", "model_file", "device",
)  # fmt: skip


def path_of(values: Sequence[str]) -> Path:
    """Return the path of an argument that was split at blanks: all values if that path exists, else the first."""
    whole = Path(" ".join(values))
    return whole if whole.exists() else Path(values[0])


def _collect(tokens: Sequence[str], table: Dict[str, List[str]]) -> None:
    found: Dict[str, List[str]] = {}
    values: List[str] = []
    for token in tokens:
        if token.startswith("#"):
            continue
        if token.startswith("--") and len(token) > 2:
            values = []
            found.setdefault(token[2:], values)
        else:
            values.append(token)
    for key, own in found.items():
        table.setdefault(key, own)

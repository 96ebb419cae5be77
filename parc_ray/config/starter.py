"""The configuration files that `parc-ray init` writes for a tracker and its motions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from parc_ray.config.base import expand_user
from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.loading import load_yaml
from parc_ray.config.record import RecordConfig
from parc_ray.config.template import commented_yaml
from parc_ray.errors import InputError
from parc_ray.files.bundled import HUMANOID

RECORD_FILE, DATASET_FILE = "phys_record.yaml", "create_dataset_config.yaml"
TRACKER_FILES = {
    "parc": {"model_file": "model.pt", "env_file": "dm_env.yaml", "agent_file": "agent_config.yaml"},
    "mimickit": {
        "model_file": "model.pt",
        "env_file": "env_config.yaml",
        "engine_file": "engine_config.yaml",
        "agent_file": "agent_config.yaml",
    },
}
"""Keys and file names in a tracker's folder, by family."""


def starter_files(
    tracker: Path, motions: Sequence[Path], output_dir: Path, folder: Path, character: Optional[Path] = None
) -> Dict[Path, str]:
    """Return the texts of phys_record.yaml and, for folders of motions, create_dataset_config.yaml.

    tracker: the folder of a checkpoint and its YAML files.
    motions: folders of motions, or one motions.yaml or motion file.
    folder: destination of the files. All paths in them are absolute, so they work from any folder.
    character: the MJCF; by default that of the tracker's environment, else PARC's humanoid.
    Raises InputError if a file is missing.
    """
    family, files = _tracker_files(tracker)
    values: Dict[str, Any] = {"output_dir": str(output_dir.absolute())}
    values.update({key: str(path.absolute()) for key, path in files.items()})
    if family != "parc":
        values["tracker"] = family
    texts: Dict[Path, str] = {}
    for path in motions:
        if not path.exists():
            raise InputError(f"--motions {path}: no such file or folder in {Path.cwd()}. Check its path")
    if len(motions) == 1 and motions[0].is_file():
        values["dataset_file"] = str(motions[0].absolute())
    elif all(path.is_dir() for path in motions):
        values["create_dataset_config"] = str((folder / DATASET_FILE).absolute())
        dataset = {
            "folder_paths": [str(path.absolute()) for path in motions],
            "save_path": str((output_dir.parent / f"{output_dir.name}_motions.yaml").absolute()),
            "char_filepath": str((character or _character(files["env_file"])).absolute()),
        }
        header = "The folders of motions that make a dataset."
        texts[folder / DATASET_FILE] = commented_yaml(DatasetConfig, dataset, header)
    else:
        raise InputError("--motions: give folders, or one motions.yaml or motion file")
    header = f"A recording run. To check it, and to start or resume it:\nparc-ray check {RECORD_FILE}"
    header += f"\nparc-ray record {RECORD_FILE}"
    return {folder / RECORD_FILE: commented_yaml(RecordConfig, values, header), **texts}


def _tracker_files(folder: Path) -> tuple[str, Dict[str, Path]]:
    """Return the family of the tracker in a folder, and its files by key."""
    if not folder.is_dir():
        raise InputError(f"--tracker {folder}: no such folder in {Path.cwd()}. Give the folder that has model.pt")
    for family, names in TRACKER_FILES.items():
        files = {key: folder / name for key, name in names.items()}
        if all(path.is_file() for path in files.values()):
            return family, files
    wanted = "; or ".join(f"{', '.join(names.values())} ({family})" for family, names in TRACKER_FILES.items())
    raise InputError(f"--tracker {folder}: has no tracker; give a folder with {wanted}")


def _character(env_file: Path) -> Path:
    """Return the character of a tracker's environment if found, else PARC's humanoid."""
    content = load_yaml(env_file)
    section = content.get("env") if isinstance(content.get("env"), dict) else content
    name = section.get("char_file") if isinstance(section, dict) else None
    if isinstance(name, str):
        for path in (Path(expand_user(name)), env_file.parent / name, env_file.parent / Path(name).name):
            if path.is_file():
                return path
    return HUMANOID

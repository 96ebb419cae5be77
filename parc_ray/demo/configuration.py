"""The demo's configuration: phys_record.yaml and create_dataset_config.yaml of its run, for use and as templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import yaml

from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.files.writing import make_folder, write_file_atomic
from parc_ray.simulators.mujoco.engine import MUJOCO


def write_configuration(motions: Path, output_dir: Path) -> Path:
    """Write both files into the output directory; return the path of phys_record.yaml.

    Their paths are absolute, so copies work from any folder. Raises OutputError if they cannot be written.
    """
    motions, output_dir = motions.absolute(), output_dir.absolute()
    record, dataset = output_dir / "phys_record.yaml", output_dir / "create_dataset_config.yaml"
    make_folder(output_dir)
    _write(
        dataset,
        f"The demo's dataset: every motion in {motions.name}",
        {
            "save_path": str(motions / "motions.yaml"),
            "folder_paths": [str(motions)],
            "char_filepath": str(HUMANOID),
            "min_num_frames": 15,
            "max_terrain_dim_x": 1001,
            "max_terrain_dim_y": 1001,
        },
    )
    _write(
        record,
        "The demo's run: 48 generated motions, two actors of a local Ray",
        {
            "output_dir": str(output_dir),
            "device": "cpu",
            "create_dataset_config": str(dataset),
            "model_file": str(DEMO / "model.pt"),
            "env_file": str(DEMO / "dm_env.yaml"),
            "agent_file": str(DEMO / "agent_config.yaml"),
            "simulator": MUJOCO.name,
            "recovery": True,
            "ray": {"num_actors": 2},
        },
    )
    return record


def _write(path: Path, comment: str, content: Mapping[str, Any]) -> None:
    text = f"# {comment}\n{yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)}"
    write_file_atomic(path, text.encode("utf-8"))

"""create_dataset_config.yaml: folders of motions that make a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from parc_ray.config.base import PlainPath


class DatasetConfig(BaseModel):
    """How to make a dataset of motion folders; the keys are those of PARC's `create_dataset_config.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder_paths: List[PlainPath] = Field(min_length=1)
    """Folders to search. Each first-level folder inside is one motion class."""
    save_path: PlainPath
    """The dataset file to write."""
    char_filepath: PlainPath = Path("data/assets/humanoid.xml")
    """The character's MJCF file."""
    compute_preprocessing_data: bool = False
    """Accepted without effect: it would rewrite input files, for generator training; recording needs none."""
    override_old_hf_mask_inds: bool = False
    """Accepted without effect, like `compute_preprocessing_data`."""
    cut_some_classes_in_half: bool = False
    """Keep only every second file of the folders that `motion_classes_to_cut_in_half` names."""
    motion_classes_to_cut_in_half: List[str] = Field(default_factory=list)
    """A folder is meant if its path, as configured, contains one of these."""
    max_terrain_dim_x: int = Field(default=1001, ge=1)
    """Motions on terrain with more cells along x are left out."""
    max_terrain_dim_y: int = Field(default=1001, ge=1)
    """Motions on terrain with more cells along y are left out."""
    min_num_frames: int = Field(default=15, ge=0)
    """Motions with fewer frames are left out."""

    @model_validator(mode="before")
    @classmethod
    def _no_recording(cls, value: Any) -> Any:
        if isinstance(value, dict) and "model_file" in value:
            raise ValueError(
                "is a phys_record.yaml, which configures a recording; give the file that its key "
                "'create_dataset_config' names"
            )
        return value

    @field_validator("save_path")
    @classmethod
    def _dataset_file(cls, value: Path) -> Path:
        if value.suffix not in (".yaml", ".yml"):
            raise ValueError("must end in .yaml, so that it overwrites nothing but a dataset file")
        return value

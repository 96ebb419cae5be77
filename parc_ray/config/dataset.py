"""create_dataset_config.yaml: folders of motions that make a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, List

from pydantic import Field, field_validator

from parc_ray.config.base import PlainPath, Strict
from parc_ray.config.file_kind import DATASET


class DatasetConfig(Strict):
    """A dataset made from folders of motions; the keys are those of PARC's `create_dataset_config.yaml`."""

    file_kind: ClassVar[str] = DATASET

    folder_paths: List[PlainPath] = Field(
        min_length=1, description="Folders to search. Each first-level folder inside is one motion class."
    )
    save_path: PlainPath = Field(description="The dataset file to write.")
    char_filepath: PlainPath = Field(default=Path("data/assets/humanoid.xml"), description="The character's MJCF file.")
    compute_preprocessing_data: bool = Field(
        default=False,
        description="Accepted without effect: it would rewrite input files for generator training.",
    )
    override_old_hf_mask_inds: bool = Field(
        default=False, description="Accepted without effect, like compute_preprocessing_data."
    )
    cut_some_classes_in_half: bool = Field(
        default=False, description="Keep only every second file of the folders that the next key selects."
    )
    motion_classes_to_cut_in_half: List[str] = Field(
        default_factory=list, description="Selects folders whose path contains one of these."
    )
    max_terrain_dim_x: int = Field(
        default=1001, ge=1, description="Maximum number of terrain cells along x; other motions are left out."
    )
    max_terrain_dim_y: int = Field(
        default=1001, ge=1, description="Maximum number of terrain cells along y; other motions are left out."
    )
    min_num_frames: int = Field(default=15, ge=0, description="Minimum number of frames; other motions are left out.")

    @field_validator("save_path")
    @classmethod
    def _dataset_file(cls, value: Path) -> Path:
        if value.suffix not in (".yaml", ".yml"):
            raise ValueError("must end in .yaml, so that it overwrites nothing but a dataset file")
        return value

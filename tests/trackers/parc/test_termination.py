from __future__ import annotations

import numpy as np
import pytest
import torch

from parc_ray.character.pose import Pose
from parc_ray.character.skeleton import load_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.trackers.parc.termination import ParcTermination
from parc_ray.trackers.termination import BODY_POSITION, ROOT_POSITION, ROOT_ROTATION
from tests.reference import HUMANOID, tensor, vectors
from tests.trackers.parc.test_observer import environment_config

SKELETON = load_skeleton(HUMANOID)
CPU = torch.device("cpu")
V = vectors("done")
LIMITS = {
    "enable_early_termination": True,
    "pose_termination": True,
    "track_root": True,
    "contact_bodies": [],
    "pose_termination_dist": [float(limit) for limit in V["pose_termination_dist"]],
    "root_pos_termination_dist": float(V["root_pos_termination_dist"]),
    "root_rot_termination_angle": float(V["root_rot_termination_angle"]),
    "termination_height": float(V["termination_height"]),
}


def compute(**changes):
    terrain = HeightField(
        V["terrain_hf"],
        np.zeros((*V["terrain_hf"].shape, 2), np.float32),
        V["terrain_min_point"],
        float(V["terrain_dxdy"][0]),
    )
    ground = terrain.height_at(V["char_body_pos"][..., :2] + V["env_offsets"][:, None, :2])
    termination = ParcTermination(environment_config(**{**LIMITS, **changes}), SKELETON, CPU)
    return termination.compute(
        tensor(V["time_buf"]),
        CharacterState(None, tensor(V["char_root_rot"]), None, None, None, None, tensor(V["char_contact_forces"])),
        Pose(None, tensor(V["char_body_pos"]), None),
        Pose(None, tensor(V["ref_body_pos"]), tensor(V["ref_root_rot"]).unsqueeze(1)),
        tensor(ground),
    )


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("default", {}),
        ("no_early_termination", {"enable_early_termination": False}),
        ("no_pose_termination", {"pose_termination": False}),
        ("no_track_root", {"track_root": False}),
        ("contact_bodies_feet", {"contact_bodies": ["right_foot", "left_foot"]}),
    ],
)
def test_reference_flags(variant, changes):
    failed = compute(**changes).reason.numpy() > 0
    expected = V[f"compute_done_{variant}"] == 1
    assert (failed == expected).all()


def test_the_cause_is_named():
    reason = compute().reason.numpy()
    for kind, code in ((1, BODY_POSITION), (2, ROOT_POSITION), (3, ROOT_ROTATION)):
        rows = (V["cause"] == kind) & (reason > 0)
        assert rows.any()
        assert (reason[rows] == code).all()


def test_limits_must_fit_the_character():
    with pytest.raises(InputError, match="pose_termination_dist"):
        ParcTermination(environment_config(pose_termination_dist=[1.0, 1.0]), SKELETON, CPU)

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parc_ray.character.rotations import exp_map_to_quat, quat_mul, quat_rotate
from parc_ray.demo.legs import BODY_MASSES, HIP_ASIDE, LEG, Legs, centre_of_mass, rotation_about
from tests.demo.measures import FEET, MODEL, SKELETON
from tests.reference import max_rotation_error

THIGHS = [SKELETON.body_index("right_thigh"), SKELETON.body_index("left_thigh")]
KNEES = [SKELETON.body_index("right_shin") - 1, SKELETON.body_index("left_shin") - 1]


def test_masses_are_those_of_the_character():
    assert MODEL.body_mass.sum() == pytest.approx(50.048, abs=5e-4)
    assert set(BODY_MASSES) == set(SKELETON.body_names)
    for name, (mass, centre) in BODY_MASSES.items():
        assert MODEL.body(name).mass[0] == pytest.approx(mass, abs=1e-3)
        assert MODEL.body(name).ipos == pytest.approx(centre, abs=1e-4)


def test_lengths_are_those_of_the_character():
    assert pytest.approx(LEG) == -sum(MODEL.body(name).pos[2] for name in ("left_shin", "left_foot"))
    assert pytest.approx(HIP_ASIDE) == MODEL.body("left_thigh").pos[1] == -MODEL.body("right_thigh").pos[1]


def random_poses(seed: int, count: int = 50):
    """Root positions, root rotations and joint rotations."""
    vectors = torch.randn(count, 16, 3, generator=torch.Generator().manual_seed(seed))
    return vectors[:, 0], exp_map_to_quat(vectors[:, 1]), exp_map_to_quat(vectors[:, 2:])


def test_centre_of_mass_is_where_the_moments_of_all_bodies_vanish():
    poses = random_poses(0)
    positions, rotations = SKELETON.forward_kinematics(*poses)
    centres = positions + quat_rotate(
        rotations, torch.tensor(MODEL.body_ipos[1:], dtype=torch.float32).expand(50, 15, 3)
    )
    expected = np.average(centres.numpy(), axis=1, weights=MODEL.body_mass[1:])
    assert np.abs(centre_of_mass(SKELETON, *poses).numpy() - expected).max() < 1e-4


feet = st.tuples(
    st.floats(-0.5, 0.5), st.floats(-0.4, 0.4), st.floats(0.3, 0.8), st.floats(-1.0, 1.0), st.floats(0.0, 0.7)
)


@settings(deadline=None, max_examples=60)
@given(st.floats(-3.0, 3.0), feet, feet)
def test_feet_come_where_they_are_wanted(heading: float, right, left):
    """Both feet, wherever a leg can reach, turned against the body and with the heel up."""
    root_rot, root_pos = rotation_about(2, torch.tensor([heading])), torch.tensor([[1.0, -2.0, 1.1]])
    _, _, joint_rot = random_poses(1, 1)
    hips = root_pos[:, None] + quat_rotate(root_rot[:, None].expand(1, 2, 4), SKELETON.local_translation[THIGHS][None])
    wanted = torch.tensor([[right, left]])
    direction = torch.nn.functional.normalize(wanted[..., :3] * torch.tensor([1.0, 1.0, -1.0]), dim=-1)
    ankles = hips + direction * wanted[..., :3].norm(dim=-1, keepdim=True).clamp(max=0.99 * LEG)
    foot_rot = quat_mul(rotation_about(2, heading + wanted[..., 3]), rotation_about(1, wanted[..., 4]))
    placed = Legs(SKELETON).place(root_pos, root_rot, joint_rot, ankles, foot_rot)

    positions, rotations = SKELETON.forward_kinematics(root_pos, root_rot, placed)
    assert float((positions[:, FEET] - ankles).abs().max()) < 1e-4
    assert max_rotation_error(rotations[:, FEET], foot_rot) < 1e-4
    knee = SKELETON.rot_to_dof(placed)[:, [SKELETON.joints[body + 1].dof_index for body in KNEES]]
    assert float(knee.min()) >= 0.0, "knees bend backwards"
    others = [joint for joint in range(14) if joint + 1 not in (*THIGHS, *FEET) and joint not in KNEES]
    assert torch.equal(placed[:, others], joint_rot[:, others])


def test_a_leg_that_is_too_short_points_at_its_foot():
    root_pos, root_rot = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    joint_rot = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, 14, 4)
    ankles = torch.tensor([[[0.5, -0.1, -0.3], [0.0, 0.5, -0.2]]])
    placed = Legs(SKELETON).place(root_pos, root_rot, joint_rot, ankles, root_rot[:, None].expand(1, 2, 4))
    positions, _ = SKELETON.forward_kinematics(root_pos, root_rot, placed)
    legs, wanted = positions[0, FEET] - positions[0, THIGHS], ankles[0] - positions[0, THIGHS]
    assert torch.cosine_similarity(legs, wanted, dim=-1).numpy() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert legs.norm(dim=-1).numpy() == pytest.approx([0.999 * LEG] * 2, abs=1e-4)


@settings(deadline=None)
@given(st.integers(0, 2), st.floats(-3.0, 3.0))
def test_rotations_about_axes_are_those_of_mujoco(axis: int, angle: float):
    expected = np.zeros(4)
    mujoco.mju_axisAngle2Quat(expected, np.eye(3)[axis], angle)
    assert rotation_about(axis, torch.tensor(angle)).numpy() == pytest.approx(expected[[1, 2, 3, 0]], abs=1e-6)

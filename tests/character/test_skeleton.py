from __future__ import annotations

import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import load_skeleton, parse_skeleton
from parc_ray.errors import InputError
from tests.reference import HUMANOID, max_error, max_rotation_error, tensor, vectors

V = vectors("skeleton")
SKELETON = load_skeleton(HUMANOID)


def test_static_facts():
    assert SKELETON.body_names == tuple(V["body_names"])
    assert SKELETON.parent_indices == tuple(V["parent_indices"])
    assert max_error(SKELETON.local_translation, V["local_translation"]) <= 1e-6
    assert [joint.kind.upper() for joint in SKELETON.joints] == list(V["joint_types"])
    assert [joint.dof_count for joint in SKELETON.joints] == list(V["dof_dim"])
    assert SKELETON.dof_count == V["dof_size"]
    assert max_error([x for joint in SKELETON.joints for x in joint.lower], V["dof_lower"]) <= 1e-6
    assert max_error([x for joint in SKELETON.joints for x in joint.upper], V["dof_upper"]) <= 1e-6


def test_dof_to_rot():
    assert max_rotation_error(SKELETON.dof_to_rot(tensor(V["dof"])), V["dof_to_rot"]) <= 2e-6


def test_rot_to_dof():
    well = np.repeat(V["rot_well_conditioned"], [joint.dof_count for joint in SKELETON.joints[1:]], axis=1)
    result = SKELETON.rot_to_dof(tensor(V["rot"])).numpy()
    assert max_error(result[well], V["rot_to_dof"][well]) <= 1e-5


def test_forward_kinematics():
    pos, rot = SKELETON.forward_kinematics(tensor(V["root_pos"]), tensor(V["root_rot"]), tensor(V["rot"]))
    assert max_error(pos, V["fk_body_pos"]) <= 1e-5
    assert max_rotation_error(rot, V["fk_body_rot"]) <= 1e-5


def test_dof_velocity():
    pair = SKELETON.dof_velocity(tensor(V["dofvel_rot0"]), tensor(V["dofvel_rot1"]), float(V["dofvel_dt"]))
    assert max_error(pair, V["compute_dof_vel"]) <= 1e-3
    rot = tensor(V["frame_joint_rot"])
    frames = SKELETON.dof_velocity(rot[:-1], rot[1:], float(V["dofvel_dt"]))
    assert max_error(frames, V["compute_frame_dof_vel"][:-1]) <= 1e-3


def test_bones_keep_their_length():
    pos, _ = SKELETON.forward_kinematics(tensor(V["root_pos"]), tensor(V["root_rot"]), tensor(V["rot"]))
    parents = torch.tensor(SKELETON.parent_indices[1:])
    bones = (pos[:, 1:] - pos[:, parents]).norm(dim=-1)
    assert torch.allclose(bones, SKELETON.local_translation[1:].norm(dim=-1).expand_as(bones), atol=2e-5)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<worldbody>", "<nothing>", "not valid XML"),
        ("<freejoint", "<site", "freejoint"),
        ('type="hinge"', 'type="slide"', "not a hinge"),
        ('axis="1 0 0"', 'axis="1 1 0"', "axes"),
        ('range="0 1"', 'range="zero one"', "not a list of numbers"),
    ],
)
def test_unsupported_characters_are_explained(old, new, says):
    joint = '<joint name="{0}_{1}" type="hinge" axis="{2}" range="0 1"/>'
    joints = "".join(joint.format("knee", k, a) for k, a in zip("xyz", ("1 0 0", "0 1 0", "0 0 1")))
    text = (
        f'<mujoco><worldbody><body name="root"><freejoint name="f"/><body name="leg">{joints}</body>'
        "</body></worldbody></mujoco>"
    )
    assert parse_skeleton(text, "a.xml").dof_count == 3
    with pytest.raises(InputError, match=says) as error:
        parse_skeleton(text.replace(old, new), "a.xml")
    assert "a.xml" in str(error.value)

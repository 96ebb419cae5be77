"""How well a motion was tracked: against numpy, against MuJoCo's geometry and against examples done by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Sequence

import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.pose import Pose
from parc_ray.character.surface import surface_points
from parc_ray.config.record import AcceptanceConfig
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.terrain_stack import TerrainStack
from parc_ray.tensors.rows import pad_to_batch
from parc_ray.tracking.environment import Step
from parc_ray.tracking.meter import MetricMeter, aggregate
from parc_ray.tracking.metrics import Quality, broken_limits
from tests.reference import vectors
from tests.tracking.test_environment import (
    CPU,
    MOTIONS,
    SKELETON,
    TEXT,
    make_environment,
    motion,
    rollout,
)

SURFACE = surface_points(TEXT, "humanoid.xml", CPU)
FLAT = HeightField.flat((9, 9), min_point=(-1.6, -1.6))


def meter_on(*terrains: HeightField) -> MetricMeter:
    return MetricMeter(SURFACE, TerrainStack(terrains, CPU))


def pose_of(root_pos: Tensor, root_rot: Tensor, joint_rot: Tensor) -> Pose:
    return Pose(joint_rot, *SKELETON.forward_kinematics(root_pos, root_rot, joint_rot))


def upright(x: float = 0.0, y: float = 0.0, z: float = 3.0) -> Pose:
    joint_rot = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, 14, 4)
    return pose_of(torch.tensor([[x, y, z]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), joint_rot)


def flags(bodies) -> Tensor:
    """Contacts of one frame, of bodies given by their indices."""
    value = torch.zeros(1, 15)
    value[0, list(bodies)] = 1.0
    return value


def measure(pose: Pose, reference: Pose, *terrains: HeightField, contacts=(), reference_contacts=()) -> Quality:
    measured = meter_on(*(terrains or (FLAT,))).measure(
        torch.zeros(len(pose.body_pos), dtype=torch.int64), pose, reference, flags(contacts), flags(reference_contacts)
    )
    return aggregate(measured.numpy())


# -------------------------------------------------------------------------------------------------- surface points


def test_a_sole_s_surface_points_are_its_corners():
    assert len(SURFACE.bodies) == 42
    pose = upright(1.0, -2.0, 3.0)
    points = SURFACE.positions(pose.body_pos, pose.body_rot)[0]
    foot = SKELETON.body_index("left_foot")
    corners = points[SURFACE.bodies == foot].numpy()
    ankle = np.array([1.0, -2.0 + 0.084887, 3.0 - 0.421546 - 0.40987])
    expected = [
        ankle + (0.045 + sx * 0.0885, sy * 0.045, -0.0225 + sz * 0.0275)
        for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)
    ]  # fmt: skip
    assert np.abs(np.sort(corners, axis=0) - np.sort(expected, axis=0)).max() <= 1e-5
    assert len({tuple(np.round(corner, 3)) for corner in corners}) == 8


def test_the_lowest_surface_point_is_the_lowest_of_each_body():
    model = mujoco.MjModel.from_xml_string(TEXT)
    data = mujoco.MjData(model)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        rot = rotations.quat_normalize(torch.randn(1, 4, generator=generator))
        data.qpos[:3], data.qpos[3:7] = (0.4, -0.3, 2.0), rot[0, [3, 0, 1, 2]].numpy()
        mujoco.mj_kinematics(model, data)
        lowest = np.full(model.nbody, np.inf)
        for geom in range(model.ngeom):
            axes, size = data.geom_xmat[geom].reshape(3, 3)[2], model.geom_size[geom]
            reach = {
                int(mujoco.mjtGeom.mjGEOM_SPHERE): size[0],
                int(mujoco.mjtGeom.mjGEOM_CAPSULE): size[0] + abs(axes[2]) * size[1],
                int(mujoco.mjtGeom.mjGEOM_BOX): np.abs(axes) @ size,
            }.get(int(model.geom_type[geom]), np.nan)
            body = model.geom_bodyid[geom]
            lowest[body] = min(lowest[body], data.geom_xpos[geom][2] - reach)
        pose = upright()
        pose = pose_of(torch.tensor([[0.4, -0.3, 2.0]]), rot, pose.joint_rot)
        heights = SURFACE.positions(pose.body_pos, pose.body_rot)[0, :, 2].numpy()
        found = [heights[SURFACE.bodies.numpy() == body].min() for body in range(15)]
        assert np.abs(found - lowest[1:]).max() <= 1e-5


# --------------------------------------------------------------------------------------------- penetration


@pytest.mark.parametrize(("sunk", "expected"), [(-0.5, 0.0), (0.0, 0.0), (0.031, 0.03), (0.081, 0.08)])
def test_penetration_of_flat_ground(sunk, expected):
    """Generated motions stand 1 mm above the ground."""
    stand = motion("idle")
    parts = [torch.from_numpy(part[:1]) for part in (stand.root_pos, stand.root_rot, stand.joint_rot)]
    sinking = pose_of(parts[0] - torch.tensor([0.0, 0.0, sunk]), *parts[1:])
    quality = measure(sinking, pose_of(*parts), stand.terrain)
    assert quality["max_penetration"] == pytest.approx(expected, abs=1e-4)
    assert quality["root_error"] == quality["max_root_error"] == pytest.approx(abs(sunk), abs=1e-6)
    assert quality["body_error"] <= 1e-6


def test_the_way_out_of_a_wall_is_sideways():
    hf = np.zeros((9, 9), dtype=np.float32)
    hf[6:] = 5.0
    wall = HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-1.6, -1.6]), 0.4)
    # The wall begins at x = 0.6 and the toes reach 0.1335 m ahead of the root, farther than any other point.
    quality = measure(upright(0.6 - 0.1335 + 0.05), upright(), wall)
    assert quality["max_penetration"] == pytest.approx(0.05, abs=1e-4)
    assert measure(upright(0.6 - 0.1335 - 0.01), upright(), wall)["max_penetration"] == 0.0


def test_each_frame_is_measured_on_the_terrain_of_its_motion():
    meter = meter_on(FLAT, HeightField.flat((9, 9), min_point=(-1.6, -1.6), height=-5.0))
    pose = upright(z=0.8)
    both = Pose(**{name: value.expand(2, *value.shape[1:]) for name, value in vars(pose).items()})
    contacts = flags([]).expand(2, -1)
    measured = meter.measure(torch.tensor([0, 1]), both, both, contacts, contacts).numpy()
    assert aggregate(measured[:1])["max_penetration"] == pytest.approx(0.421546 + 0.40987 + 0.05 - 0.8, abs=1e-4)
    assert aggregate(measured[1:])["max_penetration"] == 0.0


# ------------------------------------------------------------------------------------------------- contacts


@pytest.mark.parametrize(
    ("contacts", "labels", "agreement"),
    [
        ([], [], 1.0),
        ([11, 14], [11, 14], 1.0),
        ([11], [11, 14], 1 / 2),
        ([11, 5, 8], [11, 14], 1 / 4),
        ([5], [11], 0.0),
        ([5], [], 0.0),
    ],
)
def test_contact_agreement(contacts, labels, agreement):
    quality = measure(upright(), upright(), contacts=contacts, reference_contacts=labels)
    assert quality["contact_agreement"] == pytest.approx(agreement)


def test_contacts_are_counted_over_all_frames():
    """1 of 1, then 1 of 3: two shared contacts of four."""
    pose = upright()
    both = Pose(**{name: value.expand(2, *value.shape[1:]) for name, value in vars(pose).items()})
    contacts, labels = torch.cat((flags([11]), flags([11, 14]))), torch.cat((flags([11]), flags([11, 5])))
    measured = meter_on(FLAT).measure(torch.tensor([0, 0]), both, both, contacts, labels)
    assert aggregate(measured.numpy())["contact_agreement"] == pytest.approx(2 / 4)


# -------------------------------------------------------------------------------------------------- metrics


def expected_figures(frames, env: int) -> dict:
    """The definitions, in numpy, over the steps of one env."""

    def gather(part: str, name: str) -> np.ndarray:
        return np.stack([getattr(getattr(frame.step, part), name)[env].double().numpy() for frame in frames])

    def angle(name: str) -> np.ndarray:
        a, b = (gather(part, name) for part in ("pose", "reference"))
        ways = (4 * np.arctan2(np.linalg.norm(a - c, axis=-1), np.linalg.norm(a + c, axis=-1)) for c in (b, -b))
        return np.minimum(*ways)

    pos, reference = gather("pose", "body_pos"), gather("reference", "body_pos")
    root = np.linalg.norm(pos[:, 0] - reference[:, 0], axis=-1)
    relative = (pos[:, 1:] - pos[:, :1]) - (reference[:, 1:] - reference[:, :1])
    contacts = np.stack([frame.step.contacts[env].numpy() for frame in frames]) > 0
    labels = np.stack([frame.step.reference_contacts[env].numpy() for frame in frames]) > 0.5
    return {
        "root_error": root.mean(),
        "max_root_error": root.max(),
        "root_angle_error": angle("body_rot")[:, 0].mean(),
        "body_error": np.linalg.norm(relative, axis=-1).mean(),
        "mpjpe": np.linalg.norm(pos - reference, axis=-1).mean(),
        "joint_angle_error": angle("joint_rot").mean(),
        "contact_agreement": (contacts & labels).sum() / (contacts | labels).sum(),
    }


@pytest.fixture(scope="module")
def tracked():
    """Frames of all motions tracked side by side for a while, early termination or not."""
    environment = make_environment(MOTIONS, num_envs=5)
    environment.start(range(5), range(5), [0.0] * 5)
    return environment.terrains, rollout(environment, range(5), 20)


def measured_of(terrains: TerrainStack, steps: Sequence[Step], envs: Sequence[int], motions: Sequence[int]) -> Tensor:
    """Numbers of every step of envs, one env after the other, measured in one batch."""

    def rows(part: str, name: str = "") -> Tensor:
        values = [getattr(step, part) if not name else getattr(getattr(step, part), name) for step in steps]
        return pad_to_batch(torch.stack([value[env] for env in envs for value in values]))

    poses = [Pose(*(rows(part, name) for name in ("joint_rot", "body_pos", "body_rot"))) for part in
             ("pose", "reference")]  # fmt: skip
    ids = pad_to_batch(torch.tensor(list(motions)).repeat_interleave(len(steps)))
    found = MetricMeter(SURFACE, terrains).measure(ids, *poses, rows("contacts"), rows("reference_contacts"))
    return found[: len(envs) * len(steps)]


def test_figures_of_a_rollout(tracked):
    terrains, frames = tracked
    measured = measured_of(terrains, [frame.step for frame in frames], range(5), range(5))
    for env, own in enumerate(measured.split(len(frames))):
        quality = aggregate(own.numpy())
        for name, expected in expected_figures(frames, env).items():
            assert quality[name] == pytest.approx(expected, rel=1e-3, abs=1e-5), name
        assert 0.0 <= quality["max_penetration"] < 0.05
        assert broken_limits(quality, AcceptanceConfig()) == []


def test_figures_do_not_depend_on_company(tracked):
    """To the bit: they are part of a recording."""
    terrains, frames = tracked
    steps = [frame.step for frame in frames]
    crowd = [3, 1, 4, 1, 0, 2, 2]
    together = measured_of(terrains, steps, crowd, crowd).split(len(steps))
    for place, env in enumerate(crowd):
        alone = measured_of(terrains, steps, [env], [env])
        assert aggregate(together[place].numpy()) == aggregate(alone.numpy())


def test_what_is_not_a_number_stays_alone(tracked):
    terrains, frames = tracked
    body_pos = frames[0].step.pose.body_pos.clone()
    body_pos[1] = math.nan
    broken = replace(frames[0].step, pose=replace(frames[0].step.pose, body_pos=body_pos))
    found = [aggregate(row[None].numpy()) for row in measured_of(terrains, [broken], range(5), range(5))]
    assert math.isnan(found[1]["root_error"]) and math.isnan(found[1]["max_root_error"])
    assert broken_limits(found[1], AcceptanceConfig(max_mean_root_error=1.0))
    assert all(math.isfinite(value) for env in (0, 2, 3, 4) for value in found[env].values())


# --------------------------------------------------------------------------------------------------------- reality


def test_the_real_isaac_gym_recording_is_accepted():
    """PARC's own tracker in Isaac Gym: what it tracked is in what it observed, one control step ahead."""
    v = vectors("golden_isaacgym_recording")
    names, sizes = list(v["obs_keys"]), [int(size) for size in v["obs_sizes"]]
    parts = dict(zip(names, torch.from_numpy(v["obs"]).split(sizes, dim=1)))
    root_pos, root_rot, joint_rot = (torch.from_numpy(v[name]) for name in ("root_pos", "root_rot", "joint_rot"))
    contacts = torch.from_numpy(v["body_contacts"])
    steps = list(v["tar_obs_steps"])
    assert steps[0] == 1
    targets = parts["tar_contacts"].unflatten(1, (len(steps), -1))[:-1, 0]
    tracked = torch.from_numpy(v["tar_root_pos_world"])[:-1, 0]
    terrain = HeightField(v["terrain_hf"], v["terrain_hf_maxmin"], v["terrain_min_point"], float(v["terrain_dx"]))
    meter = meter_on(terrain)
    poses = pose_of(root_pos, root_rot, joint_rot)
    references = pose_of(tracked, root_rot[1:], joint_rot[1:])  # only its root's place is measured here
    count = len(root_pos) - 1
    pose = Pose(poses.joint_rot[1:], poses.body_pos[1:], poses.body_rot[1:])
    numbers = meter.measure(torch.zeros(count, dtype=torch.int64), pose, references, contacts[1:], targets)
    measured = aggregate(numbers.numpy())
    # Written out: Jaccard index of the contacts, mean distance of the roots.
    both = np.logical_and(v["body_contacts"][1:] > 0.5, targets.numpy() > 0.5).sum()
    either = np.logical_or(v["body_contacts"][1:] > 0.5, targets.numpy() > 0.5).sum()
    assert measured["contact_agreement"] == pytest.approx(both / either) == pytest.approx(0.86, abs=0.005)
    distance = np.linalg.norm(v["root_pos"][1:] - v["tar_root_pos_world"][:-1, 0], axis=1).mean()
    assert measured["root_error"] == pytest.approx(distance, rel=1e-5) == pytest.approx(0.13, abs=0.005)
    assert measured["max_penetration"] == pytest.approx(0.004, abs=0.001)
    assert broken_limits(measured, AcceptanceConfig()) == []

"""The PhysX simulator, beyond the conformance tests of all simulators (test_conformance.py)."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Iterator

import mujoco
import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError
from parc_ray.simulators.engines import engine as engine_of
from parc_ray.simulators.simulator import SimulatorConfig
from tests.simulators.test_conformance import (
    ARM,
    DRIVE,
    GROUND,
    HUMAN,
    PHYSX,
    TEXT,
    WITHOUT_PHYSX,
    changed,
    company,
    flying,
    pose,
    rollout,
    rows,
    standing,
    still,
)
from tests.tracking.pretended_device import PretendedDevice

if WITHOUT_PHYSX:
    pytest.skip(WITHOUT_PHYSX, allow_module_level=True)

import ovphysx
import ovstage
from ovphysx import TensorType
from ovphysx.dlpack import DLDevice, DLDeviceType
from ovphysx.population import PrimBatch

from parc_ray.simulators.physx import instance as physx_instance
from parc_ray.simulators.physx import scene as physx_scene
from parc_ray.simulators.physx.simulator import PhysxSimulator
from parc_ray.simulators.shared_world import share_world

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")
CONFIG = SimulatorConfig(TEXT, "humanoid.xml", [GROUND], 3, 30, 4, CPU, 1, substeps=2, physx=PHYSX)


@contextmanager
def simulator(name: str = "physx", **changes: object) -> Iterator[PhysxSimulator]:
    config = replace(CONFIG, **changes)
    built = engine_of(name).build(config, parse_skeleton(config.character, config.character_source))
    yield built
    built.close()


# ------------------------------------------------------------------------------------- another engine agrees


SHOULDER = "".join(f'<joint name="shoulder_{n}" axis="{a}" {DRIVE}/>' for n, a in (("y", "0 1 0"), ("z", "0 0 1")))
ODD = """
<mujoco><compiler angle="degree"/><worldbody><body name="base"><freejoint/><geom type="sphere" size=".2" density="900"/>
  <body name="thigh" pos="0 .1 .3" quat=".9 .3 -.2 .1">{ball}
    <geom type="capsule" size=".05" fromto=".02 .01 0 .2 .3 .1" density="800"/>
    <geom type="box" size=".05 .1 .02" pos="-.1 0 .1" quat=".8 .1 .5 -.3" density="700"/>
    <body name="shin" pos=".2 .3 .1" quat=".7 0 .6 .3">
      <joint name="knee" type="hinge" axis=".36 -.48 .8" range="-90 90" stiffness="30" damping="3" armature=".01"/>
      <geom type="cylinder" size=".04 .1" pos="0 .1 .05" euler="30 50 0" density="900"/></body></body></body>
</worldbody></mujoco>
""".format(
    ball="".join(
        f'<joint name="hip_{name}" axis="{axis}" range="-90 90" stiffness="60" damping="6" armature=".02"/>'
        for name, axis in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
)
"""bodies turned against each other, moments of inertia about axes of their own, an oblique hinge"""


def test_tumbling_characters_move_as_in_mujoco():
    """In steps so small that both engines are exact. Gyroscopic torques, masses, frames and drives all matter."""
    skeleton = parse_skeleton(ODD, "odd.xml")
    generator = torch.Generator().manual_seed(3)
    dofs = skeleton.dof_count
    start = changed(
        still(0.2 * torch.randn(1, dofs, generator=generator), skeleton=skeleton),
        root_vel=torch.randn(1, 3, generator=generator),
        root_ang_vel=2 * torch.randn(1, 3, generator=generator),
        dof_vel=torch.randn(1, dofs, generator=generator),
    )
    targets = start.dof_pos + 0.3 * torch.randn(1, dofs, generator=generator)
    frames = {}
    for name in ("mujoco", "physx"):
        settings = {"character": ODD, "character_source": "odd.xml", "num_envs": 1, "control_freq": 100.0}
        with simulator(name, steps_per_control=20, substeps=1, **settings) as engine:
            engine.reset([0], [0], start)
            frames[name] = rollout(engine, [0], targets, 40)
    assert float((frames["mujoco"][-1].dof_pos - start.dof_pos).norm()) > 0.3
    for a, b in zip(frames["mujoco"], frames["physx"]):
        assert torch.allclose(a.root_pos, b.root_pos, atol=2e-3)
        assert torch.allclose(a.dof_pos, b.dof_pos, atol=0.01)
        assert torch.allclose(a.root_ang_vel, b.root_ang_vel, atol=0.03)


def test_a_standing_humanoid_sinks_as_in_mujoco_if_steps_are_small():
    state, ground = standing()
    ends = {}
    for name, steps in (("mujoco", 4), ("physx", 16), ("physx", 1)):
        with simulator(name, tiles=[ground], num_envs=1, control_freq=120.0, steps_per_control=steps) as engine:
            engine.reset([0], [0], state)
            ends[name, steps] = rollout(engine, [0], state.dof_pos, 24)[-1]
    sag = {key: float((end.dof_pos - state.dof_pos).abs().max()) for key, end in ends.items()}
    assert sag["physx", 16] == pytest.approx(sag["mujoco", 4], abs=0.01)
    # The README says so of PARC's settings.
    assert 2 < sag["physx", 1] / sag["mujoco", 4] < 4


def test_targets_beyond_half_a_turn_are_the_rotations_that_they_mean():
    """PhysX ignores components of more than half a turn, and keeps the target before."""
    text = ARM.format(name="shoulder_x", axis="1 0 0", drive=DRIVE, more=SHOULDER, offset="0")
    skeleton = parse_skeleton(text, "arm.xml")
    with simulator(character=text, character_source="arm.xml", num_envs=1) as engine:
        engine.reset([0], [0], still(torch.zeros(1, 3), skeleton=skeleton))
        end = rollout(engine, [0], torch.tensor([[2 * math.pi - 1.0, 0.0, 0.0]]), 40)[-1]
    assert torch.allclose(end.dof_pos, torch.tensor([[-1.0, 0.0, 0.0]]), atol=0.01)


def test_axes_of_inertia_are_turned_as_little_as_possible():
    moments, turn = np.array([3.0, 2.0, 1.0]), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, np.array([0.6, 0.0, 0.8]), 0.2)
    for shuffle in ((0.5, 0.5, 0.5, 0.5), (0.0, 1.0, 0.0, 0.0), (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)):
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, turn, np.array(shuffle))
        inertia, (x, y, z, w) = physx_scene.upright_axes(moments, quaternion)
        before, after = (
            axes @ np.diag(values) @ axes.T
            for axes, values in ((matrix(quaternion), moments), (matrix(np.array([w, x, y, z])), inertia))
        )
        assert np.allclose(before, after, atol=1e-12)
        assert 2 * math.acos(min(1.0, abs(w))) == pytest.approx(0.2, abs=1e-6)


def matrix(quaternion: np.ndarray) -> np.ndarray:
    result = np.zeros(9)
    mujoco.mju_quat2Mat(result, quaternion)
    return result.reshape(3, 3)


# ----------------------------------------------------------------------------------------------- settings


def value_of(engine: PhysxSimulator, kind: TensorType) -> torch.Tensor:
    paths = [physx_scene.body_path(env, 0) for env in range(engine.num_envs)]
    return engine._px.articulations(paths, kind).read()


def test_gains_limits_and_masses_reach_the_engine():
    with simulator() as engine:
        order = engine._to_ours
        joints = HUMAN.joints
        for kind, name in (
            (TensorType.ARTICULATION_DOF_STIFFNESS, "stiffness"),
            (TensorType.ARTICULATION_DOF_DAMPING, "damping"),
            (TensorType.ARTICULATION_DOF_ARMATURE, "armature"),
        ):
            expected = torch.tensor([value for joint in joints for value in getattr(joint, name)])
            assert torch.allclose(value_of(engine, kind)[:, order], expected.expand(3, -1), rtol=1e-5)
        limits = value_of(engine, TensorType.ARTICULATION_DOF_LIMIT)[:, order]
        for joint in joints:
            own = torch.tensor([joint.lower, joint.upper]).T
            assert torch.allclose(limits[:, joint.dof_index : joint.dof_index + joint.dof_count], own, atol=1e-5)
        assert float(value_of(engine, TensorType.ARTICULATION_BODY_MASS)[0].sum()) == pytest.approx(50.048, abs=1e-3)
        assert (value_of(engine, TensorType.ARTICULATION_DOF_MAX_FORCE) > 1e30).all()
    with simulator(torque_limits=True) as engine:
        expected = torch.tensor([value for joint in joints for value in joint.torque_limit])
        assert torch.allclose(value_of(engine, TensorType.ARTICULATION_DOF_MAX_FORCE)[:, order], expected.expand(3, -1))


@pytest.mark.parametrize("target", [[1.5], [1.2, 0.0, 0.0], [0.0, -1.2, 0.0], [0.8, 0.8, 0.8]])
def test_a_joint_stops_at_its_limits(target):
    """Of 30 degrees, for each component of a ball joint's rotation vector."""
    more = SHOULDER if len(target) == 3 else ""
    text = ARM.format(name="shoulder_x", axis="1 0 0", drive=DRIVE, more=more, offset="0")
    text = text.replace("-180 180", "-30 30")
    skeleton = parse_skeleton(text, "arm.xml")
    with simulator(character=text, character_source="arm.xml", num_envs=1) as engine:
        engine.reset([0], [0], still(torch.zeros(1, len(target)), skeleton=skeleton))
        end = rollout(engine, [0], torch.tensor([target]), 30)[-1]
    assert torch.allclose(end.dof_pos, torch.tensor([target]).clamp(-math.radians(30), math.radians(30)), atol=0.01)


def scene_columns(monkeypatch, config: SimulatorConfig) -> list[dict]:
    """Return the columns written for the scene itself."""
    written: list[dict] = []
    original = PrimBatch.apply_physx_scene_api

    def note(self, **columns):
        written.append({name: values[0] for name, values in columns.items()})
        return original(self, **columns)

    monkeypatch.setattr(PrimBatch, "apply_physx_scene_api", note)
    stage = ovstage.Stage("test")
    world = share_world(config.tiles, config.num_envs)
    physx_scene.SceneWriter(config, HUMAN, world, stage, ovstage.PathDictionary(stage)).write()
    stage.destroy()
    return written


def test_parcs_settings_become_the_scenes(monkeypatch):
    physx = PhysxConfig(solver_type=0, bounce_threshold_velocity=0.3, friction_offset_threshold=0.05)
    (scene,) = scene_columns(monkeypatch, replace(CONFIG, physx=physx))
    expected = {"solver_type": "PGS", "bounce_threshold": 0.3, "friction_offset_threshold": 0.05}
    expected.update(time_steps_per_second=120, enable_enhanced_determinism=True, enable_gpudynamics=False)
    assert expected.items() <= scene.items()
    assert "friction_correlation_distance" not in scene


def test_unfit_characters_are_refused():
    text = TEXT.replace(
        '<geom name="head" type="sphere" size=".095"', '<geom name="head" type="ellipsoid" size=".1 .1 .2"'
    )
    assert text != TEXT
    with pytest.raises(
        InputError,
        match=r"humanoid\.xml: geom 'head' of body 'head' has the shape ellipsoid; .* or use simulator: mujoco",
    ), simulator(character=text):
        pass


# ------------------------------------------------------------------------------------------------- CUDA


def test_the_device_decides_where_physx_works(monkeypatch):
    """Nothing can be simulated on a GPU here, but the settings that PhysX receives can be read."""
    told = {}
    monkeypatch.setattr(ovphysx, "PhysX", lambda **arguments: told.update(arguments))
    monkeypatch.setattr(physx_instance, "_configure", lambda key, value: told.update({key.name: value}))
    physx_instance.Instance(CUDA)
    assert told["config"].carbonite_overrides["/physics/suppressReadback"] is True
    assert (told["active_cuda_gpus"], told["NUM_THREADS"]) == ("1", 0) and "CPU_ONLY" not in told
    (scene,) = scene_columns(monkeypatch, replace(CONFIG, device=CUDA))
    assert (scene["enable_gpudynamics"], scene["broadphase_type"]) == (True, "GPU")
    assert scene["gpu_max_rigid_contact_count"] == PHYSX.max_gpu_contact_pairs
    assert scene["gpu_found_lost_pairs_capacity"] == 10 * 262144


@pytest.mark.parametrize("wanted", ["cpu", "cuda"])
@pytest.mark.parametrize("has", ["cpu", "cuda"])
def test_states_must_be_where_they_are_wanted(wanted, has):
    """PhysX falls back to CPUs with a warning only. Its answer is an object of ctypes, which equals no number."""
    native = DLDevice()
    native.device_type = {"cpu": DLDeviceType.kDLCPU, "cuda": DLDeviceType.kDLCUDA}[has]
    binding = SimpleNamespace(prim_paths=["/a"], native_device=native, shape=(1, 7), dof_names=[])
    instance = SimpleNamespace(
        physx=SimpleNamespace(create_tensor_binding=lambda **_: binding), device=torch.device(wanted)
    )
    with PretendedDevice():
        if wanted == has:
            physx_instance.Articulations(instance, ["/a"], TensorType.ARTICULATION_ROOT_POSE)
            return
        with pytest.raises(BrokenSimulationError, match="holds them elsewhere"):
            physx_instance.Articulations(instance, ["/a"], TensorType.ARTICULATION_ROOT_POSE)


def test_written_states_move_the_links_at_once_on_a_gpu_too(monkeypatch):
    """On CPUs they do by themselves, so that moving them again changes nothing."""
    tiles, state = company(2)
    with simulator(tiles=tiles) as engine:
        expected = history(engine, [0, 1], [0, 1], state)
        moved = []
        move = engine._px.move_links
        monkeypatch.setattr(engine._px, "move_links", lambda roots: (moved.extend(roots), move(roots)))
        monkeypatch.setattr(engine, "_gpu", True)
        again = history(engine, [0, 1], [0, 1], state)
        monkeypatch.setattr(engine, "_gpu", False)
    assert moved == [physx_scene.body_path(env, 0) for env in (0, 1)]
    assert all(torch.equal(a.dof_pos, b.dof_pos) for a, b in zip(expected, again))


class NoHost(TorchFunctionMode):
    """Forbids torch to bring tensors to the host."""

    FORBIDDEN = ("cpu", "numpy", "tolist", "__array__")

    def __torch_function__(self, function, types, arguments=(), options=None):
        assert getattr(function, "__name__", "") not in self.FORBIDDEN, function
        return function(*arguments, **(options or {}))


def test_no_state_takes_the_way_through_the_host():
    with simulator() as engine:
        state = flying(2)
        with NoHost():
            engine.reset([0, 2], [0, 0], state)
            engine.step([0, 2], state.dof_pos)
            engine.park([0])
            assert engine.step([2], state.dof_pos[:1]).root_pos.device == engine.device


# ------------------------------------------------------------------------------------------------- repeats


def history(engine: PhysxSimulator, envs: list[int], tiles: list[int], start: CharacterState) -> list[CharacterState]:
    engine.reset(envs, tiles, start)
    return [engine.step(envs, start.dof_pos + 0.3 * math.sin(0.3 * step + 1.0)) for step in range(40)]


@pytest.mark.slow
def test_motion_repeats_to_the_bit_in_every_slot_and_company():
    """Not so the contact forces: PhysX adds up those of a body in an order that may change, which rounds otherwise."""
    tiles, state = company(7)
    everybody = list(range(7))
    with simulator(tiles=tiles, num_envs=9) as engine:
        together = history(engine, everybody, everybody, state)
        others = history(engine, [8, 3, 5, 0, 7, 1, 2], everybody, state)
    with simulator(tiles=tiles, num_envs=2) as engine:
        alone = {tile: history(engine, [tile % 2], [tile], rows(state, [tile])) for tile in (2, 5, 2)}
    pairs = [(a, b) for a, b in zip(together, others)]
    pairs += [(rows(frame, [tile]), own) for tile, frames in alone.items() for frame, own in zip(together, frames)]
    assert any(a.contact_force.any() for a, _ in pairs)
    for a, b in pairs:
        for name, value in vars(a).items():
            same = torch.equal if name != "contact_force" else lambda x, y: torch.allclose(x, y, rtol=1e-5, atol=1e-2)
            assert same(value, getattr(b, name)), name


# ------------------------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    "message",
    [
        "Contact buffer overflow detected, please increase its size to at least 9 in the scene desc!",
        "The application needs to increase PxGpuDynamicsMemoryConfig::foundLostPairsCapacity to 9, otherwise, the "
        "simulation will miss interactions",
        "Num contact pairs (9) exeeded max contact pairs (8), some contacts will be lost.",
        "PxgCudaDeviceMemoryAllocator failed to allocate memory 9 bytes! Result = 2",
    ],
)
@pytest.mark.parametrize("stream", [1, 2])
def test_lost_contacts_are_noticed(monkeypatch, message, stream):
    with simulator() as engine:
        engine.reset([0], [0], still(pose(1)))
        assert torch.isfinite(engine.step([0], pose(1)).root_pos).all()
        monkeypatch.setattr(engine._px, "step", lambda _: os.write(stream, f"[Error] {message}\n".encode()))
        with pytest.raises(TooLargeError, match=r"PhysX: 3 envs on 1 tiles are too many.*max_envs_per_actor"):
            engine.step([0], pose(1))


def test_what_physx_raises_is_a_broken_simulation(monkeypatch):
    def fail(_):
        raise ovphysx.TaskError(((SimpleNamespace(op_index=7), "the device is gone"),))

    with simulator() as engine:
        engine.reset([0], [0], still(pose(1)))
        monkeypatch.setattr(engine._px, "step", fail)
        with pytest.raises(BrokenSimulationError, match=r"PhysX: a step failed.*the device is gone"):
            engine.step([0], pose(1))


def test_a_target_that_is_not_finite_shows_and_harms_nobody_else():
    tiles, state = company(3)
    with simulator(tiles=tiles) as engine:
        engine.reset(range(3), range(3), state)
        expected = rollout(engine, range(3), state.dof_pos, 4)
        engine.reset(range(3), range(3), state)
        targets = state.dof_pos.clone()
        targets[1, 5] = math.nan
        for frame, undisturbed in zip(rollout(engine, range(3), targets, 4), expected):
            assert torch.equal(frame.root_pos[[0, 2]], undisturbed.root_pos[[0, 2]])
            assert not torch.isfinite(frame.root_pos[1]).any()
        engine.reset([1], [1], rows(state, [1]))
        assert torch.isfinite(engine.step([1], state.dof_pos[1:2]).dof_pos).all()

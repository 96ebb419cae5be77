"""Requirements of every simulator. `make` builds the simulator under test; an engine joins by its name in ENGINES.

`pytest -m isaacgym` runs this on NVIDIA's Isaac Gym, otherwise a contract double stands in for it.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import NamedTuple, Sequence

import engine_fit
import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from parc_ray.character import rotations
from parc_ray.character.skeleton import Skeleton, load_skeleton, parse_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.demo.generator import MotionSpec, generate_motion
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators.engines import engine as engine_of
from parc_ray.simulators.mujoco_warp import package as mujoco_warp_package
from parc_ray.simulators.physx import package
from parc_ray.simulators.simulator import Simulator, SimulatorConfig
from tests.reference import HUMANOID, vectors
from tests.simulators.golden import CHARACTER, golden
from tests.simulators.golden import SKELETON as ARMS_DOWN
from tests.simulators.remote import DOUBLE_HERE, RemoteSimulator, Server, double_environment, real_environment

WITHOUT_PHYSX = package.unavailable_reason()
PHYSX_HERE = pytest.param(
    "physx", marks=[pytest.mark.slow, pytest.mark.skipif(bool(WITHOUT_PHYSX), reason=WITHOUT_PHYSX)]
)
WITHOUT_WARP = mujoco_warp_package.unavailable_reason()
WARP_HERE = pytest.param(
    "mujoco_warp", marks=[pytest.mark.slow, pytest.mark.skipif(bool(WITHOUT_WARP), reason=WITHOUT_WARP)]
)
ENGINES = (
    "mujoco",
    WARP_HERE,
    PHYSX_HERE,
    pytest.param("isaacgym double", marks=[pytest.mark.slow, DOUBLE_HERE]),
    pytest.param("isaacgym", marks=pytest.mark.isaacgym),
)
CHORD, GEODESIC = "chord", "geodesic"
DRIVE_LAWS = {"physx": (CHORD,), "isaacgym": (CHORD, GEODESIC)}
"""what spherical drives pull in proportion to: the way x that is left (others), or its chord, 2 sin(x / 2); nobody has
measured Isaac Gym's"""
EXACT = {"mujoco": ("cpu", "cuda"), "mujoco_warp": ("cpu",)}
"""devices on which an engine's results do not depend on company, order and threads, in bits; elsewhere, not beyond
rounding"""
APART = ("mujoco", "mujoco_warp")
"""engines whose envs have nothing in common, so that whatever befalls one reaches no other"""
THREADED = ("mujoco",)
"""engines that use as many threads as they are given"""

GRAVITY = 9.81
PHYSX = PhysxConfig(
    contact_offset=0.02, rest_offset=0.0, bounce_threshold_velocity=0.2, max_depenetration_velocity=10.0,
    default_buffer_size_multiplier=10.0,
)  # fmt: skip
"""as in PARC's dm_env.yaml"""
TEXT = HUMANOID.read_text()
HUMAN = load_skeleton(HUMANOID)
GROUND = HeightField.flat((12, 12), min_point=(-2.2, -2.2))
WEIGHT = 50.048 * GRAVITY
FEET = [HUMAN.body_index("right_foot"), HUMAN.body_index("left_foot")]

ARM = """
<mujoco><worldbody><body name="base"><freejoint/><geom type="sphere" size="1" density="1e6"/>
  <body name="arm" pos="0 0 2"><joint name="{name}" type="hinge" axis="{axis}" {drive}/>{more}
    <geom type="sphere" size="0.1" density="1000" pos="{offset} 0 0"/></body></body></worldbody></mujoco>
"""
DRIVE = 'range="-180 180" stiffness="20" damping="1.5" armature="0.01"'
BALL_MASS = 1000.0 * 4.0 / 3.0 * math.pi * 0.1**3
BALL_INERTIA = 0.4 * BALL_MASS * 0.1**2


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    return request.param


@pytest.fixture
def device(request) -> str:
    """Where the engine works: `pytest --device cuda:0`."""
    return request.config.getoption("--device")


@pytest.fixture
def exact(engine, device) -> bool:
    return device.split(":")[0] in EXACT.get(engine, ())


class OnHost:
    """A simulator whose states come to the host, where they are compared."""

    def __init__(self, simulator: Simulator):
        self._simulator = simulator

    def __getattr__(self, name: str):
        return getattr(self._simulator, name)

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        state = self._simulator.step(envs, targets)
        return CharacterState(**{name: value.cpu() for name, value in vars(state).items()})


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    """A process in which the double is imported before torch."""
    server = Server(tmp_path_factory.mktemp("double") / "socket", double_environment(), "cpu", fork=True)
    yield server
    server.stop()


@pytest.fixture
def create(engine, tmp_path, request):
    """Builds a simulator, in this process or in one that has not imported torch yet."""
    servers: list[Server] = []

    def elsewhere(config: SimulatorConfig, skeleton: Skeleton) -> Simulator:
        if engine == "isaacgym double":
            return RemoteSimulator(request.getfixturevalue("double").connect(), "isaacgym", config, skeleton)
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
        servers.append(Server(tmp_path / f"socket{len(servers)}", real_environment(), device, fork=False))
        return RemoteSimulator(
            servers[-1].connect(), "isaacgym", replace(config, device=torch.device(device)), skeleton
        )

    yield elsewhere if "isaacgym" in engine else engine_of(engine).build
    for server in servers:
        server.stop()


@pytest.fixture
def make(create, device, tmp_path, monkeypatch):
    """Builds simulators that are closed at the end of the test."""
    monkeypatch.chdir(tmp_path)
    built: list[Simulator] = []

    def build(
        tiles: Sequence[HeightField] = (GROUND,),
        num_envs: int = 1,
        text: str = TEXT,
        control_freq: float = 30,
        steps: int = 4,
        threads: int = 1,
    ) -> Simulator:
        skeleton = parse_skeleton(text, "character.xml")
        config = SimulatorConfig(
            text,
            "character.xml",
            tiles,
            num_envs,
            control_freq,
            steps,
            torch.device(device),
            threads,
            substeps=1 if steps % 2 else 2,
            physx=PHYSX,
        )
        built.append(create(config, skeleton))
        return built[-1] if device == "cpu" else OnHost(built[-1])

    yield build
    for simulator in built:
        simulator.close()


def still(dof: Tensor, height: float = 50.0, skeleton: Skeleton = HUMAN) -> CharacterState:
    """Characters at rest in the air, dof [N, D] rad."""
    count = len(dof)
    up = torch.tensor([[0.0, 0.0, height]]).expand(count, 3)
    upright = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(count, 4)
    zero = torch.zeros(count, 3)
    forces = torch.zeros(count, skeleton.num_bodies, 3)
    return CharacterState(up, upright, zero, zero, dof, torch.zeros_like(dof), forces)


def changed(state: CharacterState, **values) -> CharacterState:
    return CharacterState(**{**vars(state), **values})


def pose(count: int = 1, seed: int = 0) -> Tensor:
    """Joint angles [N, 28] well within the limits of the humanoid, elbows and knees bent."""
    generator = torch.Generator().manual_seed(seed)
    dof = 0.1 * torch.randn(count, 28, generator=generator)
    # Legs apart, so that the character does not touch itself.
    bends = {
        "right_elbow": 0.8,
        "left_elbow": -0.8,
        "right_knee": 0.8,
        "left_knee": 0.8,
        "right_hip": -0.4,
        "left_hip": 0.4,
    }
    for joint in HUMAN.joints:
        if joint.name in bends:
            dof[:, joint.dof_index] = bends[joint.name]
    return dof


def flying(count: int = 1, seed: int = 0, speed: float = 2.0) -> CharacterState:
    """Characters that tumble through the air with all joints in motion."""
    generator = torch.Generator().manual_seed(seed + 1)

    def random(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    return changed(
        still(pose(count, seed)),
        root_rot=rotations.quat_normalize(random(4)),
        root_vel=speed * random(3),
        root_ang_vel=speed * random(3),
        dof_vel=speed * random(28),
    )


def standing():
    """A humanoid that stands, and the ground it stands on."""
    motion = generate_motion(MotionSpec("idle", seed=9, seconds=1.0, difficulty=0.0), HUMAN, "idle")
    dof = HUMAN.rot_to_dof(torch.from_numpy(motion.joint_rot[:1]))
    state = changed(
        still(dof),
        root_pos=torch.from_numpy(motion.root_pos[:1]),
        root_rot=torch.from_numpy(motion.root_rot[:1]),
    )
    return state, motion.terrain


def rollout(simulator: Simulator, envs: Sequence[int], targets: Tensor, steps: int) -> list[CharacterState]:
    return [simulator.step(envs, targets) for _ in range(steps)]


def same(a: CharacterState, b: CharacterState) -> bool:
    return all(torch.equal(value, getattr(b, name)) for name, value in vars(a).items())


def rows(state: CharacterState, index: Sequence[int]) -> CharacterState:
    return CharacterState(**{name: value[list(index)] for name, value in vars(state).items()})


# ------------------------------------------------------------------------------------------ free flight


def test_a_state_comes_back_as_it_was_given(make):
    state = flying(5)
    simulator = make(num_envs=5, control_freq=1e6, steps=1)
    simulator.reset(range(5), [0] * 5, state)
    after = simulator.step(range(5), state.dof_pos)
    assert torch.allclose(after.root_pos, state.root_pos, atol=1e-4)
    assert torch.allclose(HUMAN.dof_to_rot(after.dof_pos), HUMAN.dof_to_rot(state.dof_pos), atol=1e-4)
    turn = rotations.quat_diff_angle(after.root_rot, state.root_rot)
    assert float(turn.max()) <= 1e-4
    for name in ("root_vel", "root_ang_vel", "dof_vel"):
        assert torch.allclose(getattr(after, name), getattr(state, name), atol=0.05), name
    assert not after.contact_force.any()


def test_free_fall(make):
    dof = pose(1)
    simulator = make()
    simulator.reset([0], [0], still(dof))
    for step, state in enumerate(rollout(simulator, [0], dof, 30), start=1):
        time = step / 30
        # An integrator of first order is off by up to one physics step of falling.
        assert abs(float(state.root_pos[0, 2]) - (50.0 - GRAVITY * time**2 / 2)) <= GRAVITY * time / 120 + 1e-4
        assert float(state.root_vel[0, 2]) == pytest.approx(-GRAVITY * time, abs=0.01)
        assert float(state.root_pos[0, :2].abs().max()) <= 1e-3
        assert torch.allclose(state.dof_pos, dof, atol=1e-3)


def test_a_drop_in_one_control_step_is_that_of_four_semi_implicit_steps(make):
    """g h^2 (1 + 2 + 3 + 4) = .625 g T^2: as far as characters fall in a recording of Isaac Gym."""
    dof = pose(1)
    simulator = make(steps=4)
    simulator.reset([0], [0], still(dof, height=2.0))
    fallen = 2.0 - float(simulator.step([0], dof).root_pos[0, 2])
    assert fallen * 30**2 / GRAVITY == pytest.approx(0.625, abs=0.002)


class Momentum(NamedTuple):
    linear: np.ndarray
    angular: np.ndarray


def momentum(state: CharacterState) -> Momentum:
    """Momentum of the humanoid (kg m/s), and about its centre of mass (kg m^2/s), by the definition of the state."""
    model = mujoco.MjModel.from_xml_string(TEXT)
    mass, inertia = model.body_mass[1:], model.body_inertia[1:]
    principal = torch.tensor(model.body_iquat[1:][:, [1, 2, 3, 0]], dtype=torch.float32)
    centres = torch.tensor(model.body_ipos[1:], dtype=torch.float32)
    joint_rot = HUMAN.dof_to_rot(state.dof_pos)
    body_pos, body_rot = (part[0] for part in HUMAN.forward_kinematics(state.root_pos, state.root_rot, joint_rot))
    place = (body_pos + rotations.quat_rotate(body_rot, centres)).numpy().astype(np.float64)
    turning, moving = np.zeros((15, 3)), np.zeros((15, 3))
    turning[0] = state.root_ang_vel[0].numpy()
    moving[0] = state.root_vel[0].numpy() - np.cross(turning[0], place[0] - body_pos[0].numpy())
    for body, joint in enumerate(HUMAN.joints[1:], start=1):
        parent = HUMAN.parent_indices[body]
        own = state.dof_vel[0, joint.dof_index : joint.dof_index + joint.dof_count]
        relative = (
            own if joint.kind == "spherical" else torch.tensor(joint.axis or [0.0, 0.0, 0.0]) * (own if len(own) else 0)
        )
        turning[body] = turning[parent] + rotations.quat_rotate(body_rot[body], relative).numpy()
        moving[body] = moving[parent] + np.cross(turning[parent], (body_pos[body] - body_pos[parent]).numpy())
    velocity = moving + np.cross(turning, place - body_pos.numpy())
    centre = mass @ place / mass.sum()
    axes = rotations.quat_mul(body_rot, principal)
    local = rotations.quat_rotate(rotations.quat_conjugate(axes), torch.tensor(turning, dtype=torch.float32)).numpy()
    spin = rotations.quat_rotate(axes, torch.tensor(inertia * local, dtype=torch.float32)).numpy()
    angular = (mass[:, None] * np.cross(place - centre, velocity) + spin).sum(axis=0)
    return Momentum(mass @ velocity, angular)


def test_momentum_is_conserved_in_flight(make):
    """Holds only if root_vel is the centre of mass's, root_ang_vel in world axes and dof_vel in the child's frame."""
    start = flying(1, seed=5)
    simulator = make(control_freq=100, steps=20)
    simulator.reset([0], [0], start)
    before = momentum(start)
    assert np.linalg.norm(before.linear) > 20 and np.linalg.norm(before.angular) > 5
    for step, state in enumerate(rollout(simulator, [0], pose(1, seed=9), 30), start=1):
        now = momentum(state)
        fallen = np.array([0.0, 0.0, -WEIGHT * step / 100])
        assert np.linalg.norm(now.linear - before.linear - fallen) <= 0.01 * np.linalg.norm(before.linear)
        assert np.linalg.norm(now.angular - before.angular) <= 0.02 * np.linalg.norm(before.angular)


def test_velocities_are_the_derivatives_of_the_pose(make):
    start, frequency = flying(4, seed=2), 2000.0
    simulator = make(num_envs=4, control_freq=frequency, steps=1)
    simulator.reset(range(4), [0] * 4, start)
    first, second = rollout(simulator, range(4), start.dof_pos, 12)[-2:]
    com = torch.tensor([[0.0, 0.0, 0.11319]]).expand(4, 3)

    def centre(state: CharacterState) -> Tensor:
        return state.root_pos - start.root_pos + rotations.quat_rotate(state.root_rot, com)

    turn = rotations.quat_to_exp_map(rotations.quat_diff(first.root_rot, second.root_rot))
    derivatives = {
        "root_vel": (centre(second) - centre(first)) * frequency,
        "root_ang_vel": turn * frequency,
        "dof_vel": HUMAN.dof_velocity(
            HUMAN.dof_to_rot(first.dof_pos), HUMAN.dof_to_rot(second.dof_pos), 1.0 / frequency
        ),
    }
    for name, derivative in derivatives.items():
        low = torch.minimum(getattr(first, name), getattr(second, name)) - 0.05
        high = torch.maximum(getattr(first, name), getattr(second, name)) + 0.05
        assert ((low <= derivative) & (derivative <= high)).all(), name
        assert float(derivative.abs().max()) > 1.0, name


# --------------------------------------------------------------------------------------------- PD drives


def step_response(time: float, inertia: float) -> float:
    """Share of the way from rest to the target of I x'' = k (1 - x) - d x', overdamped, with DRIVE's k and d."""
    root = math.sqrt(1.5**2 - 4 * inertia * 20)
    fast, slow = (-1.5 - root) / (2 * inertia), (-1.5 + root) / (2 * inertia)
    return 1.0 + (slow * math.exp(fast * time) - fast * math.exp(slow * time)) / (fast - slow)


def test_a_hinge_answers_a_step_as_its_gains_say(make):
    text = ARM.format(name="elbow", axis="0 0 1", drive=DRIVE, more="", offset="0")
    skeleton = parse_skeleton(text, "character.xml")
    simulator = make(text=text, control_freq=60, steps=60)
    simulator.reset([0], [0], still(torch.zeros(1, 1), skeleton=skeleton))
    for step, state in enumerate(rollout(simulator, [0], torch.tensor([[0.7]]), 30), start=1):
        expected = 0.7 * step_response(step / 60, BALL_INERTIA + 0.01)
        assert float(state.dof_pos[0, 0]) == pytest.approx(expected, abs=0.005)
    assert float(state.dof_pos[0, 0]) == pytest.approx(0.7, abs=0.01)


def chord_response(times: Sequence[float], inertia: float, target: float) -> list[float]:
    """The way of I x'' = 2 k sin((target - x) / 2) - d x' at some times, in Euler steps of 10 us."""
    angle = speed = time = 0.0
    way = []
    for until in times:
        while time < until:
            speed += 1e-5 * (40 * math.sin((target - angle) / 2) - 1.5 * speed) / inertia
            angle, time = angle + 1e-5 * speed, time + 1e-5
        way.append(angle)
    return way


def test_a_ball_joint_goes_to_a_far_target_along_the_geodesic(make, engine):
    more = "".join(f'<joint name="shoulder_{n}" axis="{a}" {DRIVE}/>' for n, a in (("y", "0 1 0"), ("z", "0 0 1")))
    text = ARM.format(name="shoulder_x", axis="1 0 0", drive=DRIVE, more=more, offset="0")
    skeleton = parse_skeleton(text, "character.xml")
    assert skeleton.joints[1].kind == "spherical"
    axis = torch.tensor([[0.48, -0.6, 0.64]])
    simulator = make(text=text, control_freq=60, steps=60)
    simulator.reset([0], [0], still(torch.zeros(1, 3), skeleton=skeleton))
    times, inertia = [step / 60 for step in range(1, 41)], BALL_INERTIA + 0.01
    ways = {
        CHORD: chord_response(times, inertia, 2.6),
        GEODESIC: [2.6 * step_response(time, inertia) for time in times],
    }
    states = torch.cat([state.dof_pos for state in rollout(simulator, [0], 2.6 * axis, 40)])
    errors = {law: float((states - torch.tensor(way)[:, None] * axis).abs().max()) for law, way in ways.items()}
    assert min(errors[law] for law in DRIVE_LAWS.get(engine, (GEODESIC,))) <= 0.01, errors
    assert torch.allclose(states[-1:], 2.6 * axis, atol=0.02)


def test_gravity_pulls_a_held_arm_down(make):
    """A base that lies on the ground does not fall with its arm: k * sag = m g r."""
    text = ARM.format(name="elbow", axis="0 1 0", drive=DRIVE, more="", offset="0.2")
    skeleton = parse_skeleton(text, "character.xml")
    simulator = make(text=text)
    simulator.reset([0], [0], still(torch.zeros(1, 1), height=1.0, skeleton=skeleton))
    sag = float(rollout(simulator, [0], torch.zeros(1, 1), 60)[-1].dof_pos[0, 0])
    assert 20 * sag == pytest.approx(BALL_MASS * GRAVITY * 0.2 * math.cos(sag), rel=0.05)


# ---------------------------------------------------------------------------------------------- contact


def test_resting_feet_carry_the_weight(make):
    """Over a second the ground gives what gravity takes; in single steps, stiff contacts tremble.

    Small steps, because with PARC's the drives of PhysX yield under load, and nobody balances the character.
    """
    state, ground = standing()
    simulator = make(tiles=[ground], control_freq=120, steps=16)
    simulator.reset([0], [0], state)
    last = rollout(simulator, [0], state.dof_pos, 240)[-120:]
    force = torch.stack([frame.contact_force[0] for frame in last]).mean(dim=0)
    assert float(force[:, 2].sum()) == pytest.approx(WEIGHT, rel=0.01)
    assert (force[FEET, 2] > 0.2 * WEIGHT).all()
    assert not force[[body for body in range(15) if body not in FEET]].any()
    assert float(force[:, :2].sum(dim=0).norm()) <= 0.01 * WEIGHT


def with_hull_feet(text: str) -> str:
    """The humanoid with the same feet as hulls: of the corners of its boxes, and of points inside them."""
    size, center = (0.0885, 0.045, 0.0275), (0.045, 0.0, -0.0225)
    corners = [(sx * size[0], sy * size[1], sz * size[2]) for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)]
    vertex = " ".join(f"{value:g}" for corner in [*corners, (0.01, 0.02, 0.0)] for value in corner)
    for side in ("right", "left"):
        box = f'name="{side}_foot" type="box" size=".0885 .045 .0275" pos=".045 0 -.0225"'
        assert box in text
        pos = " ".join(f"{value:g}" for value in center)
        text = text.replace(box, f'name="{side}_foot" type="mesh" mesh="sole" pos="{pos}"')
    return text.replace("<worldbody>", f'<asset><mesh name="sole" vertex="{vertex}"/></asset><worldbody>', 1)


def test_hulls_stand_as_the_boxes_of_the_same_corners_do(make):
    """On the whole of their soles: a hull with one contact point would let the character rock."""
    state, ground = standing()
    histories = []
    for text in (TEXT, with_hull_feet(TEXT)):
        simulator = make(tiles=[ground], control_freq=120, steps=16, text=text)
        simulator.reset([0], [0], state)
        histories.append(rollout(simulator, [0], state.dof_pos, 240))
    boxes, hulls = (history[-1] for history in histories)
    force = torch.stack([frame.contact_force[0] for frame in histories[1][-120:]]).mean(dim=0)
    assert float(force[:, 2].sum()) == pytest.approx(WEIGHT, rel=0.02)
    assert (force[FEET, 2] > 0.2 * WEIGHT).all()
    assert not force[[body for body in range(15) if body not in FEET]].any()
    assert torch.allclose(hulls.root_pos, boxes.root_pos, atol=0.02)
    assert float(rotations.quat_diff_angle(hulls.root_rot, boxes.root_rot)) < 0.05


def test_excluded_bodies_do_not_touch(make, engine):
    """Two arms that overlap: forces push them apart, unless the file excludes the pair."""
    if "isaacgym" in engine:
        pytest.skip("nothing documents what Isaac Gym's importer does with <exclude>")
    arms = "".join(
        f'<body name="arm{k}" pos="0 0 2"><joint name="j{k}" type="hinge" axis="0 0 1" {DRIVE}/>'
        f'<geom type="sphere" size="0.1" density="1000" pos="0.5 {0.05 * k} 0"/></body>'
        for k in range(2)
    )
    text = f'<mujoco><worldbody><body name="base"><freejoint/><geom size="1" density="1e6"/>{arms}</body></worldbody>'
    touching = []
    for more in ("", '<contact><exclude body1="arm1" body2="arm0"/></contact>'):
        own = f"{text}{more}</mujoco>"
        skeleton = parse_skeleton(own, "character.xml")
        simulator = make(text=own)
        simulator.reset([0], [0], still(torch.zeros(1, 2), skeleton=skeleton))
        after = rollout(simulator, [0], torch.zeros(1, 2), 3)[-1]
        touching.append(bool(after.contact_force[0, 1:].abs().max() > 1) or bool(after.dof_pos.abs().max() > 0.01))
    assert touching == [True, False]


@pytest.mark.parametrize("armature", ["0.02 0.02 0.02", "0.02 0.3 0.02"])
def test_armature_counts_on_its_own_axis(make, engine, armature):
    """What one axis of a ball joint needs to be turned, in the first instant: its torque over inertia and armature."""
    if engine == "isaacgym double":
        pytest.skip("not modelled by the double")
    hinges = "".join(
        f'<joint name="j_{letter}" axis="{axis}" range="-180 180" stiffness="20" damping="0" armature="{value}"/>'
        for letter, axis, value in zip("xyz", ("1 0 0", "0 1 0", "0 0 1"), armature.split())
    )
    text = (
        '<mujoco><worldbody><body name="base"><freejoint/><geom size="1" density="1e6"/>'
        f'<body name="ball" pos="0 0 2">{hinges}<geom size="0.1" density="1000"/></body></body></worldbody></mujoco>'
    )
    skeleton = parse_skeleton(text, "character.xml")
    simulator = make(text=text, control_freq=480, steps=1)
    for axis, value in enumerate(armature.split()):
        simulator.reset([0], [0], still(torch.zeros(1, 3), skeleton=skeleton))
        target = torch.zeros(1, 3)
        target[0, axis] = 0.1
        velocity = simulator.step([0], target).dof_vel[0, axis]
        dt = 1 / 480
        inertia = BALL_INERTIA + float(value)
        # Between a step of an explicit and of an implicit spring.
        assert 20 * 0.1 * dt / (inertia + 20 * dt * dt) * 0.98 <= float(velocity) <= 20 * 0.1 * dt / inertia * 1.02


@pytest.mark.parametrize("height", [0.0, 0.35, -0.7])
def test_ground_is_as_high_as_its_height_field_says(make, height):
    """Feet side by side, each on a cell of its own, between higher and lower ground."""
    state, ground = standing()
    feet, _ = HUMAN.forward_kinematics(state.root_pos, state.root_rot, HUMAN.dof_to_rot(state.dof_pos))
    hf = np.where(np.arange(ground.hf.size).reshape(ground.hf.shape) % 2, height + 0.3, height - 0.3)
    cells = ground.grid_index(feet[0, FEET, :2].numpy())
    for x, y in cells:
        hf[x - 1 : x + 2, y - 1 : y + 2] = height
    tile = HeightField(hf, ground.hf_maxmin, ground.min_point, ground.dx)
    start = changed(state, root_pos=state.root_pos + torch.tensor([0.0, 0.0, height]))
    simulator = make(tiles=[ground, tile])
    simulator.reset([0], [1], start)
    after = rollout(simulator, [0], state.dof_pos, 20)[-1]
    joint_rot = HUMAN.dof_to_rot(after.dof_pos)
    body_pos, body_rot = HUMAN.forward_kinematics(after.root_pos, after.root_rot, joint_rot)
    soles = body_pos[0, FEET] + rotations.quat_rotate(
        body_rot[0, FEET], torch.tensor([[0.045, 0.0, -0.05]]).expand(2, 3)
    )
    assert torch.allclose(soles[:, 2], torch.full((2,), height), atol=0.01)
    assert (after.contact_force[0, FEET, 2] > 0).all()


def test_ground_goes_on_beyond_the_map(make):
    """At the height of the border cells, as the height field reads it."""
    state, ground = standing()
    border = HeightField.flat((4, 4), min_point=(10.0, -5.0), height=0.5)
    feet, _ = HUMAN.forward_kinematics(state.root_pos, state.root_rot, HUMAN.dof_to_rot(state.dof_pos))
    outside = torch.tensor([[9.8 - 2.0, -6.0, 0.5]]) - feet[0, FEET[0]] * torch.tensor([1.0, 1.0, 0.0])
    start = changed(state, root_pos=state.root_pos + outside)
    simulator = make(tiles=[ground, border])
    simulator.reset([0], [1], start)
    after = rollout(simulator, [0], state.dof_pos, 20)[-1]
    assert float(after.root_pos[0, 2]) == pytest.approx(float(start.root_pos[0, 2]), abs=0.02)
    assert (after.contact_force[0, FEET, 2] > 0).all()


def test_friction_stops_a_sliding_body(make):
    """By friction times gravity, 9.81 m/s2, whatever the file says about MuJoCo's own contact dimensions."""
    text = ARM.format(name="elbow", axis="0 0 1", drive=DRIVE, more="", offset="0")
    text = text.replace(
        'type="sphere" size="1" density="1e6"', 'type="box" size="0.8 0.8 0.1" density="1000" condim="1"'
    )
    start = still(torch.zeros(1, 1), height=0.1, skeleton=parse_skeleton(text, "character.xml"))
    # At few steps per second, fast sliding bodies hop.
    simulator = make(text=text, steps=40)
    simulator.reset([0], [0], changed(start, root_vel=torch.tensor([[3.0, 0.0, 0.0]])))
    speed = [float(state.root_vel[0, 0]) for state in rollout(simulator, [0], torch.zeros(1, 1), 15)]
    assert speed[5] == pytest.approx(3.0 - GRAVITY * 0.2, abs=0.1)
    assert abs(speed[-1]) < 0.02


def test_a_wall_stops_a_body_from_the_side(make):
    """Force is what the world does to the body: away from the wall, and only on the body that touches it."""
    hf = np.zeros((11, 11), dtype=np.float32)
    hf[8:] = 5.0
    wall = HeightField(hf, np.stack([hf, hf], axis=-1), np.array([-2.0, -2.0]), 0.4)
    text = ARM.format(name="elbow", axis="0 0 1", drive=DRIVE, more="", offset="0").replace('size="1"', 'size="0.3"')
    text = text.replace("1e6", "1000").replace("0 0 2", "0 0 0.6")
    start = still(torch.zeros(1, 1), height=2.0, skeleton=parse_skeleton(text, "character.xml"))
    # A control step is a simulation step here: PhysX stops a body in one.
    simulator = make(tiles=[wall], text=text, control_freq=120, steps=1)
    simulator.reset([0], [0], changed(start, root_vel=torch.tensor([[6.0, 0.0, 0.0]])))
    touched = [state for state in rollout(simulator, [0], torch.zeros(1, 1), 60) if state.contact_force.any()]
    assert touched
    assert float(touched[0].contact_force[0, 0, 0]) < -10
    assert all(float(state.root_pos[0, 0]) < 1.0 - 0.3 + 0.06 for state in touched)


# --------------------------------------------------------------------------- envs have no influence on others


def company(count: int = 7):
    """Characters that fall onto blocks, each on its own tile."""
    motions = [generate_motion(MotionSpec("tour", seed=i, seconds=1.0), HUMAN, str(i)) for i in range(count)]
    first = [
        torch.from_numpy(np.stack([getattr(m, name)[0] for m in motions]))
        for name in ("root_pos", "root_rot", "joint_rot")
    ]
    tumbling = flying(count, seed=4, speed=0.5)
    state = changed(
        tumbling,
        root_pos=first[0] + torch.tensor([0.0, 0.0, 0.05]),
        root_rot=first[1],
        dof_pos=HUMAN.rot_to_dof(first[2]),
    )
    return [m.terrain for m in motions], state


def run_in(
    simulator: Simulator, envs: Sequence[int], tiles: Sequence[int], state: CharacterState, steps: int = 12
) -> dict[int, list[CharacterState]]:
    """History of each tile's character when the given envs are used together."""
    simulator.reset(envs, tiles, state)
    frames = rollout(simulator, envs, state.dof_pos, steps)
    return {tile: [rows(frame, [place]) for frame in frames] for place, tile in enumerate(tiles)}


@pytest.fixture
def agree(exact):
    """Return whether two states of a character are equal, as exactly as the engine repeats."""

    def agree(a: CharacterState, b: CharacterState) -> bool:
        if exact:
            return same(a, b)
        close = (("root_pos", 0.01), ("root_rot", 0.05), ("dof_pos", 0.05))
        return all(torch.allclose(getattr(a, name), getattr(b, name), atol=atol) for name, atol in close)

    return agree


@pytest.fixture
def assert_same_histories(agree):
    def check(expected, actual) -> None:
        for tile, history in actual.items():
            for step, (a, b) in enumerate(zip(expected[tile], history)):
                assert agree(a, b), (tile, step)

    return check


@pytest.fixture(scope="module")
def solo():
    """Histories of each character simulated by itself, by engine."""
    return {}


@pytest.fixture
def alone(engine, exact, make, solo):
    """Tiles, starts, and the history of each character simulated by itself."""
    tiles, state = company()
    if engine not in solo:
        histories = {}
        shared = None if exact else make(tiles=tiles, num_envs=2)
        for tile in range(7):
            histories.update(run_in(shared or make(tiles=tiles), [0], [tile], rows(state, [tile])))
        solo[engine] = histories
    return tiles, state, solo[engine]


@pytest.fixture(params=[1, 2, 5])
def threads(engine, request):
    """How many threads an engine has is its own affair, and is tried only where results must not depend on it."""
    if request.param > 1 and engine not in THREADED:
        pytest.skip(f"not a promise of {engine}")
    return request.param


@pytest.fixture(params=["speed", "target", "spin"])
def blow(engine, request):
    """PhysX limits velocities, and one env's target that is not finite may harm others there."""
    if engine not in APART:
        pytest.skip(f"not a promise of {engine}")
    return request.param


def test_company_changes_nothing(threads, make, alone, agree, assert_same_histories):
    tiles, state, histories = alone
    simulator = make(tiles=tiles, num_envs=70, threads=threads)
    together = run_in(simulator, range(7), range(7), state)
    assert any(float(frame.contact_force.abs().max()) > 0 for frame in together[0])
    assert_same_histories(histories, together)
    order = [3, 0, 6, 2, 5, 1, 4]
    assert_same_histories(histories, run_in(simulator, [40, 3, 69, 0, 12, 11, 5], order, rows(state, order)))
    crowd = list(range(7)) * 10
    simulator.reset(range(70), crowd, rows(state, crowd))
    for step in range(12):
        frame = simulator.step(range(70), state.dof_pos[crowd])
        for env in (0, 6, 33, 69):
            assert agree(rows(frame, [env]), histories[env % 7][step])


def test_idle_and_parked_envs_stay_as_they_are(make, alone, assert_same_histories):
    tiles, state, histories = alone
    simulator = make(tiles=tiles, num_envs=3)
    simulator.reset([0, 1, 2], [0, 1, 2], rows(state, [0, 1, 2]))
    simulator.park([2])
    first = [simulator.step([0], state.dof_pos[:1]) for _ in range(12)]
    later = [simulator.step([1], state.dof_pos[1:2]) for _ in range(12)]
    assert_same_histories(histories, {0: first, 1: later})
    assert_same_histories(histories, run_in(simulator, [2, 0], [5, 2], rows(state, [5, 2])))


def test_a_run_repeats(make, alone, assert_same_histories):
    """Also with envs that were in other places before, and one after the other."""
    tiles, state, histories = alone
    simulator = make(tiles=tiles, num_envs=4)
    for envs, places in (([0, 1], [3, 4]), ([1, 0], [3, 4]), ([2, 3], [4, 3]), ([1, 3], [3, 3])):
        assert_same_histories(histories, run_in(simulator, envs, places, rows(state, places)))
        simulator.park(envs)


# ------------------------------------------------------------------------------------------------- copies


def lively(dof: Tensor, count: int, steps: int) -> Tensor:
    """Targets [steps, count, D] that move every joint, differently in every env."""
    generator = torch.Generator().manual_seed(5)
    return dof + 0.2 * torch.randn(steps, count, dof.shape[-1], generator=generator)


def test_copies_follow_the_same_path_as_their_originals(make, agree):
    """Also where an env is source and copy at once."""
    tiles, state = company(2)
    simulator = make(tiles=tiles, num_envs=9)
    envs, sources = [7, 2, 5, 0, 8, 3], [2, 5, 5, 2, 0, 0]
    simulator.reset(envs, [1] * 6, rows(state, [1] * 6))
    first = lively(state.dof_pos[1:], 6, 10)
    before = [simulator.step(envs, targets) for targets in first][-1]
    assert not agree(rows(before, [0]), rows(before, [1]))
    simulator.copy(envs, sources)
    for targets in lively(state.dof_pos[1:], 3, 30):  # one second
        after = simulator.step(envs, targets[[0, 1, 1, 0, 2, 2]])
        for copy, original in ((0, 3), (1, 2), (4, 5)):
            assert agree(rows(after, [copy]), rows(after, [original]))
        assert not agree(rows(after, [0]), rows(after, [1]))


def test_a_lineage_of_copies_replays_in_one_env(make, exact, agree):
    tiles, state = company(2)
    simulator, count, window = make(tiles=tiles, num_envs=6), 4, 5
    targets = lively(state.dof_pos[1:], count, 4 * window)
    parents = [[2, 2, 0, 3], [1, 1, 3, 0], [3, 0, 3, 1]]
    simulator.reset(range(count), [1] * count, rows(state, [1] * count))
    frames = []
    for step, target in enumerate(targets):
        if step and step % window == 0:
            simulator.copy(range(count), parents[step // window - 1])
        frames.append(simulator.step(range(count), target))
    lineage = [2]
    for chosen in parents[::-1]:
        lineage.insert(0, chosen[lineage[0]])
    assert len(set(lineage)) > 2
    simulator.park(range(count))
    simulator.reset([5], [1], rows(state, [1]))
    for step, target in enumerate(targets):
        if step and step % window == 0 and not exact:
            simulator.copy([5], [5])
        env = lineage[step // window]
        assert agree(simulator.step([5], target[env : env + 1]), rows(frames[step], [env]))


def test_a_diverged_env_is_visible_and_harms_no_other(blow, make, alone, assert_same_histories, tmp_path):
    tiles, state, histories = alone
    velocity = {"speed": "root_vel", "spin": "dof_vel", "target": None}[blow]
    targets, start = state.dof_pos.clone(), state
    if velocity:
        value = getattr(state, velocity).clone()
        value[3] = 1e8
        start = changed(state, **{velocity: value})
    else:
        targets[3, 5] = math.nan
    simulator = make(tiles=tiles, num_envs=7, threads=2)
    simulator.reset(range(7), range(7), start)
    frames = rollout(simulator, range(7), targets, 12)
    assert_same_histories(histories, {t: [rows(f, [t]) for f in frames] for t in range(7) if t != 3})
    victim = rows(frames[-1], [3])
    finite = all(bool(torch.isfinite(value).all()) for value in vars(victim).values())
    assert not finite or float((victim.root_pos - state.root_pos[3]).norm()) > 100
    assert_same_histories(histories, run_in(simulator, [3], [3], rows(state, [3])))
    assert not list(tmp_path.iterdir()), "an engine's log litters the working directory"


# ------------------------------------------------------------------------------ a recording of Isaac Gym


class Bounds(NamedTuple):
    """Medians that a replay must stay under: what was measured (MuJoCo 3.2: 4.34, 4.0: 4.11), and a little."""

    residual: float
    """Of all control steps, 1e-3."""
    flight: float
    """Of those in flight."""
    speed: float
    """Error of the root's velocity in contact, m/s."""
    feet: float
    """Least share of the feet's contacts on which both agree."""


REPLAYS = {
    "mujoco": ("mujoco", Bounds(4.5, 2.5, 0.17, 0.65)),
    "mujoco_warp": ("mujoco", Bounds(4.3, 2.5, 0.17, 0.65)),
    "physx": ("physx", Bounds(3.3, 2.4, 0.04, 0.85)),
    "isaacgym": ("physx", Bounds(4.3, 2.5, 0.17, 0.65)),
}
"""Whose fitted targets, and how close they must bring an engine. Nobody has replayed them in Isaac Gym itself: there,
let it be no further off than MuJoCo."""


def test_replaying_a_recording_of_isaac_gym(make, engine, device, exact, tmp_path):
    """From each frame, one control step with the fitted targets leads close to the next one."""
    if engine not in REPLAYS:
        pytest.skip("the double has MuJoCo's physics")
    if (engine, device) == ("mujoco_warp", "cpu"):
        pytest.skip("compiles for two minutes there")
    fitted, bounds = REPLAYS[engine]
    data, targets = golden(tmp_path), vectors("golden_isaacgym_targets")[fitted].astype(np.float64)
    rows = np.arange(len(targets))

    def replay(envs: int, some: np.ndarray) -> CharacterState:
        simulator = make(tiles=data.terrains * envs, num_envs=envs, text=CHARACTER.read_text())
        return engine_fit.stepping(simulator, data, own_tiles=True)(some, targets[some])

    after = replay(47, rows)
    residual = engine_fit.residual(ARMS_DOWN, data, rows, after, 1 / 30)
    sizes, touching = engine_fit.size(residual), ~data.kinds["flight"]
    measured = Bounds(
        float(np.median(sizes)),
        float(np.median(sizes[~touching])),
        float(np.median(np.linalg.norm(residual[touching, 34:37], axis=1)) * 30),
        engine_fit.agreement(ARMS_DOWN, data, after, 1e-5)["foot"],
    )
    print(f"replay: {json.dumps(measured._asdict())}")  # parc-ray doctor --gpu reads it
    assert measured.residual < bounds.residual and measured.flight < bounds.flight
    assert measured.speed < bounds.speed and measured.feet > bounds.feet
    if exact:
        assert same(replay(5, rows[30:40]), after.rows(slice(30, 40)))


# --------------------------------------------------------------------------------------- character files


def test_parcs_own_style_of_character(make, alone, assert_same_histories):
    """PARC's humanoid.xml refers to a material that it does not define, and has no friction in MuJoCo's terms."""
    tiles, state, histories = alone
    assert 'condim="3" friction' in TEXT and 'type="plane"' in TEXT
    text = TEXT.replace('condim="3" friction', 'condim="1" friction')
    text = text.replace('<geom name="floor"', '<geom name="floor" material="grid"')
    text = text.replace('<geom name="head"', '<geom name="head" material="grid"')
    text = text.replace('<geom condim="1"', '<geom material="grid" condim="1"')
    with pytest.raises(ValueError, match="material"):
        mujoco.MjModel.from_xml_string(text)
    parcs = run_in(make(tiles=tiles, num_envs=7, text=text), range(7), range(7), state)
    assert_same_histories(histories, parcs)

"""The Isaac Gym simulator on the contract double, beyond the conformance tests (test_conformance.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parc_ray.character.skeleton import parse_skeleton
from parc_ray.character.state import CharacterState
from parc_ray.config.environment import PhysxConfig
from parc_ray.errors import BrokenSimulationError, InputError, TooLargeError
from parc_ray.motions.height_field import HeightField
from parc_ray.simulators.simulator import SimulatorConfig
from tests.simulators.remote import DOUBLE_HERE, RemoteSimulator, Server, double_environment
from tests.simulators.test_conformance import ARM, BALL_INERTIA, DRIVE, HUMAN, TEXT, pose, step_response, still

pytestmark = [pytest.mark.slow, DOUBLE_HERE]

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
CONFIG = SimulatorConfig(
    TEXT, "humanoid.xml", [HeightField.flat((12, 12), min_point=(-2.2, -2.2))], 4, 30, 4, CPU, 2, substeps=2
)


@pytest.fixture
def start(tmp_path):
    """Builds a simulator in a process of its own whose double has the given settings."""
    servers: list[Server] = []

    def start(config: SimulatorConfig = CONFIG, read: str = "", **settings: object) -> RemoteSimulator:
        """read: the MJCF that parc_ray has read, if not the config's."""
        environment = double_environment(violations=tmp_path / "violations", **settings)
        environment["XDG_CACHE_HOME"] = str(tmp_path)
        servers.append(Server(tmp_path / f"socket{len(servers)}", environment, str(config.device), fork=False))
        skeleton = parse_skeleton(read or config.character, config.character_source)
        return RemoteSimulator(servers[-1].connect(), "isaacgym", config, skeleton)

    yield start
    for server in servers:
        server.stop()
    assert not (tmp_path / "violations").exists(), (tmp_path / "violations").read_text()


def settled(simulator: RemoteSimulator, envs, steps: int = 10) -> CharacterState:
    simulator.reset(envs, [0] * len(envs), still(pose(len(envs)), height=1.2))
    return [simulator.step(envs, pose(len(envs))) for _ in range(steps)][-1]


def test_parcs_settings_reach_the_engine(start):
    physx = PhysxConfig(
        contact_offset=0.03, rest_offset=0.01, default_buffer_size_multiplier=7.0, num_velocity_iterations=2,
        contact_collection=1, max_gpu_contact_pairs=123456, num_threads=9,
    )  # fmt: skip
    simulator = start(replace(CONFIG, physx=physx, gravity=-3.7, control_freq=20, steps_per_control=6, substeps=3))
    params = "simulator._gym.get_sim_params(simulator._sim)"
    values = simulator.evaluate(
        f"[{params}.dt, {params}.substeps, {params}.gravity.z, {params}.use_gpu_pipeline, int({params}.up_axis)]"
    )
    assert values == [pytest.approx(1 / 40), 3, pytest.approx(-3.7), False, 1]
    names = ("contact_offset", "rest_offset", "default_buffer_size_multiplier", "num_velocity_iterations",
             "num_position_iterations", "solver_type", "max_gpu_contact_pairs", "num_threads", "use_gpu")  # fmt: skip
    values = simulator.evaluate(f"[getattr({params}.physx, name) for name in {names!r}]")
    assert values == pytest.approx([0.03, 0.01, 7.0, 2, 4, 1, 123456, 2, False])
    assert simulator.evaluate(f"int({params}.physx.contact_collection)") == 1
    simulator.reset([0], [0], still(pose()))
    speed = [float(simulator.step([0], pose()).root_vel[0, 2]) for _ in range(10)]
    assert speed == pytest.approx([-3.7 * step / 20 for step in range(1, 11)], abs=0.01)


def test_the_gpu_pipeline_does_the_same(start):
    expected = settled(start(), [2, 0])
    simulator = start(replace(CONFIG, device=CUDA), cuda=1)
    assert simulator.evaluate("simulator._gym.get_sim_params(simulator._sim).use_gpu_pipeline") is True
    actual = settled(simulator, [2, 0])
    for name, value in vars(expected).items():
        assert torch.allclose(getattr(actual, name), value, atol=1e-4), name
    assert float(actual.contact_force.abs().max()) > 0


# ------------------------------------------------------------------------------------------------ pd_exp

EXPLICIT = replace(CONFIG, control_mode="pd_exp", num_envs=1, control_freq=60, steps_per_control=60, substeps=1)


def test_an_explicit_drive_answers_a_step_as_its_gains_say(start):
    text = ARM.format(name="elbow", axis="0 0 1", drive=DRIVE, more="", offset="0")
    simulator = start(replace(EXPLICIT, character=text))
    skeleton = parse_skeleton(text, "arm")
    simulator.reset([0], [0], still(torch.zeros(1, 1), skeleton=skeleton))
    for step in range(1, 16):
        state = simulator.step([0], torch.tensor([[0.7]]))
        assert float(state.dof_pos[0, 0]) == pytest.approx(
            0.7 * step_response(step / 60, BALL_INERTIA + 0.01), abs=0.01
        )


def test_an_explicit_drive_is_as_strong_as_its_motor(start):
    """Angular acceleration = motor gear / inertia, from rest to a far target."""
    drive = DRIVE.replace('damping="1.5"', 'damping="0"')
    text = ARM.format(name="elbow", axis="0 0 1", drive=drive, more="", offset="0")
    text = text.replace("</mujoco>", '<actuator><motor name="m" joint="elbow" gear="0.5"/></actuator></mujoco>')
    simulator = start(replace(EXPLICIT, character=text))
    simulator.reset([0], [0], still(torch.zeros(1, 1), skeleton=parse_skeleton(text, "arm")))
    state = [simulator.step([0], torch.tensor([[3.0]])) for _ in range(6)][-1]
    assert float(state.dof_vel[0, 0]) == pytest.approx(0.1 * 0.5 / (BALL_INERTIA + 0.01), rel=0.02)


def test_explicit_drives_hold_a_humanoid_while_others_wait(start):
    # PARC's gains are stiff: at 480 Hz the feet of an explicit drive chatter.
    simulator = start(replace(EXPLICIT, num_envs=3, control_freq=30, steps_per_control=64))
    dof = pose(1)
    simulator.reset([1], [0], still(dof))
    state = [simulator.step([1], dof) for _ in range(8)][-1]
    assert torch.allclose(HUMAN.dof_to_rot(state.dof_pos), HUMAN.dof_to_rot(dof), atol=0.05)


# ----------------------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize(("kind", "stream"), [("contact", 1), ("patch", 2), ("pairs", 1), ("aggregates", 2)])
def test_lost_contacts_are_noticed_in_the_step_in_which_they_are_lost(start, kind, stream):
    # Two simulate calls are made while building, two in each step: number 7 is in the third step.
    simulator = start(overflow=f"7:{kind}", messages_fd=stream)
    simulator.reset([0, 1], [0, 0], still(pose(2)))
    for _ in range(2):
        assert torch.isfinite(simulator.step([0, 1], pose(2)).root_pos).all()
    with pytest.raises(
        TooLargeError, match=r"4 envs on 1 tiles are too many: .*buildAgent.*max_envs_per_actor to less than 4"
    ):
        simulator.step([0, 1], pose(2))


def test_memory_that_does_not_suffice(start):
    assert start(replace(CONFIG, device=CUDA), max_envs=4, cuda=1).num_envs == 4
    with pytest.raises(TooLargeError) as refused:
        start(replace(CONFIG, device=CUDA), max_envs=3, cuda=1)
    for words in (
        "4 envs",
        "8.0 of 24.0 GiB",
        "fail to allocate memory",
        "max_envs_per_actor",
        "max_gpu_contact_pairs",
    ):
        assert words in str(refused.value)


def test_a_simulation_that_cannot_be_made(start):
    with pytest.raises(BrokenSimulationError, match=r"create_sim failed: .*Gym cuda error"):
        start(create_sim="none")


def test_a_state_that_is_not_finite_shows_and_ends_with_the_next_reset(start):
    simulator = start(nan="7:1")
    simulator.reset([0, 1], [0, 0], still(pose(2)))
    frames = [simulator.step([0, 1], pose(2)) for _ in range(4)]
    assert torch.isfinite(torch.stack([frame.root_pos[0] for frame in frames])).all()
    assert [bool(torch.isfinite(frame.root_pos[1]).all()) for frame in frames] == [True, True, False, False]
    simulator.park([1])
    assert torch.isfinite(simulator.step([0], pose(1)).root_pos).all()
    simulator.reset([1], [0], still(pose(1)))
    assert torch.isfinite(simulator.step([0, 1], pose(2)).root_pos).all()


def test_a_simulation_whose_parked_characters_diverge_is_given_up(start):
    simulator = start(nan="7:3")
    simulator.reset([0], [0], still(pose(1)))
    simulator.step([0], pose(1))
    simulator.step([0], pose(1))
    with pytest.raises(BrokenSimulationError, match="parked characters"):
        simulator.step([0], pose(1))


def test_a_character_that_isaac_gym_reads_differently(start):
    """Isaac Gym has no bodies of its own for what it cannot read: nothing may be tracked on a guess."""
    text = TEXT.replace('<body name="head"', '<body name="skull"')
    with pytest.raises(InputError, match=r"humanoid\.xml: Isaac Gym reads bodies pelvis, .*skull"):
        start(replace(CONFIG, character=text), read=TEXT)


def test_idle_characters_cost_no_contacts(start):
    """They are put to their places before every step, so that they neither fall nor meet."""
    simulator = start(replace(CONFIG, num_envs=9))
    settled(simulator, [4], steps=40)
    height = simulator.evaluate("simulator._root_now[:, 2].tolist()")
    parked = simulator.evaluate("simulator._world.parking[:, 2].tolist()")
    assert all(abs(height[env] - parked[env]) < 0.01 for env in range(9) if env != 4)
    force = simulator.evaluate("simulator._force_now.abs().sum(dim=(1, 2)).tolist()")
    assert [env for env in range(9) if force[env]] == [4]

"""The PhysX simulator: Isaac Gym's engine as a separate package (ovphysx), on a CUDA device or on CPUs.

Built as for Isaac Gym: the same drives, solver settings, contact offsets and triangle mesh. PhysX orders bodies
and degrees of freedom breadth first; this module puts them into the character's order.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

import torch
from ovphysx import TensorType
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.simulators.physx.instance import Instance
from parc_ray.simulators.physx.package import VERSION
from parc_ray.simulators.physx.scene import ALL_BODIES, SceneWriter, body_path, dof_names
from parc_ray.simulators.scene_simulator import SceneSimulator
from parc_ray.simulators.simulator import SimulatorConfig
from parc_ray.tensors.rows import pad_to_batch


class PhysxSimulator(SceneSimulator):
    """Simulator with PhysX."""

    name, title = "physx", "PhysX"
    version = VERSION

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raise InputError if PhysX does not support the character, TooLargeError if memory is insufficient."""
        super().__init__(config, skeleton)
        self._seconds = 1.0 / (config.control_freq * config.steps_per_control)
        self._px: Instance | None = None
        try:
            with self._explain_errors("building the scene"):
                self._px = Instance(config.device)
                self._px.build(lambda stage, paths: SceneWriter(config, skeleton, self._world, stage, paths).write())
                self._bind(self._px, skeleton)
                self._set_up(skeleton, config.device)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See Simulator.close."""
        if self._px is not None:
            self._px.close()
            self._px = None
        super().close()

    def _bind(self, instance: Instance, skeleton: Skeleton) -> None:
        """Bind the tensors of all characters' states, and find the character's bodies and dofs in them."""
        envs, device = range(self.num_envs), self._config.device
        roots = [body_path(env, 0) for env in envs]
        self._pose = instance.articulations(roots, TensorType.ARTICULATION_ROOT_POSE)
        self._velocity = instance.articulations(roots, TensorType.ARTICULATION_ROOT_VELOCITY)
        self._dof_position = instance.articulations(roots, TensorType.ARTICULATION_DOF_POSITION)
        self._dof_velocity = instance.articulations(roots, TensorType.ARTICULATION_DOF_VELOCITY)
        self._target = instance.articulations(roots, TensorType.ARTICULATION_DOF_POSITION_TARGET)
        self._contacts = instance.contacts(ALL_BODIES)
        theirs, ours = self._target.dof_names, dof_names(skeleton)
        self._to_ours = torch.tensor([theirs.index(name) for name in ours], dtype=torch.int64, device=device)
        self._to_theirs = torch.tensor([ours.index(name) for name in theirs], dtype=torch.int64, device=device)
        places = {path: place for place, path in enumerate(self._contacts.paths)}
        bodies = [places[body_path(env, body)] for env in envs for body in range(skeleton.num_bodies)]
        self._bodies = torch.tensor(bodies, device=device)
        balls = [joint.kind == "spherical" for joint in skeleton.joints for _ in range(joint.dof_count)]
        self._balls = torch.tensor(balls, device=device)
        instance.warm_up()

    def _put(self, envs: list[int], root: Tensor, dof: Tensor) -> None:
        rows = torch.tensor(envs, dtype=torch.int32, device=self.device)
        self._pose.write(root[:, :7], rows)
        self._velocity.write(root[:, 7:], rows)
        self._dof_position.write(dof[:, self._to_theirs, 0], rows)
        self._dof_velocity.write(dof[:, self._to_theirs, 1], rows)
        moved = [body_path(env, 0) for env in envs if env in self._placed]
        if self._gpu and moved and self._px is not None:
            # Otherwise a GPU's first step (not a CPU's: tested) would detect contacts at the bodies' old positions.
            self._px.move_links(moved)

    def _simulate(self, targets: Tensor) -> None:
        assert self._px is not None, "a step after close"
        with self._explain_errors("a step"):
            self._target.write(self._short(targets)[:, self._to_theirs])
            for _ in range(self._config.steps_per_control):
                self._px.step(self._seconds)

    def _short(self, targets: Tensor) -> Tensor:
        """Return the targets with ball joint rotations of at most half a turn; PhysX ignores larger ones."""
        short = self.skeleton.rot_to_dof(self.skeleton.dof_to_rot(pad_to_batch(targets)))
        return torch.where(self._balls, short[: len(targets)], targets)

    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        root = torch.cat((self._pose.read(), self._velocity.read()), dim=1)
        dof = torch.stack((self._dof_position.read(), self._dof_velocity.read()), dim=2)
        force = self._contacts.read().index_select(0, self._bodies).view(self.num_envs, -1, 3)
        return root, dof.index_select(1, self._to_ours), force

    @contextmanager
    def _explain_errors(self, call: str) -> Iterator[None]:
        """Translate PhysX's RuntimeError into the Simulator interface's exceptions."""
        try:
            yield
        except RuntimeError as error:
            raise self._failure(call, str(error)) from error

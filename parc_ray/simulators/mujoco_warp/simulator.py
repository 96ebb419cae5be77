"""The MuJoCo Warp simulator: MuJoCo's model, stepped for all envs at once on a CUDA device, or on Warp's CPU device.

Every env is a separate world. All share one model: the character on as many boxes as the shard's roughest tile needs.
An env changes its tile by moving its boxes. Unused boxes lie deep below.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Iterator, Sequence

import mujoco_warp
import numpy as np
import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState, state_shapes
from parc_ray.errors import BrokenSimulationError, TooLargeError, one_line
from parc_ray.simulators.cuda_graph import GraphedCall
from parc_ray.simulators.mujoco.character import NO_BOXES, compile_character, compile_model, physical_character
from parc_ray.simulators.mujoco.ground import ground_boxes, pad_boxes
from parc_ray.simulators.mujoco.settings import mujoco_settings
from parc_ray.simulators.mujoco.states import MujocoStates
from parc_ray.simulators.mujoco_warp.package import kernels
from parc_ray.simulators.mujoco_warp.worlds import LOST, LOST_IN_COMMON, Worlds
from parc_ray.simulators.simulator import SimulatorConfig
from parc_ray.tensors.layout import Layout

HIGH = 1000.0
"""Height of parked characters, m."""
OUT_OF_MEMORY = re.compile(r"failed to allocate \d+ bytes|out of memory", re.IGNORECASE)
"""Out-of-memory messages of Warp and CUDA."""


class MujocoWarpSimulator:
    """Simulator with MuJoCo Warp. Its CPU device gives bit-identical results for any number of envs."""

    name = "mujoco_warp"
    exact_copies = True

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Raise InputError if MuJoCo cannot load the character, TooLargeError if memory is insufficient."""
        self.version: str = mujoco_warp.__version__
        self.num_envs, self.device = config.num_envs, config.device
        self._gpu = config.device.type == "cuda"
        self._free = torch.cuda.mem_get_info(config.device)[0] if self._gpu else 0
        bare = compile_character(config, skeleton)
        self._centre, self._half_size = (part.to(self.device) for part in _tile_boxes(config))
        model = compile_model(physical_character(config, skeleton), pad_boxes(NO_BOXES, self._centre.shape[1]), config)
        with self._explain_errors("building the worlds"), kernels(str(config.device), config.character):
            self._states = MujocoStates(skeleton, bare, config.device)
            self._worlds = Worlds(model, config.num_envs, mujoco_settings(config).steps_per_control, config.device)
        self._rest = torch.tensor(bare.qpos0, dtype=torch.float32, device=self.device)
        self._rest[2] = HIGH
        self._layout = Layout(state_shapes(skeleton))
        self._targets = torch.zeros(config.num_envs, skeleton.dof_count, device=self.device)
        self._now = torch.zeros(config.num_envs, self._layout.size, device=self.device)
        """States of all envs, side by side."""
        self._write_targets = GraphedCall(self._convert_targets, self.device)
        self._read_states = GraphedCall(self._convert_states, self.device)
        self._stepped: Sequence[int] = ()
        """Envs of the last step, and their indices on the device; most steps have the same envs."""
        self._rows = self._index(())
        self.park(range(config.num_envs))

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset."""
        self._raise_if_contacts_were_lost()
        worlds, rows, places = self._worlds, self._index(envs), self._index(tiles)
        worlds.put_boxes(rows, self._centre[places], self._half_size[places])
        worlds.qpos[rows], worlds.qvel[rows] = self._states.from_state(state.to(self.device))
        # Not warm_start[rows] = 0.0, which copies the number to the device synchronously.
        worlds.warm_start.index_fill_(0, rows, 0.0)
        worlds.overflow.index_fill_(0, rows, 0)

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step. Does not synchronize with a CUDA device."""
        if list(envs) != self._stepped:
            self._stepped, self._rows = list(envs), self._index(envs)
            self._worlds.active.zero_().index_fill_(0, self._rows, True)
        self._targets.index_copy_(0, self._rows, targets.to(self.device))
        with self._explain_errors("a step"):
            self._write_targets()
            self._worlds.step()
            self._read_states()
        return CharacterState(**self._layout.split(self._now.index_select(0, self._rows)))

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """See Simulator.copy. Does not synchronize with a CUDA device."""
        worlds, rows, origin = self._worlds, self._index(envs), self._index(sources)
        for part in (worlds.qpos, worlds.qvel, worlds.warm_start):
            part.index_copy_(0, rows, part.index_select(0, origin))
        # Shared losses still have to be reported; a world's own losses are copied with its state.
        common, own = worlds.overflow & LOST_IN_COMMON, worlds.overflow & ~LOST_IN_COMMON
        own.index_copy_(0, rows, own.index_select(0, origin))
        worlds.overflow.copy_(common | own)

    def park(self, envs: Sequence[int]) -> None:
        """See Simulator.park."""
        self._raise_if_contacts_were_lost()
        worlds, rows = self._worlds, self._index(envs)
        worlds.qpos[rows] = self._rest
        for part in (worlds.qvel, worlds.warm_start, self._targets):
            part.index_fill_(0, rows, 0.0)

    @property
    def device_bytes(self) -> int:
        """See Simulator.device_bytes."""
        return max(0, self._free - torch.cuda.mem_get_info(self.device)[0]) if self._gpu else 0

    def close(self) -> None:
        """See Simulator.close."""
        del self._worlds

    def _convert_targets(self) -> None:
        self._worlds.target[:, 7:] = self._states.joint_positions(self._targets)

    def _convert_states(self) -> None:
        worlds = self._worlds
        lost = (worlds.overflow & LOST) != 0
        qpos = torch.where(lost[:, None], torch.nan, worlds.qpos)
        state = self._states.to_state(qpos, worlds.qvel, worlds.external_force[:, 1:, 3:])
        self._now.copy_(self._layout.join(vars(state).values()))

    def _index(self, numbers: Sequence[int]) -> Tensor:
        """Return indices on the device, copied asynchronously."""
        indices = torch.tensor(list(numbers), dtype=torch.int64, pin_memory=self._gpu)
        return indices.to(self.device, non_blocking=True)

    def _raise_if_contacts_were_lost(self) -> None:
        """Raise TooLargeError if the buffer shared by all worlds was full in any step since the last call."""
        if bool((self._worlds.overflow & LOST_IN_COMMON).any()):
            raise TooLargeError(
                f"MuJoCo Warp: contacts of {self.num_envs} envs were lost, because the buffer they share was full; "
                f"lower max_envs_per_actor to less than {self.num_envs}"
            )

    @contextmanager
    def _explain_errors(self, call: str) -> Iterator[None]:
        """Translate Warp's RuntimeError into the Simulator interface's exceptions."""
        try:
            yield
        except RuntimeError as error:
            reason = one_line(error)
            if OUT_OF_MEMORY.search(reason):
                raise TooLargeError(
                    f"MuJoCo Warp: {self.num_envs} envs with up to {self._centre.shape[1]} boxes of ground are too "
                    f"many: {reason}; lower max_envs_per_actor to less than {self.num_envs}"
                ) from error
            raise BrokenSimulationError(f"MuJoCo Warp: {call} failed: {reason}") from error


def _tile_boxes(config: SimulatorConfig) -> tuple[Tensor, Tensor]:
    """Return centres and half sizes of the boxes of all tiles, [T, K, 3] m."""
    covers = [ground_boxes(tile) for tile in config.tiles]
    room = max(len(cover.centre) for cover in covers)
    tiles = [pad_boxes(cover, room) for cover in covers]
    centre, half_size = ([getattr(tile, part) for tile in tiles] for part in ("centre", "half_size"))
    return torch.from_numpy(np.stack(centre)).float(), torch.from_numpy(np.stack(half_size)).float()

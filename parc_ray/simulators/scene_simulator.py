"""Base of simulators whose envs share one PhysX scene.

All envs share the world's origin, any env can use any tile, and idle characters are moved to their parking places
before every step, because they would fall. Engines differ in how they read and write states.
"""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from typing import Sequence

import torch
from torch import Tensor

from parc_ray.character.skeleton import Skeleton
from parc_ray.character.state import CharacterState
from parc_ray.errors import BrokenSimulationError, TooLargeError
from parc_ray.simulators.engine_output import EngineOutput
from parc_ray.simulators.shared_world import share_world
from parc_ray.simulators.simulator import SimulatorConfig

ANGULAR_DAMPING = 0.01
"""PARC's asset option."""
MAX_ANGULAR_VELOCITY = 100.0
"""PARC's asset option, rad/s."""
TOO_LARGE = re.compile(
    r"overflow|miss interactions|fail(ed)? to allocate|out of memory|contacts will be lost|aborting simulation",
    re.IGNORECASE,
)
"""PhysX's messages when it drops contacts because of full buffers; nothing else reports this."""
BROKEN = re.compile(r"internal error|CUDA error", re.IGNORECASE)
"""PhysX's messages when it has stopped simulating."""
SETTLED_BYTES = 16 << 20
"""Growth of free memory in a quarter of a second below which an earlier process counts as gone."""


class SceneSimulator(ABC):
    """A Simulator with one scene for all envs. Only as repeatable, and as independent of other envs, as PhysX."""

    name: str
    title: str
    """Name of the engine in messages."""
    exact_copies = False
    device: torch.device

    def __init__(self, config: SimulatorConfig, skeleton: Skeleton):
        """Lay out the world; raise TooLargeError if it is too wide. Subclasses then build the scene, call _set_up."""
        self.num_envs = config.num_envs
        self._config = config
        self._gpu = config.device.type == "cuda"
        self._world = share_world(config.tiles, config.num_envs)
        self._free = _free_memory(config.device) if self._gpu else 0
        self._output = EngineOutput()

    @abstractmethod
    def _put(self, envs: list[int], root: Tensor, dof: Tensor) -> None:
        """Write the envs' rows of root [num_envs, 13] (position, xyzw, velocity, spin) and dof [num_envs, D, 2]."""

    @abstractmethod
    def _simulate(self, targets: Tensor) -> None:
        """Make one control step towards targets [num_envs, D] in all envs."""

    @abstractmethod
    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the state of all envs: root and dof as in _put, and contact force [num_envs, B, 3] N."""

    def _set_up(self, skeleton: Skeleton, device: torch.device) -> None:
        """Allocate the state of all envs, and step the parked characters once: PhysX allocates most of its memory in
        the first step."""
        envs, dofs = self.num_envs, skeleton.dof_count
        self.device, self.skeleton = device, skeleton.to(device)
        self._tile_offsets = torch.from_numpy(self._world.offsets).to(device)
        self._offsets = torch.zeros(envs, 3, device=device)
        self._root_parked = torch.zeros(envs, 13, device=device)
        self._root_parked[:, :3] = torch.from_numpy(self._world.parking).to(device)
        self._root_parked[:, 6] = 1.0
        self._dof_parked = torch.zeros(envs, dofs, 2, device=device)
        self._root, self._dof = self._root_parked.clone(), self._dof_parked.clone()
        self._dof_targets = torch.zeros(envs, dofs, device=device)
        self._placed: set[int] = set()
        """Envs whose state in the engine continues from their last step."""
        self._raise_what_was_printed()
        self._write_states([])
        self._simulate(self._dof_targets)
        self._root_now, self._dof_now, self._force_now = self._read()
        self._raise_what_was_printed()

    def reset(self, envs: Sequence[int], tiles: Sequence[int], state: CharacterState) -> None:
        """See Simulator.reset. The state is written to the engine at the beginning of the next step."""
        rows = torch.tensor(list(envs), device=self.device)
        self._offsets[rows] = self._tile_offsets[torch.tensor(list(tiles), device=self.device)]
        moved = state.root_pos.to(self.device) + self._offsets[rows]
        root = (state.root_rot, state.root_vel, state.root_ang_vel)
        self._root[rows] = torch.cat((moved, *(part.to(self.device) for part in root)), dim=1)
        self._dof[rows] = torch.stack((state.dof_pos, state.dof_vel), dim=2).to(self.device)
        self._placed.difference_update(envs)

    def step(self, envs: Sequence[int], targets: Tensor) -> CharacterState:
        """See Simulator.step. Raises TooLargeError if PhysX lost contacts, BrokenSimulationError if it has stopped;
        no env's attempt can be trusted then."""
        rows = torch.tensor(list(envs), device=self.device)
        self._dof_targets.zero_()
        self._dof_targets[rows] = targets.to(self.device)
        self._write_states(envs)
        self._simulate(self._dof_targets)
        self._root_now, self._dof_now, self._force_now = self._read()
        # PhysX may reject a target that is not finite and keep the previous one.
        possible = torch.isfinite(self._dof_targets[rows]).all(dim=1, keepdim=True)
        self._root[rows] = torch.where(possible, self._root_now[rows], math.nan)
        self._dof[rows] = self._dof_now[rows]
        force = self._force_now[rows]
        self._raise_what_was_printed()
        self._raise_if_idle_envs_diverged(envs)
        root, dof = self._root[rows], self._dof[rows]
        return CharacterState(
            root_pos=root[:, :3] - self._offsets[rows],
            root_rot=root[:, 3:7],
            root_vel=root[:, 7:10],
            root_ang_vel=root[:, 10:],
            dof_pos=dof[:, :, 0],
            dof_vel=dof[:, :, 1],
            contact_force=force,
        )

    def copy(self, envs: Sequence[int], sources: Sequence[int]) -> None:
        """See Simulator.copy. PhysX keeps more history than a state contains, so every given env is reset."""
        rows, origin = torch.tensor([list(envs), list(sources)], device=self.device)
        self._root[rows], self._dof[rows] = self._root[origin], self._dof[origin]
        self._placed.difference_update(envs)

    def park(self, envs: Sequence[int]) -> None:
        """See Simulator.park. Envs that are not stepped stay at their parking places during the step."""
        self._placed.difference_update(envs)

    def close(self) -> None:
        """Stop watching the engine's output."""
        self._output.close()

    @property
    def device_bytes(self) -> int:
        """See Simulator.device_bytes."""
        return max(0, self._free - torch.cuda.mem_get_info(self._config.device)[0]) if self._gpu else 0

    def _write_states(self, envs: Sequence[int]) -> None:
        """Restore the given envs, and move all others to their parking places.

        Isaac Gym keeps only the last call of a setter before a step, so one call covers all envs.
        """
        stepped = set(envs)
        written = [env for env in range(self.num_envs) if env not in stepped or env not in self._placed]
        self._placed = stepped
        self._stepped = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._stepped[list(stepped)] = True
        if written:
            root = torch.where(self._stepped[:, None], self._root, self._root_parked)
            dof = torch.where(self._stepped[:, None, None], self._dof, self._dof_parked)
            self._put(written, root, dof)

    def _raise_what_was_printed(self) -> None:
        """Raise TooLargeError or BrokenSimulationError if PhysX has printed errors since the last call."""
        text = self._output.new_text()
        for pattern in (TOO_LARGE, BROKEN):
            complaint = next((line.strip() for line in text.splitlines() if pattern.search(line)), None)
            if complaint and pattern is TOO_LARGE:
                raise self._too_large(complaint)
            if complaint:
                raise BrokenSimulationError(f"{self.title}: {complaint}")

    def _raise_if_idle_envs_diverged(self, envs: Sequence[int]) -> None:
        """Raise BrokenSimulationError if a character that was just moved to its parking place is not finite."""
        if len(envs) < self.num_envs and not bool(torch.isfinite(self._root_now[~self._stepped]).all()):
            raise BrokenSimulationError(f"{self.title}: parked characters have no finite state: it has diverged")

    def _too_large(self, complaint: str) -> TooLargeError:
        memory = ""
        if self._gpu:
            free, total = torch.cuda.mem_get_info(self._config.device)
            memory = f" ({_gib(self._free)} of {_gib(total)} GiB of device memory were free before, {_gib(free)} now)"
        return TooLargeError(
            f"{self.title}: {self.num_envs} envs on {len(self._world.offsets)} tiles are too many{memory}: "
            f"{complaint}; lower max_envs_per_actor to less than {self.num_envs}, or change "
            "sim.physx.max_gpu_contact_pairs and default_buffer_size_multiplier in env_file (smaller: less memory; "
            "larger: more contacts)"
        )

    def _failure(self, call: str, error: str = "") -> Exception:
        """Return the exception for a failed call, with the engine's own message or the error as the reason."""
        text = f"{self._output.new_text()}\n{error}"
        complaint = next((line.strip() for line in text.splitlines() if TOO_LARGE.search(line)), None)
        if complaint:
            return self._too_large(complaint)
        return BrokenSimulationError(f"{self.title}: {call} failed{first_error(text)}")


def first_error(text: str) -> str:
    """Return the first error in printed text, else its last line, after a colon."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return f": {[*errors, *lines[::-1]][0]}" if lines else ""


def _gib(size: int) -> float:
    return round(size / 2**30, 1)


def _free_memory(device: torch.device) -> int:
    """Return the free bytes of a CUDA device, once the process that used it before has released its memory."""
    free = torch.cuda.mem_get_info(device)[0]
    for _ in range(20):
        time.sleep(0.25)
        before, free = free, torch.cuda.mem_get_info(device)[0]
        if free <= before + SETTLED_BYTES:
            break
    return free

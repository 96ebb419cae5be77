"""ovphysx itself: one instance with one scene, and its tensors.

Only this module uses what ovphysx calls deprecated: tensor bindings, contact bindings and PhysXConfig. Their successors
cannot write the state of some characters only, which retries need, and count angles in degrees.
"""

from __future__ import annotations

import warnings
from typing import Callable, List, Sequence

import ovphysx
import ovstage
import torch
from ovphysx import GlobalConfigKey, PhysXConfig, TensorType
from ovphysx.dlpack import DLDeviceType
from torch import Tensor

from parc_ray.errors import BrokenSimulationError
from parc_ray.simulators.warp_runtime import start_warp

READ_ORDINAL = 1
"""Number of the stage's write after which the scene is complete."""


class Instance:
    """A PhysX instance. CPU scenes are stepped by the calling thread: workers cost more than they bring (measured)."""

    def __init__(self, device: torch.device):
        """Starts PhysX for a device. A process that has begun on CPUs has no CUDA device any more."""
        start_warp(str(device))  # ovphysx uses it
        self.device = device
        gpu = device.type == "cuda"
        _configure(GlobalConfigKey.NUM_THREADS, 0)
        if not gpu:
            _configure(GlobalConfigKey.CPU_ONLY, True)
        settings = {
            "/physics/suppressReadback": gpu,  # states stay on the device
            "/ovphysx/schemas/warnMissingNewtonSchema": False,
        }
        with _deprecated():
            self.physx = ovphysx.PhysX(
                config=PhysXConfig(carbonite_overrides=settings),
                active_cuda_gpus=str(device.index or 0) if gpu else None,
            )
        self._stage = ovstage.Stage("parc_ray")

    def build(self, write: Callable[[ovstage.Stage, ovstage.PathDictionary], None]) -> None:
        """Let `write` fill a stage up to READ_ORDINAL, and make it the scene."""
        self._paths = ovstage.PathDictionary(self._stage)
        write(self._stage, self._paths)
        self.physx.wait_task(self.physx.attach_ovstage(self._stage, read_ordinal=READ_ORDINAL))

    def warm_up(self) -> None:
        """Let PhysX allocate what it needs. After all bindings are there, before the first is used."""
        self.physx.warmup()

    def step(self, seconds: float) -> None:
        """One step of all characters."""
        self.physx.step_sync(seconds)

    def move_links(self, roots: Sequence[str]) -> None:
        """Put the links of these articulations where their root and joints are, before the next step does.

        Not those of others: in the middle of their motion that would disturb them.
        """
        self.physx.update_articulations_kinematic(prim_paths=[self._paths.intern_path(root) for root in roots])

    def articulations(self, roots: Sequence[str], kind: TensorType) -> Articulations:
        """One kind of state of the articulations with these root links."""
        return Articulations(self, roots, kind)

    def contacts(self, pattern: str) -> Contacts:
        """Net contact forces on the bodies that a path pattern selects."""
        return Contacts(self, pattern)

    def close(self) -> None:
        """Free everything."""
        self.physx.destroy()
        self._stage.destroy()


class Articulations:
    """One kind of state of several articulations, in a tensor on the engine's device, in SI units."""

    def __init__(self, instance: Instance, roots: Sequence[str], kind: TensorType):
        with _deprecated():
            self._binding = instance.physx.create_tensor_binding(prim_paths=list(roots), tensor_type=kind)
        found = self._binding.prim_paths
        if found != list(roots):
            raise BrokenSimulationError(f"PhysX has articulations {found[:3]} ... instead of {roots[:3]} ...")
        # PhysX would go on without a word where it finds no GPU, and copy every state from and to the host.
        on_gpu = self._binding.native_device.device_type.value == DLDeviceType.kDLCUDA
        if on_gpu != (instance.device.type == "cuda"):
            raise BrokenSimulationError(f"PhysX was to hold its states on {instance.device}, and holds them elsewhere")
        self._values = torch.zeros(self._binding.shape, device=instance.device)
        self._written = torch.zeros_like(self._values)
        self.dof_names: List[str] = self._binding.dof_names

    def read(self) -> Tensor:
        """[N, ...]; valid until the next call."""
        self._binding.read(self._values)
        return self._values

    def write(self, values: Tensor, rows: Tensor | None = None) -> None:
        """Set [N, ...], or only some rows (int32) of it."""
        self._written.copy_(values)
        self._binding.write(self._written, indices=rows)


class Contacts:
    """Net contact forces, normal and friction, on several bodies."""

    def __init__(self, instance: Instance, pattern: str):
        with _deprecated():
            self._binding = instance.physx.create_contact_binding([pattern])
        self.paths: List[str] = self._binding.sensor_paths
        self._normal = torch.zeros(len(self.paths), 3, device=instance.device)
        self._friction = torch.zeros_like(self._normal)

    def read(self) -> Tensor:
        """Forces in the last step [N, 3] N."""
        self._binding.read_net_normal_forces(self._normal)
        self._binding.read_net_friction_forces(self._friction)
        return self._normal + self._friction


def _configure(key: GlobalConfigKey, value: int) -> None:
    """Set what all instances of a process have in common; it cannot be set again while there is a scene."""
    if ovphysx.get_global_config(key) != value:
        ovphysx.set_global_config(key, value)


class _deprecated(warnings.catch_warnings):
    """ovphysx warns at each deprecated call: this module is where they are known."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)

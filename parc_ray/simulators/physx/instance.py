"""ovphysx itself: one instance with one scene, and its tensors.

Only this module uses ovphysx's deprecated tensor bindings, contact bindings and PhysXConfig. Their successors use
degrees and cannot write the state of selected characters, which retries need.
"""

from __future__ import annotations

import warnings
from typing import Callable, Sequence

import ovphysx
import ovstage
import torch
from ovphysx import GlobalConfigKey, PhysXConfig, TensorType
from ovphysx.dlpack import DLDeviceType
from torch import Tensor

from parc_ray.errors import BrokenSimulationError
from parc_ray.simulators.warp_runtime import start_warp

READ_ORDINAL = 1
"""Ordinal of the stage write that completes the scene."""


class Instance:
    """A PhysX instance. The calling thread steps CPU scenes: worker threads cost more than they gain (measured)."""

    def __init__(self, device: torch.device):
        """Start PhysX on a device. A process that has started on CPUs can no longer use CUDA."""
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
        """Let PhysX allocate its memory. Call after creating all bindings, before using any."""
        self.physx.warmup()

    def step(self, seconds: float) -> None:
        """Make one physics step of all characters."""
        self.physx.step_sync(seconds)

    def move_links(self, roots: Sequence[str]) -> None:
        """Update the links of these articulations from their root and joints now instead of in the next step.

        Other articulations must be excluded: updating them during their motion would disturb them.
        """
        self.physx.update_articulations_kinematic(prim_paths=[self._paths.intern_path(root) for root in roots])

    def articulations(self, roots: Sequence[str], kind: TensorType) -> Articulations:
        """Return one kind of state of the articulations with these root links."""
        return Articulations(self, roots, kind)

    def contacts(self, pattern: str) -> Contacts:
        """Return net contact forces on the bodies that a path pattern selects."""
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
        # Without a GPU, PhysX would silently continue and copy every state to and from the host.
        on_gpu = self._binding.native_device.device_type.value == DLDeviceType.kDLCUDA
        if on_gpu != (instance.device.type == "cuda"):
            raise BrokenSimulationError(f"PhysX was to hold its states on {instance.device}, and holds them elsewhere")
        self._values = torch.zeros(self._binding.shape, device=instance.device)
        self._written = torch.zeros_like(self._values)
        self.dof_names: list[str] = self._binding.dof_names

    def read(self) -> Tensor:
        """Return [N, ...]; valid until the next call."""
        self._binding.read(self._values)
        return self._values

    def write(self, values: Tensor, rows: Tensor | None = None) -> None:
        """Set [N, ...], or only the given rows (int32)."""
        self._written.copy_(values)
        self._binding.write(self._written, indices=rows)


class Contacts:
    """Net contact forces, normal and friction, on several bodies."""

    def __init__(self, instance: Instance, pattern: str):
        with _deprecated():
            self._binding = instance.physx.create_contact_binding([pattern])
        self.paths: list[str] = self._binding.sensor_paths
        self._normal = torch.zeros(len(self.paths), 3, device=instance.device)
        self._friction = torch.zeros_like(self._normal)

    def read(self) -> Tensor:
        """Return the forces [N, 3] N of the last step."""
        self._binding.read_net_normal_forces(self._normal)
        self._binding.read_net_friction_forces(self._friction)
        return self._normal + self._friction


def _configure(key: GlobalConfigKey, value: int) -> None:
    """Set an option shared by all instances of a process; it cannot be changed while a scene exists."""
    if ovphysx.get_global_config(key) != value:
        ovphysx.set_global_config(key, value)


class _deprecated(warnings.catch_warnings):
    """Suppresses ovphysx's warnings about deprecated calls, which this module makes on purpose."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)

"""MuJoCo Warp itself: one model with many worlds on a device, and their captured control step."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import mujoco
import mujoco_warp
import torch
import warp
from torch import Tensor

ROWS = 256
"""Constraint rows per world; the observed maximum is 188, for a character buried in a box."""
CONTACTS, SPARE_CONTACTS = 48, 512
"""Contact capacity (before removal of those that do not touch): per world, and shared in addition. The observed maximum
of a single world is 20."""
PER_WORLD = ("qpos_spring", "geom_pos", "geom_size", "geom_rbound", "geom_aabb")
"""Model fields with a value per world: PD targets and boxes."""
LOST = int(mujoco_warp.OverflowType.NEFC | mujoco_warp.OverflowType.NJMAX_NNZ | mujoco_warp.OverflowType.CCD)
"""Overflows that affect one world."""
LOST_IN_COMMON = int(mujoco_warp.OverflowType.BROADPHASE | mujoco_warp.OverflowType.NARROWPHASE)
"""Overflows of shared buffers: any world may have lost contacts."""


@warp.kernel(enable_backward=False)  # type: ignore[untyped-decorator]
def _put_back(
    active: warp.array(dtype=warp.bool),  # type: ignore[valid-type]
    before: warp.array2d(dtype=float),  # type: ignore[valid-type]
    now: warp.array2d(dtype=float),  # type: ignore[valid-type]
) -> None:
    world, place = warp.tid()
    if not active[world]:
        now[world, place] = before[world, place]


class Worlds:
    """N worlds. Every tensor is a view of the engine's memory, for input and output.

    A world's whole state between two steps is qpos, qvel and warm_start.
    """

    def __init__(self, model: mujoco.MjModel, count: int, steps: int, device: torch.device):
        """Compile, allocate and capture everything. steps: physics steps per control step."""
        self._device = warp.device_from_torch(device)
        # Collide boxes, such as a foot on an edge, as MuJoCo does; the default convex collider finds fewer contacts.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_NATIVECCD
        model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # it has neither resets nor this flag
        # Sparse, the default above 32 degrees of freedom, sums in an order that depends on the number of worlds.
        model.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
        pool = CONTACTS * count + SPARE_CONTACTS
        with warp.ScopedDevice(self._device):
            self._model = mujoco_warp.put_model(model, batch_sizes=dict.fromkeys(PER_WORLD, count))
            self._data = mujoco_warp.make_data(model, nworld=count, naconmax=pool, njmax=ROWS)
        self._model.opt.warn_overflow = 0
        if self._device.is_cuda:
            # Without conditional nodes (before CUDA 12.4), the solver always runs all iterations.
            self._model.opt.graph_conditional = warp.is_conditional_graph_supported()
        data, view = self._data, warp.to_torch
        self.qpos: Tensor = view(data.qpos)
        self.qvel: Tensor = view(data.qvel)
        self.warm_start: Tensor = view(data.qacc_warmstart)
        self.target: Tensor = view(self._model.qpos_spring)
        self.external_force: Tensor = view(data.cfrc_ext)
        self.overflow: Tensor = view(data.overflow)
        self.active = torch.zeros(count, dtype=torch.bool, device=device)
        """Worlds that the next step moves. All are stepped; inactive ones are restored afterwards."""
        self._geoms = [view(getattr(self._model, name)) for name in PER_WORLD[1:]]
        self._places: Tensor = view(data.geom_xpos)
        self._state = (data.qpos, data.qvel, data.qacc_warmstart)
        self._before = [warp.empty_like(part) for part in self._state]
        self._steps = steps
        self._graph = self._capture()

    def step(self) -> None:
        """Make one control step of the active worlds in torch's current stream, in order with torch's operations."""
        stream = _torch_stream(self._device)
        if self._graph is not None:
            warp.capture_launch(self._graph, stream=stream)
            return
        with warp.ScopedStream(stream) if stream is not None else nullcontext():
            self._control_step()

    def put_boxes(self, worlds: Tensor, centre: Tensor, half_size: Tensor) -> None:
        """Set the boxes [n, K, 3] of worlds [n]: the model's first K geoms."""
        boxes = slice(centre.shape[1])
        pos, size, radius, box = self._geoms
        pos[worlds, boxes] = centre
        size[worlds, boxes] = half_size
        radius[worlds, boxes] = half_size.norm(dim=-1)
        box[worlds, boxes, 1] = half_size
        # Positions of static geoms are computed only once, when the data is created.
        self._places[worlds, boxes] = centre

    def _control_step(self) -> None:
        for before, part in zip(self._before, self._state):
            warp.copy(before, part)
        for _ in range(self._steps):
            mujoco_warp.step(self._model, self._data)
        mujoco_warp.rne_postconstraint(self._model, self._data)
        for before, part in zip(self._before, self._state):
            warp.launch(_put_back, part.shape, [warp.from_torch(self.active), before, part], device=self._device)

    def _capture(self) -> Any:
        """Return a control step as a graph, also on CPUs: replaying halves the time. None if the replay is wrong.

        Captured in Warp's own stream, because torch's default stream cannot be captured.
        """
        with warp.ScopedDevice(self._device):
            self._control_step()  # compile and load the kernels, which is not possible during capture
            warp.synchronize_device(self._device)
            with warp.ScopedCapture(self._device) as capture:
                self._control_step()
            warp.synchronize_device(self._device)
            start = self._read()
            self.active.fill_(True)
            results = []
            for step in (self._control_step, lambda: warp.capture_launch(capture.graph)):
                self._write(start)
                self._synchronize()  # torch and Warp's stream do not wait for each other
                step()
                self._synchronize()
                results.append(self._read())
            self.active.fill_(False)
            self._write(start)
        # The order of atomic additions varies on a GPU.
        if all(torch.allclose(one, two, 1e-3, 1e-3, equal_nan=True) for one, two in zip(*results)):
            return capture.graph
        warnings.warn(
            f"MuJoCo Warp steps without a graph on {self._device}, and is slower: its replay differs from the same "
            "work launched by the host",
            stacklevel=2,
        )
        return None

    def _read(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.qpos.clone(), self.qvel.clone(), self.warm_start.clone()

    def _write(self, state: tuple[Tensor, Tensor, Tensor]) -> None:
        for part, values in zip((self.qpos, self.qvel, self.warm_start), state):
            part.copy_(values)

    def _synchronize(self) -> None:
        if self._device.is_cuda:
            torch.cuda.synchronize(self.active.device)


def _torch_stream(device: Any) -> Any:
    """Return torch's current stream on a device as a Warp stream; None on CPUs."""
    return warp.stream_from_torch(warp.device_to_torch(device)) if device.is_cuda else None

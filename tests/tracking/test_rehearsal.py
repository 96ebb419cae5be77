"""Whole recorders on a pretended CUDA device: nothing that a GPU refuses, and the CPU's results to the byte.

Most control steps replay the graphs that the third one captured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable
from unittest import mock

import pytest
import torch

from parc_ray.config.record import RecordConfig
from parc_ray.files.bundled import DEMO
from parc_ray.motions.motion_file import motion_file_bytes
from parc_ray.recording.build import build_recorder
from parc_ray.recording.recorder import ShardRecorder
from parc_ray.recording.run_files import RunFiles
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.simulators.engines import engine
from parc_ray.trackers.network import Network
from tests.planning.prepared import prepared
from tests.recording.recovery_cases import RECOVERY, find_cases
from tests.recording.test_recorder import FEASIBLE, IMPOSSIBLE, LATE, RETRY, run
from tests.simulators.remote import DOUBLE_HERE, ROOT, double_environment
from tests.simulators.test_conformance import WITHOUT_PHYSX, WITHOUT_WARP
from tests.trackers.mimickit.test_family import config_of, filled
from tests.tracking.pretended_device import OnDevice, PretendedDevice, unseen

pytestmark = pytest.mark.slow

MOTIONS = [FEASIBLE[3], IMPOSSIBLE, FEASIBLE[4], LATE[0]]
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def parc_files(folder: Path, observations: bool = False, simulator: str = "mujoco", **changes: Any) -> RunFiles:
    (folder / "motion.pkl").write_bytes(motion_file_bytes(MOTIONS[0]))
    config = RecordConfig(
        output_dir=folder / "out", device="cpu", dataset_file=folder / "motion.pkl", model_file=DEMO / "model.pt",
        env_file=DEMO / "dm_env.yaml", agent_file=DEMO / "agent_config.yaml", simulator="mujoco", retry=RETRY,
        **{"max_envs_per_actor": 3, "record": {"keep_failures": True, "observations": observations}, **changes},
    )  # fmt: skip
    return replace(prepared(config).inputs.files, simulator=simulator)


def recorder_of(files: RunFiles, contents: list[bytes], device: str) -> ShardRecorder:
    motions = tuple(ShardMotion(f"m{k}", f"m{k}.pkl", content, 0) for k, content in enumerate(contents))
    return build_recorder(files, Shard(0, motions), 1, device)


def init_like_cuda(self: Network, layers: Any, threads: int = 1) -> None:
    """Network.__init__ for CPUs as for CUDA devices: the same products round alike."""
    self._onednn, self._any_size, self._pool, self._threads = False, False, None, 1
    self._layers, self._size, self._rows = list(layers), layers[0][0].shape[1], 1024


def on_cpu(files: RunFiles, contents: list[bytes]) -> ShardRecorder:
    with mock.patch.object(Network, "__init__", init_like_cuda):
        built = recorder_of(files, contents, "cpu")
    return ShardRecorder(built.environment, built.meter, built.config, built.origin, all_slots=True)


def ends(recorder: ShardRecorder) -> list[list[str]]:
    """Return everything that attempts came to, except times of the clock."""

    def compared(record: Any) -> list[str]:
        return [str(getattr(record, item.name)) for item in fields(record) if item.compare and item.name != "attempt"]

    results = sorted([*compared(result.attempt), *compared(result)] for result in run(recorder))
    recorder.environment.simulator.close()
    return results


def count_waits(device: PretendedDevice) -> int:
    return sum(count for what, count in device.started.items() if what.startswith("wait: "))


def require_graphs(device: PretendedDevice, count: int) -> None:
    """Require that this many graphs were captured, without anything that a GPU refuses, and replayed."""
    assert len(device.graphs) == count and min(len(graph.nodes) for graph in device.graphs) > 20
    assert not [what for what in device.captured if ":" in what]
    assert device.started["launch: graph"] > 40 * count


@pytest.mark.parametrize("observations", [False, True])
def test_parc(tmp_path, observations):
    files, contents = parc_files(tmp_path, observations), [motion_file_bytes(motion) for motion in MOTIONS]
    with PretendedDevice() as device:
        results = ends(recorder_of(files, contents, "cuda:0"))
    assert results == ends(on_cpu(files, contents))
    require_graphs(device, 2)


def test_recovery(tmp_path):
    """Populations are selected where the host looks anyway, so it waits no more often."""
    cases = find_cases()
    contents = [motion_file_bytes(motion) for motion in (cases.first_size, cases.second_size, cases.hopeless)]
    waits: dict[bool, float] = {}
    for recovery in (False, True):
        folder = tmp_path / str(recovery)
        folder.mkdir()
        settings = {"recovery": RECOVERY if recovery else False, "num_envs": 12, "max_envs_per_actor": None}
        files = parc_files(folder, **settings)
        with PretendedDevice() as device:
            recorder = recorder_of(files, contents, "cuda:0")
            results = ends(recorder)
        assert results == ends(on_cpu(files, contents))
        require_graphs(device, 2)
        waits[recovery] = count_waits(device) / recorder.utilization.steps
    assert waits[True] <= waits[False], "per control step, most of them the engine's"


def test_mimickit_on_the_second_device(tmp_path):
    """The first one is torch's current device all the time."""
    inputs = prepared(config_of(filled(tmp_path), max_envs_per_actor=3)).inputs
    contents = 5 * [(tmp_path / "stand.pkl").read_bytes()]
    with PretendedDevice(2) as device:
        results = ends(recorder_of(inputs.files, contents, "cuda:1"))
    assert results == ends(on_cpu(inputs.files, contents))
    require_graphs(device, 2)
    assert {str(graph.device) for graph in device.graphs} == {"cuda:1"}


@pytest.mark.skipif(bool(WITHOUT_WARP), reason=WITHOUT_WARP)
def test_mujoco_warp(tmp_path):
    """Warp works on its CPU device, and views its memory as tensors of the pretended one.

    "cuda" without a number, as train_tracker --device cuda has it.
    """
    import warp

    from parc_ray.simulators.mujoco_warp import package, worlds
    from parc_ray.simulators.mujoco_warp.simulator import MujocoWarpSimulator

    streams: list[Any] = []
    waits: list[int] = []

    def counted(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            before = count_waits(device)
            method(*arguments)
            waits.append(count_waits(device) - before)

        return call

    def view(array: Any, to_torch: Callable[..., Any] = warp.to_torch) -> OnDevice:
        with unseen():
            return OnDevice(to_torch(array))

    def array_of(tensor: OnDevice, from_torch: Callable[..., Any] = warp.from_torch) -> Any:
        with unseen():
            return from_torch(tensor.host)

    def device_of(device: torch.device) -> Any:
        assert device.index is not None, "Warp knows no CUDA device without a number"
        return warp.get_device("cpu")

    def launch(graph: Any, stream: Any = None, capture_launch: Callable[..., Any] = warp.capture_launch) -> None:
        streams.append(stream)
        capture_launch(graph)

    files = parc_files(tmp_path, simulator="mujoco_warp")
    contents = [motion_file_bytes(motion) for motion in (MOTIONS[0], MOTIONS[3])]
    with ExitStack() as stack:
        changes = {"device_from_torch": device_of, "to_torch": view, "from_torch": array_of, "capture_launch": launch}
        for name, change in changes.items():
            stack.enter_context(mock.patch.object(warp, name, change))
        stack.enter_context(mock.patch.object(package, "require_warp_device", lambda title, device: None))
        stack.enter_context(mock.patch.object(worlds, "_torch_stream", lambda device: "torch's stream"))
        for name in ("reset", "park"):
            method = getattr(MujocoWarpSimulator, name)
            stack.enter_context(mock.patch.object(MujocoWarpSimulator, name, counted(method)))
        device = stack.enter_context(PretendedDevice())
        results = ends(recorder_of(files, contents, "cuda"))
    assert results == ends(on_cpu(files, contents))
    require_graphs(device, 4)
    assert set(waits) == {1}, "whether contacts were lost"
    first, *others = streams
    assert first is None and set(others) == {"torch's stream"}, "after the first check, in order with torch's work"


@pytest.mark.skipif(bool(WITHOUT_PHYSX), reason=WITHOUT_PHYSX)
def test_physx(tmp_path):
    """PhysX works on the CPU, and says that its memory is on the device."""
    from ovphysx.dlpack import DLDevice, DLDeviceType

    from parc_ray.simulators.physx import instance, simulator

    native = DLDevice()
    native.device_type = DLDeviceType.kDLCUDA

    class Binding:
        """A binding whose tensors are on the pretended device."""

        native_device = native

        def __init__(self, binding: Any) -> None:
            self._binding = binding

        def __getattr__(self, name: str) -> Any:
            member = getattr(self._binding, name)
            if not callable(member):
                return member

            def call(*tensors: OnDevice, **named: OnDevice | None) -> None:
                hosts = {key: None if part is None else part.host for key, part in named.items()}
                with unseen():
                    member(*(part.host for part in tensors), **hosts)

            return call

    build, write = instance.Instance.__init__, simulator.SceneWriter

    def start(self: Any, device: torch.device) -> None:
        build(self, CPU)
        physx, self.device = self.physx, device
        self.physx = SimpleNamespace(
            **{name: getattr(physx, name) for name in dir(physx) if not name.startswith("_")},
        )
        self.physx.create_tensor_binding = lambda **named: Binding(physx.create_tensor_binding(**named))
        self.physx.create_contact_binding = lambda paths: Binding(physx.create_contact_binding(paths))

    def writer(config: Any, *others: Any) -> Any:
        return write(replace(config, device=CPU), *others)

    files = parc_files(tmp_path, simulator="physx")
    contents = [motion_file_bytes(motion) for motion in (MOTIONS[0], MOTIONS[3])]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(instance.Instance, "__init__", start))
        stack.enter_context(mock.patch.object(simulator, "SceneWriter", writer))
        device = stack.enter_context(PretendedDevice())
        results = ends(recorder_of(files, contents, "cuda:0"))
    assert results == ends(on_cpu(files, contents))
    require_graphs(device, 2)


ISAACGYM = """
import json, sys
from pathlib import Path
from parc_ray.simulators.isaacgym.process import import_isaacgym
import_isaacgym("cpu")
from tests.tracking.test_rehearsal import isaacgym_results
print(json.dumps(isaacgym_results(Path(sys.argv[1]), sys.argv[2])))
"""


def isaacgym_results(folder: Path, device: str) -> Any:
    """In a process of its own: results of the double on a device, and what was captured."""
    from isaacgym import gymtorch

    files = parc_files(folder, simulator=engine("isaacgym").name)
    contents = [motion_file_bytes(motion) for motion in (MOTIONS[0], MOTIONS[3])]
    if device == "cpu":
        return [ends(on_cpu(files, contents)), 0]

    def view(tensor: Any, wrap: Callable[..., Any] = gymtorch.wrap_tensor) -> OnDevice:
        with unseen():
            return OnDevice(wrap(tensor))

    def unwrap(tensor: OnDevice, unwrap: Callable[..., Any] = gymtorch.unwrap_tensor) -> Any:
        with unseen():
            return unwrap(tensor.host)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(gymtorch, "wrap_tensor", view))
        stack.enter_context(mock.patch.object(gymtorch, "unwrap_tensor", unwrap))
        pretended = stack.enter_context(PretendedDevice())
        results = ends(recorder_of(files, contents, device))
    require_graphs(pretended, 2)
    return [results, len(pretended.graphs)]


@DOUBLE_HERE
def test_isaacgym(tmp_path):
    """The adapter over the contract double, with the GPU pipeline."""
    found = []
    for device, settings in (("cpu", {}), ("cuda:0", {"cuda": 1})):
        folder = tmp_path / device
        folder.mkdir()
        environment = {**double_environment(**settings), "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", ISAACGYM, str(folder), device]
        ended = subprocess.run(command, env=environment, cwd=str(ROOT), capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    (expected, _), (results, graphs) = found
    assert (results, graphs) == (expected, 2)

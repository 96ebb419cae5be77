"""The contract double of Isaac Gym refuses what it should, and moves as it should.

The double allows one simulation per process and must be imported before torch, as the real package. So this file
is also a program: it imports the double once and runs every scenario in a fork of itself.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np
import pytest

from tests.simulators.remote import DOUBLE_HERE

pytestmark = [pytest.mark.slow, DOUBLE_HERE]

REPOSITORY = Path(__file__).parents[1]
DOUBLE = Path(__file__).parent / "isaacgym_double"

CHARACTER = """
<mujoco>
  <default>
    <motor ctrlrange="-1 1" ctrllimited="true"/>
    <default class="body"><joint type="hinge" limited="true" damping="5" stiffness="50" armature="0.01"/></default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 1" material="grid"/>
    <body name="trunk" childclass="body">
      <freejoint name="root"/>
      <geom type="box" size="0.2 0.15 0.1" pos="0.05 0 0.02" density="1000"/>
      <body name="arm" pos="0 0.2 0.1">
        <joint name="arm_x" axis="1 0 0" range="-90 90"/>
        <joint name="arm_y" axis="0 1 0" range="-90 90"/>
        <joint name="arm_z" axis="0 0 1" range="-90 90"/>
        <geom type="capsule" fromto="0 0.05 0 0 0.3 0" size="0.04" density="1000"/>
        <body name="hand" pos="0 0.35 0">
          <joint name="wrist" axis="0 0 1" range="-30 160" stiffness="20" damping="2"/>
          <geom type="sphere" size="0.05" density="1000"/>
          <body name="finger" pos="0 0.08 0"><geom type="sphere" size="0.02" density="1000"/></body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="arm_x" gear="70" joint="arm_x"/>
    <motor name="arm_z" gear="60" joint="arm_z"/>
    <motor name="arm_y" gear="50" joint="arm_y"/>
    <motor name="wrist" gear="40" joint="wrist"/>
  </actuator>
</mujoco>
"""
BODIES, DOFS = 4, 4

Scenario = Tuple[Callable[[], None], Optional[str], Dict[str, Any]]
SCENARIOS: dict[str, Scenario] = {}
gymapi: Any = None
gymtorch: Any = None
torch: Any = None


def works(**settings: Any) -> Callable[[Callable[[], None]], None]:
    """A scenario that must pass, with these settings of the double."""
    return lambda function: SCENARIOS.update({function.__name__: (function, None, settings)})


def refused(message: str, **settings: Any) -> Callable[[Callable[[], None]], None]:
    """A scenario whose last line must be refused with this message."""
    return lambda function: SCENARIOS.update({function.__name__: (function, message, settings)})


# --------------------------------------------------------------------------------------------- a world to try


def params(**changes: Any) -> Any:
    """Parameters that create_sim accepts, changed."""
    values = gymapi.SimParams()
    values.up_axis = gymapi.UP_AXIS_Z
    values.gravity = gymapi.Vec3(0.0, 0.0, -9.81)
    values.use_gpu_pipeline = values.physx.use_gpu = False
    for name, value in changes.items():
        setattr(values.physx if hasattr(values.physx, name) else values, name, value)
    return values


def blocks(heights: Any, cell: float = 1.0) -> tuple[Any, Any]:
    """Vertices and triangles (flat) of square level tops, in the middle of the world."""
    heights = np.asarray(heights, dtype=np.float32)
    corner = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    cells = np.stack(np.meshgrid(*map(np.arange, heights.shape), indexing="ij"), axis=-1)[:, :, None] + corner
    xy = (cells - np.array(heights.shape) / 2) * cell
    z = np.broadcast_to(heights[:, :, None, None], (*heights.shape, 4, 1))
    vertices = np.concatenate([xy, z], axis=-1).astype(np.float32)
    faces = np.arange(heights.size)[:, None, None] * 4 + np.array([(0, 2, 1), (0, 3, 2)])
    return vertices.ravel(), faces.astype(np.uint32).ravel()


def close(found: Any, expected: Any, atol: float) -> None:
    """torch.testing.assert_close takes half a second to import."""
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=atol, rtol=0)


class World:
    """A simulation with some characters, ready for scenarios to use and abuse."""

    def __init__(self, actors: int = 2, mode: str = "DOF_MODE_POS", heights: Any = ((0.0,) * 20,) * 20, **changes: Any):
        self.gym = gymapi.acquire_gym()
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params(**changes))
        self.add_mesh(*blocks(heights))
        self.asset = self.gym.load_asset(self.sim, *self.file())
        self.mode = getattr(gymapi, mode)
        self.envs: list[Any] = []
        for _ in range(actors):
            self.add_actor()

    @staticmethod
    def file() -> tuple[str, str]:
        return tempfile.gettempdir(), f"character-{os.environ['SCENARIOS']}.xml"

    def add_mesh(self, vertices: Any, triangles: Any, **changes: Any) -> None:
        mesh = gymapi.TriangleMeshParams()
        mesh.nb_vertices, mesh.nb_triangles = vertices.size // 3, triangles.size // 3
        for name, value in changes.items():
            setattr(mesh, name, value)
        self.gym.add_triangle_mesh(self.sim, vertices, triangles, mesh)

    def add_actor(self, env: Any = None, group: int | None = None) -> int:
        if env is None:
            env = self.gym.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), 4)
            self.envs.append(env)
        group = len(self.envs) - 1 if group is None else group
        actor = self.gym.create_actor(env, self.asset, gymapi.Transform(), "character", group, 0)
        properties = self.gym.get_actor_dof_properties(env, actor)
        properties["driveMode"] = self.mode
        if self.mode == gymapi.DOF_MODE_EFFORT:
            properties["stiffness"] = properties["damping"] = 0.0
        assert self.gym.set_actor_dof_properties(env, actor, properties)
        return int(actor)

    def prepare(self, at: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> World:
        assert self.gym.prepare_sim(self.sim)
        wrap = gymtorch.wrap_tensor
        self.root = wrap(self.gym.acquire_actor_root_state_tensor(self.sim))
        self.dof = wrap(self.gym.acquire_dof_state_tensor(self.sim)).view(-1, DOFS, 2)
        self.body = wrap(self.gym.acquire_rigid_body_state_tensor(self.sim)).view(-1, BODIES, 13)
        self.contact = wrap(self.gym.acquire_net_contact_force_tensor(self.sim)).view(-1, BODIES, 3)
        self.targets = torch.zeros(len(self.root), DOFS)
        self.all = torch.arange(len(self.root), dtype=torch.int32)
        self.root[:], self.dof[:] = 0.0, 0.0
        self.root[:, :3], self.root[:, 6] = torch.tensor(at), 1.0
        return self

    def set_root(self, indices: Any = None) -> None:
        self.call("set_actor_root_state_tensor_indexed", self.root, indices)

    def set_dof(self, indices: Any = None) -> None:
        self.call("set_dof_state_tensor_indexed", self.dof, indices)

    def call(self, name: str, values: Any, indices: Any = None) -> None:
        indices = self.all if indices is None else indices
        unwrap = gymtorch.unwrap_tensor
        assert getattr(self.gym, name)(self.sim, unwrap(values), unwrap(indices), len(indices))

    def set_targets(self) -> None:
        assert self.gym.set_dof_position_target_tensor(self.sim, gymtorch.unwrap_tensor(self.targets))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.gym.simulate(self.sim)
            self.gym.fetch_results(self.sim, True)

    def refresh(self) -> None:
        self.gym.refresh_dof_state_tensor(self.sim)
        self.gym.refresh_actor_root_state_tensor(self.sim)
        self.gym.refresh_rigid_body_state_tensor(self.sim)
        self.gym.refresh_net_contact_force_tensor(self.sim)

    def start(self) -> World:
        """Put all characters where the tensors say, and step once."""
        self.set_root()
        self.set_dof()
        self.step()
        return self


# ------------------------------------------------------------------------------------------ names and types


@refused("SimParams has no attribute 'subteps'")
def attribute_of_sim_params() -> None:
    gymapi.SimParams().subteps = 2


@refused("arg1 must be a numpy array of float32, but it is float64")
def double_vertices() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices.astype(np.float64), triangles)


@refused("arg2 must be a numpy array of uint32, but it is int64")
def signed_triangles() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices, triangles.astype(np.int64))


@refused("5 vertices and 2 triangles announced, 4.0 and 2.0 given")
def miscounted_vertices() -> None:
    World(0).add_mesh(*blocks([[0.0]]), nb_vertices=5)


@refused("a level face that looks down")
def mesh_inside_out() -> None:
    vertices, triangles = blocks([[0.0]])
    World(0).add_mesh(vertices, triangles.reshape(-1, 3)[:, ::-1].copy().ravel())


# ------------------------------------------------------------------------------- creating a simulation


@refused("graphics_device must be -1")
def default_graphics_device() -> None:
    gymapi.acquire_gym().create_sim(0, type=gymapi.SIM_PHYSX, params=params())


@refused("up_axis must be UP_AXIS_Z")
def default_up_axis() -> None:
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params(up_axis=gymapi.UP_AXIS_Y))


@refused("use_gpu_pipeline needs params.physx.use_gpu")
def gpu_pipeline_without_gpu() -> None:
    gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params(use_gpu_pipeline=True))


@refused("create_sim was called a second time in this process")
def second_simulation_after_destroy_sim() -> None:
    world = World(1)
    world.gym.destroy_sim(world.sim)
    world.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params())


@works()
def no_cuda_device() -> None:
    gpu = params(use_gpu=True, use_gpu_pipeline=True)
    assert gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, gpu) is None


@works(cuda=4)
def pretended_cuda_device() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "2,3"
    gpu = params(use_gpu=True, use_gpu_pipeline=True)
    assert gymapi.acquire_gym().create_sim(2, -1, gymapi.SIM_PHYSX, gpu) is None
    world = World(1, use_gpu=True, use_gpu_pipeline=True).prepare()
    assert world.gym.acquire_dof_state_tensor(world.sim).device == 0
    world.set_root()
    for _ in range(2):
        world.gym.simulate(world.sim)
    world.refresh()
    assert torch.isfinite(world.root).all()


# ------------------------------------------------------------------------------------------- order of calls


@refused("create_actor after prepare_sim")
def actor_after_prepare() -> None:
    world = World(1).prepare()
    world.add_actor(world.envs[0], group=7)


@refused("acquire_dof_state_tensor before prepare_sim")
def tensor_before_prepare() -> None:
    world = World(1)
    world.gym.acquire_dof_state_tensor(world.sim)


@refused("simulate before prepare_sim")
def simulate_before_prepare() -> None:
    world = World(1)
    world.gym.simulate(world.sim)


@refused("collision group 0, which other actors share")
def shared_collision_group() -> None:
    World(1).add_actor(group=0)


@refused("simulate without fetch_results after the last one")
def simulate_twice_on_the_cpu_pipeline() -> None:
    world = World(1).prepare()
    world.gym.simulate(world.sim)
    world.gym.simulate(world.sim)


@refused("refresh_dof_state_tensor before fetch_results")
def refresh_before_fetch() -> None:
    world = World(1).prepare()
    world.gym.simulate(world.sim)
    world.gym.refresh_dof_state_tensor(world.sim)


@refused("set_actor_root_state_tensor_indexed was called twice")
def set_root_states_twice() -> None:
    world = World(2).prepare()
    world.set_root(world.all[:1])
    world.set_root(world.all[1:])


@refused("set_dof_state_tensor_indexed was called twice")
def set_dof_states_twice() -> None:
    world = World(2).prepare()
    world.set_dof(world.all[:1])
    world.set_dof(world.all[1:])


@refused("set_dof_position_target_tensor was called twice")
def set_targets_twice() -> None:
    world = World(2).prepare()
    world.set_targets()
    world.set_targets()


@refused("refresh_rigid_body_state_tensor after set_dof_state_tensor_indexed .* returns stale data")
def refresh_after_setter() -> None:
    world = World(2).prepare().start()
    world.gym.refresh_dof_state_tensor(world.sim)
    world.set_dof()
    world.gym.refresh_rigid_body_state_tensor(world.sim)


@refused("a call after destroy_sim")
def use_after_destroy() -> None:
    world = World(1).prepare().start()
    world.gym.destroy_sim(world.sim)
    assert torch.isnan(world.root).all()
    world.gym.simulate(world.sim)


# ------------------------------------------------------------------------------------------ tensors passed in


@refused("must be DTYPE_FLOAT32 .* the tensor is DTYPE_INT16|Unsupported Gym tensor dtype torch.float64")
def double_states() -> None:
    world = World(2).prepare()
    world.root = world.root.double()
    world.set_root()


@refused("actor indices must be DTYPE_UINT32 .int32., but the tensor is DTYPE_UINT64")
def long_indices() -> None:
    world = World(2).prepare()
    world.set_root(world.all.long())


@refused("Input tensor must be contiguous")
def states_that_are_not_contiguous() -> None:
    world = World(2).prepare()
    gymtorch.unwrap_tensor(world.dof[..., 0])


@refused("the tensor of all actors has 26 elements, this one has 13")
def states_of_some_actors() -> None:
    world = World(2).prepare()
    world.call("set_actor_root_state_tensor_indexed", world.root[:1].clone(), world.all[:1])


@refused("3 indices announced, 2 given")
def miscounted_indices() -> None:
    world = World(2).prepare()
    unwrap = gymtorch.unwrap_tensor
    world.gym.set_dof_state_tensor_indexed(world.sim, unwrap(world.dof), unwrap(world.all), 3)


@refused("indices must be different and from 0 to 1: .0, 2.")
def index_of_nobody() -> None:
    world = World(2).prepare()
    world.set_dof(torch.tensor([0, 2], dtype=torch.int32))


@refused("indices must be different")
def index_given_twice() -> None:
    world = World(2).prepare()
    world.set_dof(torch.tensor([1, 1], dtype=torch.int32))


@refused("the torch tensor was garbage-collected after unwrap_tensor")
def temporary_indices() -> None:
    world = World(2).prepare()
    indices = torch.tensor([0, 1])
    unwrap = gymtorch.unwrap_tensor
    world.gym.set_dof_state_tensor_indexed(world.sim, unwrap(world.dof), unwrap(indices.to(torch.int32)), 2)


@works()
def view_of_a_living_tensor() -> None:
    world = World(2).prepare()
    assert world.gym.set_dof_position_target_tensor(world.sim, gymtorch.unwrap_tensor(world.targets.view(-1)))


@refused("root states that are not finite")
def state_that_is_not_finite() -> None:
    world = World(2).prepare()
    world.root[1, 2] = float("nan")
    world.set_root()


@refused("not a unit quaternion")
def rotation_of_no_length() -> None:
    world = World(2).prepare()
    world.root[1, 3:7] = 0.0
    world.set_root()


@refused("position targets for a dof whose driveMode is not DOF_MODE_POS")
def targets_without_position_drive() -> None:
    World(2, mode="DOF_MODE_EFFORT").prepare().set_targets()


@refused("actuation forces for a dof whose driveMode is not DOF_MODE_EFFORT")
def forces_with_position_drive() -> None:
    world = World(2).prepare()
    world.gym.set_dof_actuation_force_tensor(world.sim, gymtorch.unwrap_tensor(world.targets))


@refused("DOF_MODE_EFFORT with stiffness or damping")
def forces_and_springs() -> None:
    world = World(1)
    properties = world.gym.get_asset_dof_properties(world.asset)
    properties["driveMode"] = gymapi.DOF_MODE_EFFORT
    world.gym.set_actor_dof_properties(world.envs[0], 0, properties)


# ------------------------------------------------------------------------------------ what tensors hold, and when


@works()
def tensors_change_at_refresh_only() -> None:
    world = World(1).prepare((0.0, 0.0, 3.0)).start()
    assert torch.isnan(world.root).all() and torch.isnan(world.contact).all()
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert torch.isfinite(world.root).all() and torch.isnan(world.dof).all()
    world.step()
    assert torch.isnan(world.root).all()


@works()
def bodies_are_stale_after_a_reset() -> None:
    world = World(2).prepare((0.0, 0.0, 3.0)).start()
    world.refresh()
    before = world.body.clone()
    world.root[1, 2] = 5.0
    world.set_root(world.all[1:])
    world.set_dof(world.all[1:])
    assert torch.isnan(world.body[1]).all() and torch.isnan(world.contact[1]).all()
    assert torch.equal(world.body[0], before[0])
    world.step()
    world.refresh()
    assert abs(world.body[1, 0, 2].item() - 5.0) < 0.01


@works()
def tensors_share_memory_with_torch() -> None:
    world = World(1).prepare((0.0, 0.0, 3.0)).start()
    again = gymtorch.wrap_tensor(world.gym.acquire_actor_root_state_tensor(world.sim))
    world.gym.refresh_actor_root_state_tensor(world.sim)
    assert again.data_ptr() == world.root.data_ptr() and torch.equal(again, world.root)


# ------------------------------------------------------------------------------------------------ running them


def run_scenario(name: str, log: Path) -> str:
    """In a child process: "" or what went wrong."""
    from isaacgym._double.contract import ContractViolation
    from isaacgym._double.settings import SETTINGS

    function, message, settings = SCENARIOS[name]
    for key, value in {"violations": str(log), **settings}.items():
        object.__setattr__(SETTINGS, key, value)
    try:
        function()
    except (ContractViolation, AttributeError) as error:
        if message is None or not re.search(message, str(error)):
            return traceback.format_exc()
        if isinstance(error, ContractViolation) and str(error).split(": ", 1)[1] not in log.read_text():
            return f"not in the log of violations: {error}"
        return ""
    except BaseException:
        return traceback.format_exc()
    return "" if message is None else f"not refused: {message}"


def run_all() -> None:
    """Import the double, then run every scenario in a fork; print outcomes as JSON."""
    global gymapi, gymtorch, torch
    os.environ["SCENARIOS"] = str(os.getpid())
    gymapi, gymtorch = (importlib.import_module(f"isaacgym.{name}") for name in ("gymapi", "gymtorch"))
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    character = Path(*World.file())
    character.write_text(CHARACTER)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SCENARIOS:
            outcome = Path(folder) / name
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                outcome.write_text(run_scenario(name, Path(folder) / f"{name}.log"))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            outcomes[name] = outcome.read_text() if status == 0 else f"died with status {status}"
    character.unlink()
    print(json.dumps(outcomes))


def run_python(code: str, cwd: Path | None = None, timeout: float = 60, **environment: str) -> Any:
    """A fresh Python that finds the double."""
    path = os.pathsep.join([str(DOUBLE), str(REPOSITORY)])
    variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ISAACGYM_DOUBLE_ANY_PYTHON": "1"}
    variables.pop("TORCH_EXTENSIONS_DIR", None)
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        arguments, env={**variables, **environment}, cwd=cwd, timeout=timeout, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    process = run_python(f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')")
    assert process.returncode == 0, process.stderr
    result: dict[str, str] = json.loads(process.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] == "", outcomes[name]


# ----------------------------------------------------------------------------------- imports, ends of processes


def test_refuses_to_be_imported_after_torch() -> None:
    process = run_python("import sys; sys.modules['torch'] = sys; import isaacgym")
    assert "ImportError: PyTorch was imported before isaacgym modules.  Please import torch after" in process.stderr


def test_does_not_import_torch_before_gymtorch() -> None:
    process = run_python("import sys; from isaacgym import gymapi; assert 'torch' not in sys.modules")
    assert process.returncode == 0, process.stderr


def test_refuses_new_python() -> None:
    process = run_python("from isaacgym import gymapi", ISAACGYM_DOUBLE_ANY_PYTHON="0")
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info < (3, 9):
        assert process.returncode == 0, process.stderr
    else:
        expected = f"RuntimeError: No gym module found for the active version of Python ({version})"
        assert expected in process.stderr


# --------------------------------------------------------------------------------------------------- the stubs


def stubs() -> ast.Module | None:
    """isaacgym-stubs, which is no module that Python can find: a folder isaacgym-stubs on the path."""
    for folder in sys.path:
        path = Path(folder or ".") / "isaacgym-stubs" / "gymapi.pyi"
        if path.is_file():
            # Two properties have the name of a keyword.
            return ast.parse(path.read_text().replace("def lambda(", "def lambda_("))
    return None


DESCRIBE = """
    import inspect, json
    from isaacgym import gymapi
    from isaacgym._double.contract import Struct, Enumeration

    def parameters(function):
        kinds = inspect.Parameter
        return [[p.name, p.default is not kinds.empty, p.annotation, p.kind == kinds.POSITIONAL_ONLY]
                for p in inspect.signature(inspect.unwrap(function)).parameters.values()][1:]

    public = {name: value for name, value in vars(gymapi).items() if name[0] != "_"}
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    print(json.dumps({
        "names": sorted(public),
        "structs": {n: sorted(c.fields()) for n, c in classes.items() if issubclass(c, Struct) and c.fields()},
        "members": {n: sorted(c.__members__) for n, c in classes.items() if issubclass(c, Enumeration)},
        "methods": {n: parameters(f) for n, f in vars(gymapi.Gym).items() if n[0] != "_"},
    }))
"""


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    process = run_python(DESCRIBE)
    assert process.returncode == 0, process.stderr
    result: dict[str, Any] = json.loads(process.stdout)
    return result


@pytest.fixture(scope="module")
def stub_tree() -> ast.Module:
    tree = stubs()
    if tree is None:
        pytest.skip("isaacgym-stubs is not installed")
    return tree


def stub_classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def test_every_name_is_in_the_stubs(described: dict[str, Any], stub_tree: ast.Module) -> None:
    names = {node.target.id for node in stub_tree.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    names |= {node.name for node in stub_tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert set(described["names"]) <= names


def test_structs_and_enumerations_are_those_of_the_stubs(described: dict[str, Any], stub_tree: ast.Module) -> None:
    classes = stub_classes(stub_tree)
    for name, fields in {**described["structs"], **described["members"]}.items():
        statements = [node for node in classes[name].body if isinstance(node, ast.AnnAssign)]
        found = {node.target.id for node in statements}  # type: ignore[union-attr]
        found -= {"dtype", "__members__", "__entries"} - ({"dtype"} if name == "Tensor" else set())
        assert set(fields) == found, name


def test_methods_are_those_of_the_stubs(described: dict[str, Any], stub_tree: ast.Module) -> None:
    methods = {node.name: node for node in stub_classes(stub_tree)["Gym"].body if isinstance(node, ast.FunctionDef)}
    for name, ours in described["methods"].items():
        arguments = methods[name].args
        if arguments.vararg is not None:
            # pybind11 had no type for one of them; the docstring states the signature.
            text = ast.get_docstring(methods[name]) or ""
            theirs = re.findall(r"(arg\d)", text.split("->")[0])
            assert [parameter[0] for parameter in ours] == theirs, name
            continue
        theirs_in_full = arguments.args[1:]
        optional = [False] * (len(theirs_in_full) - len(arguments.defaults)) + [True] * len(arguments.defaults)
        expected = [[part.arg, default] for part, default in zip(theirs_in_full, optional)]
        assert [parameter[:2] for parameter in ours] == expected, name
        for parameter, part in zip(ours, theirs_in_full):
            assert parameter[3] == parameter[0].startswith("arg"), f"{name}: arg0, ... have no name for pybind11"
            assert _same_type(parameter[2], part.annotation), f"{name}: {parameter[0]}"


def _same_type(ours: str, theirs: ast.expr | None) -> bool:
    """Whether the double's annotation means that of the stubs."""
    ours = re.sub(r"Optional\[(.*)\]", r"\1", ours)
    names = [node.id for node in ast.walk(theirs) if isinstance(node, ast.Name)] if theirs is not None else ["Any"]
    arrays = {"Float32Array": ["numpy", "float32"], "Uint32Array": ["numpy", "uint32"]}
    expected = arrays.get(ours) or re.findall(r"\w+", ours)
    return sorted(names) == sorted(expected)


if __name__ == "__main__":
    run_all()

"""The records of engines, the choice among them, and that a new one needs nothing but its record."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from parc_ray.errors import InputError
from parc_ray.planning.resources import Resources
from parc_ray.recording.build import build_recorder
from parc_ray.recording.shard import Shard
from parc_ray.recording.shard_motion import ShardMotion
from parc_ray.simulators import engines
from parc_ray.simulators.engine import EngineCheck
from parc_ray.simulators.engine_check import alternative, check_here
from parc_ray.simulators.engines import ENGINES, choose_engine, engine
from parc_ray.simulators.mujoco.engine import MUJOCO
from parc_ray.simulators.mujoco.simulator import MujocoSimulator
from tests.cluster.runs import write_config
from tests.planning.prepared import prepared
from tests.reference import ROOT

ONE, TWO, THREE = (
    replace(MUJOCO, name=name, title=name.title(), needs_cuda=name == "one") for name in ("one", "two", "three")
)


@pytest.fixture
def toys(monkeypatch):
    """Three engines, of which the first runs on CPUs only where it is asked to."""
    monkeypatch.setattr(engines, "ENGINES", (ONE, TWO, THREE))


def failing(*broken):
    """A trial that these engines fail; notes who was tried."""
    tried = []

    def try_out(candidate):
        tried.append(candidate.name)
        return EngineCheck(f"{candidate.title} is broken" if candidate in broken else "", "1.2")

    return try_out, tried


# ------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    "module", ["engines", "engine", "engine_check", *(f"{known.name}.engine" for known in ENGINES)]
)
def test_records_load_neither_torch_nor_an_engine(module):
    code = (
        f"import parc_ray.simulators.{module}, sys; "
        "heavy = {'torch', 'mujoco', 'mujoco_warp', 'isaacgym', 'ovphysx', 'ovstage', 'warp', 'ray'}; "
        "sys.exit(repr(heavy & set(sys.modules) or ''))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), capture_output=True, text=True)
    assert ended.stderr.strip() == "''", ended.stderr


def test_names_are_known_and_distinct():
    assert [known.name for known in ENGINES] == ["isaacgym", "physx", "mujoco_warp", "mujoco"]
    assert all(engine(known.name) is known for known in ENGINES)
    assert len({known.title for known in ENGINES}) == len(ENGINES)
    assert MUJOCO.version and not ENGINES[-1].unavailable_reason(), "the last works everywhere"
    assert replace(MUJOCO, package="no such package").version == ""


@pytest.mark.parametrize("name", ["bullet", "", "auto", "Mujoco", "mujoco warp"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_told(name):
    message = f"simulator: unknown simulator {name!r}; use one of: auto, isaacgym, physx, mujoco_warp, mujoco"
    with pytest.raises(InputError) as refused:
        engine(name)
    assert str(refused.value) == message
    if name != "auto":
        with pytest.raises(InputError, match="unknown simulator"):
            choose_engine(name, ["cpu"], "cpu")


def test_only_an_engines_own_folder_knows_its_name():
    """config/ may: there a name is a key of somebody's YAML. So may character/: MJCF's root element is <mujoco>, and
    doctor/, which tells people about packages and compares with MuJoCo."""
    names = {known.name for known in ENGINES}
    folders = {ROOT / "parc_ray" / "simulators" / name for name in names}
    folders |= {ROOT / "parc_ray" / "config", ROOT / "parc_ray" / "character", ROOT / "parc_ray" / "doctor"}
    found = []
    for path in (ROOT / "parc_ray").rglob("*.py"):
        if folders.isdisjoint(path.parents):
            constants = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            found += [f"{path}:{node.lineno}: {node.value}" for node in constants if node.value in names]
    assert not found


# ------------------------------------------------------------------------------------------- choice


@pytest.mark.parametrize(
    ("device", "broken", "chosen", "tried"),
    [
        ("cuda:0", (), ONE, ["one"]),
        ("cpu", (), TWO, ["two"]),
        ("cuda:0", (ONE,), TWO, ["one", "two"]),
        ("cuda:0", (ONE, TWO), THREE, ["one", "two", "three"]),
        ("cpu", (ONE, TWO), THREE, ["two", "three"]),
    ],
)
def test_auto_takes_the_best_that_works_and_says_why_not_a_better_one(toys, device, broken, chosen, tried):
    try_out, seen = failing(*broken)
    choice = choose_engine("auto", ["cuda"], device, try_out)
    assert choice.engine is chosen and seen == tried and choice.engine_check.version == "1.2"
    assert choice.passed_over == tuple(f"{name.title()} is broken" for name in tried[:-1])
    because = "; and because ".join(choice.passed_over)
    assert choice.notice == (f"simulator: {chosen.name}, because {because}" if because else "")


@pytest.mark.parametrize(
    ("trained_with", "broken", "chosen", "told"),
    [
        ("three", (), THREE, ""),
        ("three", (THREE,), ONE, "simulator: one, because Three is broken. The tracker was trained with three, which"),
        ("two", (), ONE, ""),
        ("", (), ONE, ""),
    ],
)
def test_auto_prefers_the_physics_of_the_training_and_says_if_it_takes_another(
    monkeypatch, trained_with, broken, chosen, told
):
    monkeypatch.setattr(engines, "ENGINES", (ONE, TWO, replace(THREE, physics="another")))
    broken = tuple(replace(name, physics="another") if name is THREE else name for name in broken)
    try_out, _ = failing(*broken)
    choice = choose_engine("auto", ["cuda"], "cuda:0", try_out, trained_with)
    assert choice.engine.name == chosen.name
    assert choice.notice.startswith(told) and bool(choice.notice) == bool(told)
    assert choose_engine("two", ["cuda"], "cuda:0", try_out, "three").notice == "", "asked for by name"


def test_auto_does_not_try_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", (replace(TWO, unavailable_reason=lambda: "Two is not installed"), THREE))
    try_out, seen = failing()
    assert choose_engine("auto", ["cpu"], "cpu", try_out).engine is THREE and seen == ["three"]


def test_where_nothing_works_all_reasons_are_told(toys):
    with pytest.raises(InputError, match="none works here: One is broken; Two is broken; Three is broken"):
        choose_engine("auto", ["cuda"], "cuda:0", failing(ONE, TWO, THREE)[0])


def test_an_engine_asked_for_by_name_is_taken_or_refused(toys, monkeypatch):
    assert choose_engine("three", ["cpu"], "cpu", failing(ONE, TWO)[0]).engine is THREE
    with pytest.raises(InputError, match=r"^Two is broken$"):
        choose_engine("two", ["cpu"], "cpu", failing(TWO)[0])
    with pytest.raises(InputError, match=r"^simulator: one needs a CUDA device, and Ray has none; use device: cpu$"):
        choose_engine("one", ["cuda"], "cpu")
    assert choose_engine("one", ["cpu"], "cpu").engine is ONE
    monkeypatch.setattr(engines, "ENGINES", (replace(TWO, unavailable_reason=lambda: "Two is not installed"), THREE))
    with pytest.raises(InputError, match=r"^simulator: Two is not installed$"):
        choose_engine("two", ["cpu"], "cpu")


def test_messages_suggest_the_engine_that_works_everywhere(toys):
    assert alternative() == "or set simulator: three"


# ------------------------------------------------------------------------------------------- a new engine


class ToySimulator(MujocoSimulator):
    """MuJoCo by another name."""


def fail_on_cuda(device: str) -> str:
    if device != "cpu":
        raise InputError(f"simulator: Toy does not work on {device}")
    return "7.0"


TOY = replace(
    MUJOCO,
    name="toy",
    title="Toy",
    package="parc-ray",
    build=ToySimulator,
    try_out=fail_on_cuda,
    shares_world=True,
    actor_bytes=1 << 30,
    max_envs={"cpu": 2, "cuda": 3},
    unsupported_reason=lambda tile: "it is too long" if max(tile.hf.shape) > 20 else "",
)


def test_an_engine_is_tried_out_in_this_process():
    trial = check_here(TOY, "cpu")
    assert (trial.problem, trial.version, trial.devices) == ("", "7.0", {})
    assert trial.python == sys.version.split()[0] and trial.torch
    assert check_here(TOY, "cuda:0").problem == "simulator: Toy does not work on cuda:0"
    order = []
    first = replace(TOY, import_first=order.append, try_out=lambda device: order.append("tried") or "7.0")
    assert check_here(first, "cpu").version == "7.0" and order == ["cpu", "tried"]


def test_a_new_engine_is_its_record(tmp_path: Path, toy_motions: Path, monkeypatch):
    """It is chosen, bounds envs and memory, refuses motions, and is built, with no change anywhere else."""
    monkeypatch.setattr(engines, "ENGINES", (TOY, MUJOCO))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    here = Resources(((2, 0),))
    path = write_config(tmp_path, [toy_motions], None, simulator="auto")
    run = prepared(path, here, lambda engine, placement: check_here(engine, placement.device))
    plan, files = run.plan, run.inputs.files
    assert plan is not None and files.engine is TOY and run.engine_check.version == "7.0" and not plan.placement.notices
    assert plan.envs == [2] and plan.actor_bytes > 1 << 30
    assert [motion.reason for motion in plan.inputs.dataset.invalid] == ["it is too long"]
    motions = [ShardMotion(entry.name, entry.path, Path(entry.path).read_bytes(), 0) for entry in plan.shards[0]]
    recorder = build_recorder(files, Shard(0, tuple(motions)), 1, "cpu")
    assert isinstance(recorder.environment.simulator, ToySimulator)
    results = []
    while not recorder.done:
        results += recorder.advance()
    assert sorted({result.attempt.motion for result in results}) == sorted(
        entry.name for entry in plan.inputs.dataset.entries
    )
    recorder.environment.simulator.close()


@pytest.fixture
def toy_motions(tmp_path, skeleton) -> Path:
    """Three short motions and one that needs a long terrain."""
    from parc_ray.demo.generator import MotionSpec, generate_motion
    from parc_ray.motions.motion_file import motion_file_bytes

    folder = tmp_path / "motions"
    folder.mkdir()
    for name, kind, seconds in (("a", "idle", 1.0), ("b", "idle", 1.0), ("c", "idle", 1.0), ("long", "walk", 20.0)):
        motion = generate_motion(MotionSpec(kind, 3, seconds, 0.0), skeleton, name)
        (folder / f"{name}.pkl").write_bytes(motion_file_bytes(motion))
    return folder

"""Feeds broken and hostile files to the readers, and what they accept to everything that happens before a simulation.

    python tests/fuzz.py --count 20000 --seed 1 --targets motions
    python tests/fuzz.py --seed 1 --first 1234 --count 1 --targets motions    # one case again

Motions of both generations, their misc parts, checkpoints, YAML files and characters are mutated: hostile values,
damaged pickle operations, damaged bytes, programs. A file must be refused with an InputError, or be read; a motion that
is read goes through dataset, plan, library, terrain, simulator and a few steps. Every case has a limit of time and
memory. An audit hook notices whatever opens, starts or executes something. Prints what has become of the cases; exits
with 1, and keeps the files under --keep, if one has crashed, hung or executed anything.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import pickle
import pickletools
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, NamedTuple

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "parc_ray" / "demo" / "files"
INSTALLED = (sys.prefix, sys.base_prefix, str(ROOT / "parc_ray"), str(Path(__file__).resolve()))
PROOF = "parc_ray_fuzz_proof"
"""A folder of this name appears in the working directory if an attack has worked"""
CASE_SECONDS = 60.0
MEMORY = 3 << 30
"""bytes of address space that the cases may take"""


class Case(NamedTuple):
    """A file to read; its suffix selects the reader."""

    name: str
    content: bytes


# ------------------------------------------------------------------------------------------------ mutations


class Attack:
    """An object that pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class SubTerrain:
    """PARC's terrain class, pickled under its name there, which cannot be imported here."""


SubTerrain.__module__ = "parc.util.terrain_util"
ATTACKS = (
    lambda: Attack(os.mkdir, PROOF),
    lambda: Attack(os.system, f"mkdir {PROOF}"),
    lambda: Attack(exec, f"import os; os.mkdir({PROOF!r})"),
    lambda: Attack(eval, f"__import__('os').mkdir({PROOF!r})"),
    lambda: Attack(getattr, "x", "upper"),
    lambda: Attack(np.load, PROOF, None, True),
    lambda: Attack(torch.load, PROOF),
)
PROGRAMS = (
    f"cos\nmkdir\n(X{struct.pack('<I', len(PROOF)).decode()}{PROOF}tR".encode(),
    f"(S'mkdir {PROOF}'\nios\nsystem\n".encode(),
    f"\x8c\x02os\x8c\x05mkdir\x93\x8c{chr(len(PROOF))}{PROOF}\x85R".encode("latin-1"),
    b"cbuiltins\ngetattr\n", b"\x82\x01", b"Pname\n", b"(" * 2000, b"]" * 5000, b")" + b"\x85" * 5000,
    b"h\x00", b"\x8a\xff" + b"\x7f" * 255, b"I" + b"9" * 5000 + b"\n", b"}", b"e", b"u", b"s", b"R", b"b", b"0", b"2",
)  # fmt: skip


def hostile(rng: random.Random, old: Any = None) -> Any:
    """Return a value that no field expects, or the old one in a wrong form."""
    if isinstance(old, np.ndarray) and old.dtype.kind == "f" and rng.random() < 0.6:
        return hostile_array(rng, old)
    return rng.choice([
        None, True, 0, -1, 1, 2**63, 10**400, 0.0, -0.0, 1e-300, 1e308, float("nan"), float("inf"), "", "x" * 3000,
        "30", "CLAMP", "WRAP", "\ud800", "\x1b[2J", b"", b"\x80\x04N.", (), [], {}, [[1.0]], {"a": {"b": []}},
        np.float32("nan"), np.zeros(()), np.zeros((0, 3)), np.zeros((2**20, 0)), np.zeros(5), np.zeros((3, 3), "U4"),
        np.array([1 + 2j]), np.array([None]), np.zeros(2, "M8[s]"), np.zeros(2, [("x", "f4")]), nested(200),
        torch.zeros(2, 3), Path("x"), frozenset({1}), rng.choice(ATTACKS)(),
    ])  # fmt: skip


def hostile_array(rng: random.Random, old: np.ndarray) -> np.ndarray:
    kind = rng.randrange(12)
    new = old.copy()
    with np.errstate(all="ignore"):
        if kind == 0:
            return new.astype(rng.choice(["f2", "f8", ">f4", "i1", "u8", "?", "c8"]))
        if kind == 1:
            return np.asfortranarray(new)
        if kind == 2:
            return new[: rng.randrange(len(new) + 1)] if new.ndim else new[None]
        if kind == 3:
            return np.concatenate([new] * rng.choice([2, 3, 50])) if new.ndim else new
        if kind == 4:
            return new.reshape(-1)
        if kind == 5:
            return new[None]
        if kind == 6:
            return new.T
        if kind in (7, 8) and new.size and new.dtype.kind == "f":
            values = [np.nan, np.inf, -np.inf, 3e38, 1e-45, -1e30, 99999.0]
            new.reshape(-1)[rng.randrange(new.size)] = rng.choice(values)
            return new
        return new * new.dtype.type(10.0 ** rng.uniform(-40, 38)) if new.dtype.kind == "f" else new


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def odd_but_sound(rng: random.Random, motion: dict[str, Any], terrain: dict[str, Any]) -> None:
    """Change a motion towards and beyond the valid bounds, keeping its parts consistent."""
    frames = rng.choice([1, 2, 3, 10, 40])
    for name in ("root_pos", "root_rot", "joint_rot", "body_contacts"):
        motion[name] = motion[name][:frames]
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(10)
        if kind == 0:
            motion["fps"] = 10.0 ** rng.uniform(-7, 7)
        elif kind == 1:
            terrain["dx"] = 10.0 ** rng.uniform(-4, 4)
        elif kind == 2:
            motion["root_pos"] = (motion["root_pos"] * np.float32(10.0 ** rng.uniform(-3, 7))).astype(np.float32)
        elif kind == 3:
            terrain["hf"] = (terrain["hf"] + np.float32(10.0 ** rng.uniform(-3, 7))).astype(np.float32)
        elif kind == 4:
            terrain["min_point"] = np.array([10.0 ** rng.uniform(0, 6), -(10.0 ** rng.uniform(0, 6))], np.float32)
        elif kind == 5:
            motion["loop_mode"] = "WRAP"
        elif kind == 6:
            motion["body_contacts"] = motion["body_contacts"] * np.float32(10.0 ** rng.uniform(-3, 38))
        else:
            shape = rng.choice([(1, 1), (1, 300), (60, 60), (3, 2), (250, 250)])
            noise = np.random.default_rng(rng.randrange(2**32)).normal(size=shape).astype(np.float32)
            rough = {7: noise, 8: np.zeros(shape, np.float32), 9: np.round(noise, 1)}[kind]
            terrain.update(hf=rough, hf_maxmin=np.stack([rough, rough], axis=-1))


def damaged_operations(rng: random.Random, content: bytes) -> bytes:
    """Return a pickle with operations removed, repeated, exchanged or inserted."""
    try:
        starts = [position or 0 for _, _, position in pickletools.genops(content)] + [len(content)]
    except Exception:
        return damaged_bytes(rng, content)
    pieces = [content[a:b] for a, b in zip(starts, starts[1:])]
    for _ in range(rng.randrange(1, 5)):
        a, b = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        kind = rng.randrange(5)
        if kind == 0:
            pieces[a] = b""
        elif kind == 1:
            pieces[a] += pieces[a] * rng.choice([1, 2, 300])
        elif kind == 2:
            pieces[a], pieces[b] = pieces[b], pieces[a]
        elif kind == 3:
            pieces.insert(a, rng.choice(PROGRAMS))
        else:
            pieces[a] = rng.choice(pickletools.opcodes).code.encode("latin-1") + pieces[a][1:]
    return b"".join(pieces)[: 1 << 22]


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 50])):
        # Most of a file is numbers; its structure lies at its beginning and, in archives, at its end.
        span = rng.choice([len(data), 400, 400])
        place = rng.randrange(min(span, len(data)) or 1)
        place = len(data) - 1 - place if rng.random() < 0.2 else place
        kind = rng.randrange(6)
        if kind <= 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2 and data:
            data[place] = rng.randrange(256)
        elif kind == 3:
            data[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 8])))
        elif kind == 4:
            del data[place : place + rng.choice([1, 4, 100])]
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


# --------------------------------------------------------------------------------------------------- cases


class Samples:
    """Valid files to start from."""

    def __init__(self) -> None:
        from parc_ray.character.skeleton import load_skeleton
        from parc_ray.demo.configuration import write_configuration
        from parc_ray.demo.generator import MotionSpec, generate_motion

        self.skeleton = load_skeleton(DEMO / "humanoid.xml")
        kinds = (("walk", 1, 1.5), ("idle", 2, 1.0), ("turn", 3, 1.2))
        self.motions = [generate_motion(MotionSpec(kind, s, t), self.skeleton, kind) for kind, s, t in kinds]  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            write_configuration(Path("motions"), Path(folder))
            paths = [*DEMO.glob("*.yaml"), *Path(folder).glob("*.yaml")]
            self.texts = {path.name: path.read_text() for path in paths}
        self.texts["motions.yaml"] = yaml.safe_dump({"motions": [{"file": "a.pkl", "weight": 1.0}] * 3})
        self.character = (DEMO / "humanoid.xml").read_text()
        self.checkpoint = (DEMO / "model.pt").read_bytes()
        for name in ("parc", "parc.util", "parc.util.terrain_util"):
            sys.modules[name] = ModuleType(name)
        sys.modules["parc.util.terrain_util"].SubTerrain = SubTerrain  # type: ignore[attr-defined]

    def parts(self, rng: random.Random) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        motion = rng.choice(self.motions)
        data = {"root_pos": motion.root_pos, "root_rot": motion.root_rot, "joint_rot": motion.joint_rot,
                "body_contacts": motion.contacts, "fps": 30, "loop_mode": motion.loop_mode}  # fmt: skip
        terrain = {"hf": motion.terrain.hf, "hf_maxmin": motion.terrain.hf_maxmin,
                   "min_point": motion.terrain.min_point, "dx": motion.terrain.dx}  # fmt: skip
        misc = {"recording": {"seed": 0, "quality": {"root_error": 0.1}}, "obs": motion.root_pos, "names": ["a", "b"]}
        return data, terrain, misc


def motion_case(rng: random.Random, samples: Samples) -> Case:
    parts = list(samples.parts(rng))
    form = rng.choice([current_pickle] * 6 + [legacy_pickle] * 3 + [mimickit_pickle] * 2)
    kind = rng.choice(["value", "value", "odd", "odd", "operations", "operations", "bytes", "attack"])
    if kind == "odd":
        odd_but_sound(rng, parts[0], parts[1])
    for _ in range(rng.choice([1, 1, 2]) if kind == "value" else 0):
        part = parts[rng.choice([0, 0, 1])]
        name = rng.choice(sorted(part))
        if rng.random() < 0.1:
            del part[name]
        else:
            part[name] = hostile(rng, part[name])
    if kind == "attack":
        parts[rng.randrange(3)]["more"] = rng.choice(ATTACKS)()
    protocol = rng.choice([2, 3, 4, 5])
    content = form(rng, parts, protocol, kind == "operations")
    if kind == "operations" and (form is not current_pickle or rng.random() < 0.3):
        content = damaged_operations(rng, content)
    if kind == "bytes":
        content = damaged_bytes(rng, content)
    return Case("case.pkl", content)


def current_pickle(rng: random.Random, parts: list[dict[str, Any]], protocol: int, damage: bool) -> bytes:
    pickled = [pickle.dumps(part, protocol) for part in parts]
    if damage:
        victim = rng.randrange(3)
        pickled[victim] = damaged_operations(rng, pickled[victim])
    names = ("motion_data", "terrain_data", "misc_data")
    return pickle.dumps(dict(zip(names, pickled)), protocol)


def legacy_pickle(rng: random.Random, parts: list[dict[str, Any]], protocol: int, damage: bool) -> bytes:
    data, terrain, misc = (dict(part) for part in parts)
    state = SubTerrain()
    dx = terrain.get("dx")
    terrain["dxdy"] = np.array([dx, dx], dtype=np.float32) if isinstance(dx, float) else dx
    state.__dict__.update(terrain)
    positions = data.pop("root_pos", None)
    frames = positions
    if isinstance(positions, np.ndarray) and positions.ndim == 2 and positions.dtype.kind == "f":
        frames = np.zeros((len(positions), 34), dtype=np.float32)
        frames[:, : min(3, positions.shape[1])] = positions[:, :3]
    contacts = data.pop("body_contacts", None)
    keys = {"fps": data.get("fps"), "loop_mode": data.get("loop_mode")}
    return pickle.dumps({**keys, "frames": frames, "contacts": contacts, "terrain": state, **misc}, protocol)


def mimickit_pickle(rng: random.Random, parts: list[dict[str, Any]], protocol: int, damage: bool) -> bytes:
    data, _, misc = (dict(part) for part in parts)
    frames = data.get("root_pos")
    if isinstance(frames, np.ndarray) and frames.ndim == 2 and frames.dtype.kind == "f":
        padded = np.zeros((len(frames), 34), dtype=np.float32)
        padded[:, : min(3, frames.shape[1])] = frames[:, :3]
        frames = padded.tolist() if rng.random() < 0.7 else padded
    mode = data.get("loop_mode")
    number = {"CLAMP": 0, "WRAP": 1}.get(mode, 2) if isinstance(mode, str) else mode
    keys = {"fps": data.get("fps"), "loop_mode": number, "frames": frames}
    if rng.random() < 0.3:
        keys["contacts"] = data.get("body_contacts")
    return pickle.dumps({**keys, **misc}, protocol)


def misc_case(rng: random.Random, samples: Samples) -> Case:
    parts = list(samples.parts(rng))
    for _ in range(rng.randrange(3)):
        parts[2][rng.choice(["obs", "recording", "more", "x\n"])] = hostile(rng, parts[2]["obs"])
    content = current_pickle(rng, parts, rng.choice([2, 3, 4, 5]), False)
    if rng.random() < 0.7:
        outer = pickle.loads(content)
        outer["misc_data"] = rng.choice([damaged_operations, damaged_bytes])(rng, outer["misc_data"])
        content = pickle.dumps(outer)
    return Case("case.misc", content)


def checkpoint_case(rng: random.Random, samples: Samples) -> Case:
    kind = rng.randrange(6)
    if kind == 0:
        return Case("case.pt", damaged_bytes(rng, samples.checkpoint))
    if kind == 1:
        state = torch.load(io.BytesIO(samples.checkpoint), weights_only=True)
        name = rng.choice(sorted(state))
        state[name] = rng.choice([
            torch.zeros(3), state[name].double(), state[name].half(), state[name] * float("nan"), state[name] * 1e38,
            state[name].t(), state[name][:1].expand(state[name].shape), state[name] * 0, 1.0, None,
            Attack(os.mkdir, PROOF),
        ])  # fmt: skip
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=rng.random() < 0.8)
        return Case("case.pt", buffer.getvalue())
    source, buffer = zipfile.ZipFile(io.BytesIO(samples.checkpoint)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.15 else zipfile.ZIP_STORED) as archive:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl") and kind != 5:
                content = rng.choice([damaged_operations, damaged_operations, damaged_bytes])(rng, content)
            elif rng.random() < 0.03:
                content = content[: rng.randrange(len(content) + 1)]
            if rng.random() < 0.01:
                name = rng.choice(["../x", "/etc/x", f"{name}x", "archive/data/\x00"])
            if rng.random() > 0.01:
                archive.writestr(name, content)
    return Case("case.pt", buffer.getvalue())


YAML_VALUES = (
    ".nan", ".inf", "-1", "0", "1e308", "9" * 3000, "0x" + "f" * 3000, "1:59:59:59", "~", "''", "'a/b'", "'../..'",
    '"\\0"', '"\\e[2J"', "2024-02-30", "!!timestamp x", "!!int x", "!!bool x", "!!float ''", "!!binary ====",
    "!!set {a}", "!!omap [a: 1]", "!!python/object/apply:os.mkdir [x]", "!!python/name:os.system", "*a", "*none",
    "&a [*a]", "[*a, *a]", "&a {<<: *a}", "{<<: [*a, *a], b: 1}", "{? [a] : b}", "[" * 60, "[" * 100000, "{a: " * 3000,
    "|\n  x", "x" * 20000, "\t", "\ufeff", "é", "\u2028", "{a: 1, a: 2}", "&b [1, 2, 3]", "[*b, *b, *b]", "[]", "{}",
    "$DATA_DIR/${DATA_DIR}", "~root/x", "=", "<<", "true", "cuda:0", "1e-5", "1000000000000", "%", "@", "`",
)  # fmt: skip
YAML_LINES = ("---", "...", "%YAML 1.1", "a: &a {b: 1}")


def yaml_case(rng: random.Random, samples: Samples) -> Case:
    name = rng.choice(sorted(samples.texts))
    lines = samples.texts[name].splitlines()
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(len(lines))
        key, colon, _ = lines[place].partition(":")
        kind = rng.randrange(5)
        if kind <= 1 and colon:
            lines[place] = f"{key}: {rng.choice(YAML_VALUES)}"
        elif kind == 2:
            lines.insert(place, rng.choice([lines[place], f"x: {rng.choice(YAML_VALUES)}", *YAML_LINES]))
        elif kind == 3:
            lines[place] = " " * rng.randrange(9) + lines[place].strip()
        else:
            del lines[place]
            lines = lines or [""]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return Case(f"case.{name}", damaged_bytes(rng, content) if rng.random() < 0.2 else content)


XML_VALUES = (
    "", " ", "nan", "inf", "1e400", "-1", "0", "1e300", "0 0 0", "0 0 0 0", "1 2 3 4 5 6 7", "x", "0 0", "mesh", "free",
    "true", "9" * 400, "&lt;", "1e-300", "main",
)  # fmt: skip
XML_ATTRIBUTES = ('fusestatic="true"', 'type="ball"', 'class="none"', 'x="1"', "")
XML_LINES = (
    "", "<include file='/etc/passwd'/>", "<frame>", "<body name='x'>" * 3000, '<!DOCTYPE a [<!ENTITY b "b">]>',
    "<freejoint/>", "<geom/>", "</body>", "<default>" * 2000,
)  # fmt: skip


def character_case(rng: random.Random, samples: Samples) -> Case:
    text = samples.character
    for _ in range(rng.choice([1, 1, 2, 5])):
        match = rng.choice(list(re.finditer(r'(\w+)="([^"]*)"', text)))
        kind = rng.randrange(8)
        if kind <= 4:
            text = text[: match.start(2)] + rng.choice(XML_VALUES) + text[match.end(2) :]
        elif kind == 5:
            text = text[: match.start()] + rng.choice(XML_ATTRIBUTES) + text[match.end() :]
        elif kind == 6:
            lines = text.splitlines()
            place = rng.randrange(len(lines))
            lines[place] = rng.choice([lines[place] * 2, *XML_LINES])
            text = "\n".join(lines)
        else:
            return Case("case.xml", damaged_bytes(rng, text.encode()))
    return Case("case.xml", text.encode())


TARGETS: dict[str, Callable[[random.Random, Samples], Case]] = {
    "motions": motion_case,
    "misc": misc_case,
    "checkpoints": checkpoint_case,
    "yaml": yaml_case,
    "characters": character_case,
}


# ------------------------------------------------------------------------------------------------- readers


class Readers:
    """parc_ray's readers, by suffix. They raise InputError for a rejected file."""

    def __init__(self, samples: Samples) -> None:
        from parc_ray.config.dataset import DatasetConfig
        from parc_ray.config.loading import check_config, load_config
        from parc_ray.config.record import RecordConfig
        from parc_ray.planning.inputs import require_simulable
        from parc_ray.recording.run_files import RunFiles
        from parc_ray.trackers.family import TrackerFiles
        from parc_ray.trackers.parc.config import AgentConfig, ParcEnvironmentFile

        self.require_simulable = require_simulable
        self.skeleton = samples.skeleton
        self.models = {"phys_record.yaml": RecordConfig, "dm_env.yaml": ParcEnvironmentFile,
                       "agent_config.yaml": AgentConfig, "create_dataset_config.yaml": DatasetConfig}  # fmt: skip
        agent = load_config(DEMO / "agent_config.yaml", AgentConfig, None)
        environment = load_config(DEMO / "dm_env.yaml", ParcEnvironmentFile, None)
        files = {"output_dir": "out", "model_file": "model.pt", "env_file": "e", "agent_file": "a", "dataset_file": "d"}
        config = check_config({**files, "acceptance": "none"}, RecordConfig, "fuzz")
        tracker = TrackerFiles(environment, {}, agent, samples.checkpoint)
        self.files = RunFiles(config, "mujoco", tracker, samples.character, "humanoid.xml")

    def read(self, path: Path) -> None:
        if path.suffix == ".pkl":
            self._motion(path)
        elif path.suffix == ".misc":
            from parc_ray.motions.motion_file import read_misc

            repr(list(read_misc(path.read_bytes(), str(path))))
        elif path.suffix == ".pt":
            tracker = replace(self.files.tracker, checkpoint=path.read_bytes())
            config = self.files.config.model_copy(update={"model_file": path})
            replace(self.files, config=config, tracker=tracker).build_tracker(self.skeleton, torch.device("cpu"))
        elif path.suffix == ".xml":
            self._character(path)
        else:
            self._yaml(path)

    def _motion(self, path: Path) -> None:
        from parc_ray.motions.ground_mesh import ground_mesh
        from parc_ray.motions.motion_file import parse_motion, read_misc
        from parc_ray.motions.scanning import load_dataset
        from parc_ray.recording.build import build_recorder
        from parc_ray.recording.reachable_tile import tile_of
        from parc_ray.recording.shard import Shard
        from parc_ray.recording.shard_motion import ShardMotion

        environment = self.files.environment.env
        load_dataset(
            path,
            self.skeleton,
            unsupported_reason=lambda motion: self.files.engine.unsupported_reason(tile_of(motion, environment)),
        )
        content = path.read_bytes()
        motion = parse_motion(content, "case", self.skeleton, str(path))
        ground_mesh(tile_of(motion, environment), 5.0)
        recorder = build_recorder(self.files, Shard(0, (ShardMotion("case", str(path), content, 0),)), 1, "cpu")
        try:
            for _ in range(4):
                if recorder.done:
                    break
                for result in recorder.advance():
                    if result.recording is not None:
                        parse_motion(result.recording, "again", self.skeleton, "recording")
        finally:
            recorder.environment.simulator.close()
        read_misc(content, str(path))

    def _character(self, path: Path) -> None:
        from parc_ray.character.skeleton import load_skeleton

        text = path.read_text(encoding="utf-8", errors="replace")
        skeleton = load_skeleton(path)
        self.require_simulable(replace(self.files, character=text, character_source=str(path)), skeleton)

    def _yaml(self, path: Path) -> None:
        from parc_ray.config.loading import load_config
        from parc_ray.errors import InputError
        from parc_ray.motions.scanning import _listed_motions
        from parc_ray.trackers.parc.config import ParcEnvironmentFile
        from parc_ray.trackers.parc.observer import ParcObserver
        from parc_ray.trackers.parc.termination import ParcTermination

        name = path.name.split(".", 1)[1]
        if name == "motions.yaml":
            _listed_motions(path)
            return
        config = load_config(path, self.models[name], None)
        if isinstance(config, ParcEnvironmentFile):
            try:
                ParcObserver(config.env, self.skeleton, torch.device("cpu"))
                ParcTermination(config.env, self.skeleton, torch.device("cpu"))
            except InputError as error:
                raise InputError(f"{path}: {error}") from None


# -------------------------------------------------------------------------------------------------- worker


class Watch:
    """An audit hook that records forbidden actions of readers."""

    HARMLESS = ("object.", "sys._getframe", "array.", "builtins.id", "gc.", "cpython.", "code.__new__", "marshal.")

    def __init__(self) -> None:
        self.allowed: str | None = None
        """the file being read; None: not watching"""
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: Any) -> None:
        if self.allowed is None or event.startswith(self.HARMLESS):
            return
        text = " ".join(str(getattr(argument, "co_filename", argument))[:200] for argument in arguments)
        if event == "open" and arguments[1] in ("r", "rb", None) and self._known(str(arguments[0]), arguments[2]):
            return
        if event == "os.putenv" and "CUDA_VISIBLE_DEVICES" in text:
            return  # an actor without GPUs hides them from torch
        if event in ("import", "exec", "compile", "os.listdir", "os.scandir") and self._installed(event, text):
            return
        self.seen.append(f"{event} {text}")

    def _known(self, path: str, flags: Any) -> bool:
        reading = not isinstance(flags, int) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) == 0
        return reading and (path == self.allowed or path.isdigit() or path.startswith(INSTALLED))

    @staticmethod
    def _installed(event: str, text: str) -> bool:
        """Modules that libraries import on first use."""
        roots = ("torch", "numpy", "mujoco", "encodings", "yaml", "pydantic", "zipfile", "parc_ray", "unicodedata")
        known = any(folder in text for folder in (*INSTALLED, "<frozen"))
        return known or (event == "import" and text.startswith(roots))


def work(seed: int, targets: list[str], first: int, last: int, connection: Any, folder: str) -> None:
    """Try cases and report before and after each one. Runs in a separate process."""
    os.chdir(folder)
    torch.set_num_threads(1)
    samples = Samples()
    readers = Readers(samples)
    from parc_ray.errors import InputError
    from parc_ray.motions.motion_file import motion_file_bytes

    sound = Path(folder) / "case.pkl"
    sound.write_bytes(motion_file_bytes(samples.motions[0]))
    readers.read(sound)  # what libraries import on first use is imported now
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    watch = Watch()
    for index in range(first, last):
        target = targets[index % len(targets)]
        case = make_case(seed, index, target, samples)
        path = Path(folder) / case.name
        path.write_bytes(case.content)
        connection.send(("begin", index, target))
        outcome, detail = "accepted", ""
        watch.allowed, watch.seen = str(path), []
        try:
            readers.read(path)
        except InputError as error:
            outcome, detail = "refused", str(error)
            if "\x1b" in detail or "\0" in detail or str(path) not in detail:
                outcome = "crash"
        except BaseException:
            watch.allowed = None
            outcome, detail = "crash", traceback.format_exc()
        watch.allowed = None
        if watch.seen or (Path(folder) / PROOF).exists():
            outcome, detail = "execution", "; ".join(watch.seen)
        connection.send(("end", index, outcome, detail))
    connection.send(("done", last, "", ""))


def make_case(seed: int, index: int, target: str, samples: Samples) -> Case:
    return TARGETS[target](random.Random(f"{seed} {target} {index}"), samples)


# -------------------------------------------------------------------------------------------------- parent


def fuzz(seed: int, targets: list[str], first: int, count: int, keep: Path) -> dict[str, Counter]:
    """Return outcomes by target; write files of bad cases, with reasons, to `keep`."""
    outcomes: dict[str, Counter] = {target: Counter() for target in targets}
    index, last = first, first + count
    context = multiprocessing.get_context("spawn")
    while index < last:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(seed, targets, index, last, theirs, folder))
            process.start()
            theirs.close()
            running: tuple[int, str] | None = None
            while index < last:
                try:
                    message = ours.recv() if ours.poll(CASE_SECONDS) else ("hang",)
                except EOFError:
                    message = ("crash",)
                if message[0] == "done":
                    break
                if message[0] == "begin":
                    running = (message[1], message[2])
                    continue
                target = running[1] if running else "start"
                outcome, detail = (
                    (message[2], message[3]) if message[0] == "end" else (message[0], "the process is gone")
                )
                if running is None:
                    raise SystemExit(f"the worker did not start: {message}")
                outcomes[target][outcome] += 1
                index = running[0] + 1
                if outcome not in ("accepted", "refused"):
                    report(seed, running[0], target, outcome, detail, Path(folder), keep)
                if message[0] != "end":
                    break
            process.kill()
            process.join()
    return outcomes


def report(seed: int, index: int, target: str, outcome: str, detail: str, folder: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("case.*"):
        if time.time() - path.stat().st_mtime < 2 * CASE_SECONDS:
            (keep / f"{target}_{index}_{path.name}").write_bytes(path.read_bytes())
    (keep / f"{target}_{index}.txt").write_text(
        f"--seed {seed} --first {index}: {outcome}\n{detail}\n", errors="replace"
    )
    print(f"{outcome}: {target} {index}: {detail.strip().splitlines()[-1:]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Feed broken and hostile files to parc_ray.")
    parser.add_argument("--count", type=int, default=1000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--targets", nargs="+", choices=sorted(TARGETS), default=sorted(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder for files of bad cases")
    options = parser.parse_args()
    start = time.monotonic()
    outcomes = fuzz(options.seed, options.targets, options.first, options.count, options.keep)
    for target, counts in outcomes.items():
        print(f"{target}: " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    print(f"{sum(map(len, [list(c.elements()) for c in outcomes.values()]))} files in {time.monotonic() - start:.0f} s")
    bad = any(set(counts) - {"accepted", "refused"} for counts in outcomes.values())
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

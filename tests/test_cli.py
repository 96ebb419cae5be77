"""The command line: what it prints, what it writes, how it ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
import typer
import yaml

from parc_ray.character.skeleton import load_skeleton
from parc_ray.cli import app, run_command, tracker_app
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.demo import generator
from parc_ray.files.bundled import DEFAULT_CONFIG
from parc_ray.motions.motion_file import read_motion
from parc_ray.terminal import progress
from tests.reference import DATA, DEMO, HUMANOID, ROOT
from tests.test_docs import commands


class Ended(NamedTuple):
    """How a command has ended. Runs of blanks, which depend on the terminal's width, are one blank each."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture()
def parc_ray(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Calls parc-ray in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(app, [str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(int(stop.value.code or 0), " ".join(printed.out.split()), " ".join(printed.err.split()))

    return call


@pytest.fixture()
def config(parc_ray: Call, tmp_path: Path) -> Path:
    """A good configuration for three generated motions and the demo's tracker."""
    generate = ("dataset", "generate", "motions", "--character", HUMANOID)
    assert parc_ray(*generate, "--count", 3, "--seconds", 1, 3).code == 0
    dataset = {"folder_paths": ["motions"], "save_path": "dataset/motions.yaml", "char_filepath": str(HUMANOID)}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(dataset))
    return write_config(tmp_path)


def write_config(folder: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "output_dir": "output",
        "device": "cpu",
        "create_dataset_config": "dataset.yaml",
        "model_file": str(DEMO / "model.pt"),
        "env_file": str(DEMO / "dm_env.yaml"),
        "agent_file": str(DEMO / "agent_config.yaml"),
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was changed, and what is in it."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in folder.rglob("*")}


class TestCheck:
    def test_prints_the_plan_and_writes_nothing(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        before = contents(tmp_path)
        code, out, err = parc_ray("check", "--config", config)
        assert (code, err) == (0, "")
        assert contents(tmp_path) == before
        skeleton = load_skeleton(HUMANOID)
        seconds = sum(read_motion(path, skeleton).length for path in (tmp_path / "motions").glob("*.pkl"))
        for words in (r"motions 3 \(0 invalid, 0 excluded\)", f"seconds of motion {seconds:.1f} ",
                      r"simulator (physx|mujoco)", r"actors \d+ on cpu", r"shards \d+, of \d+( to \d+)? motions",
                      r"envs \d", r"memory about \d+ MiB per actor", "output output"):  # fmt: skip
            assert re.search(words, out), (words, out)

    def test_an_argument_file_of_mimickit_is_enough(self, parc_ray: Call, tmp_path: Path) -> None:
        for file in (*(DATA / "mimickit").glob("*_config.yaml"), DATA / "mimickit" / "stand.pkl", HUMANOID):
            shutil.copy(file, tmp_path)
        names = ("env_config", "agent_config", "engine_config")
        (tmp_path / "args.txt").write_text("".join(f"--{name} {name}.yaml\n" for name in names))
        (tmp_path / "more.yaml").write_text("simulator: mujoco\ndevice: cpu\n")
        model = DATA / "mimickit" / "stand.pt"
        more = ("--model-file", model, "--output", "out", "--config", "more.yaml")
        ended = parc_ray("check", "--arg-file", "args.txt", *more)
        assert ended.code == 0 and "1 (0 invalid, 0 excluded)" in ended.out and "no contact labels" in ended.out
        ended = parc_ray("check", *more)
        assert (ended.code, "belong to --arg-file" in ended.err) == (2, True)

    def test_names_invalid_motions_and_goes_on(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        (tmp_path / "motions" / "broken.pkl").write_bytes(b"no pickle")
        code, out, _ = parc_ray("check", "--config", config)
        assert code == 0
        assert "3 (1 invalid, 0 excluded)" in out
        assert re.search(r"invalid: motions/broken\.pkl: \w+", out)

    def test_a_line_is_one_however_narrow_the_terminal(
        self, parc_ray: Call, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", "30")
        with pytest.raises(SystemExit):
            run_command(app, ["check", "--config", str(config)])
        lines = capsys.readouterr().out.splitlines()
        assert any(line.split()[0] == "actors" and line.endswith("GPUs each") for line in lines)

    def test_data_dir_option(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        write_config(tmp_path, create_dataset_config="$DATA_DIR/dataset.yaml")
        assert parc_ray("check", "--config", config, "--data-dir", tmp_path).code == 0
        code, _, err = parc_ray("check", "--config", config)
        assert code == 2
        assert "$DATA_DIR is not known" in err


BAD = {
    "unknown key": ({"devise": "cpu"}, "run.yaml: key 'devise' = 'cpu' is unknown; did you mean 'device'?"),
    "two problems": ({"devise": "cpu", "seed": "x"}, "key 'seed' = 'x'"),
    "missing checkpoint": ({"model_file": "gone.pt"}, "run.yaml: key 'model_file' = 'gone.pt': no such file in /"),
    "missing environment": ({"env_file": "gone.yaml"}, "run.yaml: key 'env_file' = 'gone.yaml': no such file in /"),
    "missing agent": ({"agent_file": "gone.yaml"}, "run.yaml: key 'agent_file' = 'gone.yaml': no such file in /"),
    "missing dataset": ({"create_dataset_config": "gone.yaml"}, "run.yaml: key 'create_dataset_config' = 'gone.yaml'"),
    "folder for a file": ({"model_file": "motions"}, "key 'model_file' = 'motions': is a folder; give"),
    "output is an address": (
        {"output_dir": "s3://bucket/run"},
        "key 'output_dir' = 's3://bucket/run': must be a folder here, not an address; output.upload copies",
    ),
    "upload to a folder": (
        {"output": {"upload": "runs/7"}},
        "run.yaml: key 'output.upload' = 'runs/7': must be an address",
    ),
    "upload to nowhere": (
        {"output": {"upload": "nowhere://7"}},
        "key 'output.upload' = 'nowhere://7': cannot be written",
    ),
    "output is a file": ({"output_dir": "run.yaml/out"}, "output_dir run.yaml/out: run.yaml is not a folder"),
    "output among the motions": ({"output_dir": "motions/out"}, "is in motions, one of the folder_paths of"),
    "checkpoint is something else": ({"model_file": str(HUMANOID)}, "humanoid.xml: not a checkpoint"),
    "environment is the agent": (
        {"env_file": str(DEMO / "agent_config.yaml")},
        "this looks like an agent_config.yaml, where a dm_env.yaml is needed; env_file and agent_file seem swapped",
    ),
    "simulator that is not installed": ({"simulator": "isaacgym"}, "Isaac Gym is not installed in"),
    "unknown simulator": (
        {"simulator": "bullet"},
        "run.yaml: key 'simulator' = 'bullet': unknown; use one of: auto, isaacgym, physx, mujoco_warp, mujoco",
    ),
}


class TestInputsOfARun:
    def test_a_dataset_file_beside_folders_is_told_to_be_unused(
        self, parc_ray: Call, config: Path, tmp_path: Path
    ) -> None:
        write_config(tmp_path, dataset_file="other.yaml")
        code, out, _ = parc_ray("check", config)
        assert code == 0
        assert "dataset_file other.yaml: not used, because create_dataset_config makes the dataset" in out

    @pytest.mark.parametrize(("key", "value"), [("agent_name", "AMP"), ("env_name", "task_location")])
    def test_an_unsupported_tracker_is_refused_before_motions_are_looked_for(
        self, parc_ray: Call, tmp_path: Path, key: str, value: str
    ) -> None:
        files = {name: DATA / "mimickit" / name for name in ("env_config.yaml", "agent_config.yaml")}
        for name, path in files.items():
            content = yaml.safe_load(path.read_text())
            changed = {**content, **({key: value} if key in content else {})}
            (tmp_path / name).write_text(yaml.safe_dump({**changed, "char_file": str(HUMANOID)}))
        (tmp_path / "run.yaml").write_text(
            "tracker: mimickit\noutput_dir: out\nenv_file: env_config.yaml\nagent_file: agent_config.yaml\n"
            f"engine_file: {DATA / 'mimickit' / 'engine_config.yaml'}\nmodel_file: {DATA / 'mimickit' / 'stand.pt'}\n"
            "dataset_file: gone.yaml\n"
        )
        code, _, err = parc_ray("check", "run.yaml")
        assert code == 2 and f"key '{key}' = '{value}'" in err and "gone.yaml" not in err


class TestInit:
    """What init writes is what check accepts."""

    def init(self, parc_ray: Call, *arguments: object) -> Ended:
        return parc_ray("init", "--tracker", DEMO, *arguments)

    def test_for_folders_of_motions(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        ended = self.init(parc_ray, "--motions", "motions", "--output-dir", "runs/7", "--folder", "conf")
        assert ended.code == 0 and ended.out.endswith("Next: parc-ray check conf/phys_record.yaml")
        loaded = load_config(tmp_path / "conf" / "phys_record.yaml", RecordConfig, None)
        assert loaded.output_dir == tmp_path / "runs" / "7"
        assert loaded.create_dataset_config == tmp_path / "conf" / "create_dataset_config.yaml"
        assert loaded.model_file == DEMO / "model.pt"
        assert parc_ray("check", "conf/phys_record.yaml").code == 0

    def test_for_a_dataset_file_and_from_any_folder(
        self, parc_ray: Call, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        motion = next((tmp_path / "motions").glob("*.pkl"))
        assert self.init(parc_ray, "--motions", motion.relative_to(tmp_path)).code == 0
        assert not (tmp_path / "create_dataset_config.yaml").exists()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        code, out, _ = parc_ray("check", tmp_path / "phys_record.yaml")
        assert code == 0 and "motions 1 (0 invalid, 0 excluded)" in out

    def test_for_a_tracker_of_mimickit(self, parc_ray: Call, tmp_path: Path) -> None:
        (tmp_path / "tracker").mkdir()
        for path in (*(DATA / "mimickit").glob("*_config.yaml"), HUMANOID):
            shutil.copy(path, tmp_path / "tracker")
        shutil.copy(DATA / "mimickit" / "stand.pt", tmp_path / "tracker" / "model.pt")
        shutil.copy(DATA / "mimickit" / "stand.pkl", tmp_path)
        assert parc_ray("init", "--tracker", "tracker", "--motions", "stand.pkl").code == 0
        loaded = load_config(tmp_path / "phys_record.yaml", RecordConfig, None)
        assert (loaded.tracker, loaded.engine_file) == ("mimickit", tmp_path / "tracker" / "engine_config.yaml")
        assert parc_ray("check", "phys_record.yaml").code == 0

    def test_nothing_is_overwritten_or_written_by_mistake(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        (tmp_path / "phys_record.yaml").write_text("mine: 1\n")
        before = contents(tmp_path)
        for arguments, message in (
            (("--motions", "motions"), "phys_record.yaml already exists; choose another folder, or pass --overwrite"),
            (("--motions", "gone", "--overwrite"), "--motions gone: no such file or folder in"),
            ((), "--motions is missing; see parc-ray init -h"),
        ):
            code, _, err = self.init(parc_ray, *arguments)
            assert code == 2 and message in err
        code, _, err = parc_ray("init", "--tracker", "motions", "--motions", "motions")
        assert code == 2 and "has no tracker; give a folder with model.pt, dm_env.yaml, agent_config.yaml (parc)" in err
        assert contents(tmp_path) == before
        assert self.init(parc_ray, "--motions", "motions", "--overwrite").code == 0


class TestHelp:
    def test_every_command_has_an_example_exit_codes_and_a_page(self, parc_ray: Call) -> None:
        for words, _ in commands(typer.main.get_command(app)):
            code, out, _ = parc_ray(*words, "-h")
            assert code == 0 and out == parc_ray(*words, "--help").out
            assert "Example" in out and "Exit codes: 0 " in out, words
            page = out.rpartition("Page: ")[2]
            assert (ROOT / page).is_file() and page.endswith(".md"), words

    def test_placeholders_have_one_style(self, parc_ray: Call) -> None:
        """Upper-case words; no types, braces or doubled brackets, whatever the versions of typer and click."""
        for words, _ in commands(typer.main.get_command(app)):
            out = parc_ray(*words, "-h").out
            assert not re.search(r"<\w+|[{}]|\[\[|\\\[", out), (words, out)
            options = re.findall(r" (--[a-z-]+) (\S+)", out.partition("Options:")[2].partition("Example")[0])
            assert options
            assert all(re.match(r"[A-Z]+$|[A-Z][a-z]|-|/|0|2|\[", after) for _, after in options), (words, options)

    def test_shells_can_complete(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("_PARC_RAY_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "parc-ray rec")
        monkeypatch.setenv("COMP_CWORD", "1")
        with pytest.raises(SystemExit):
            app([], prog_name="parc-ray")
        assert capsys.readouterr().out.split() == ["record"]


class TestBadInput:
    @pytest.mark.parametrize("command", ["check", "record"])
    @pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
    def test_one_message_exit_code_2_and_nothing_written(
        self, parc_ray: Call, config: Path, tmp_path: Path, command: str, changes: dict[str, Any], message: str
    ) -> None:
        write_config(tmp_path, **changes)
        before = contents(tmp_path)
        code, out, err = parc_ray(command, "--config", config)
        assert code == 2
        assert err.startswith("error: ")
        assert message in err
        assert err.count("error: ") == 1
        assert "Traceback" not in out + err
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("command", ["check", "record"])
    def test_the_default_configuration_needs_a_data_dir(self, parc_ray: Call, tmp_path: Path, command: str) -> None:
        unknown = "key 'output_dir' = '$DATA_DIR/p4_phys_record': $DATA_DIR is not known"
        code, out, err = parc_ray(command)
        assert (code, out) == (2, "")
        assert err.startswith("error: no configuration: give one, as in `parc-ray record phys_record.yaml`")
        for folder in ("data/configs", "configs"):
            own = Path(folder) / DEFAULT_CONFIG.name
            own.parent.mkdir(parents=True)
            shutil.copy(DEFAULT_CONFIG, own)
            assert parc_ray(command).err.startswith(f"error: {own}: {unknown}")

    @pytest.mark.parametrize("command", ["check", "record"])
    def test_the_default_configuration_finds_its_files_in_the_data_dir(
        self, parc_ray: Call, tmp_path: Path, command: str
    ) -> None:
        code, _, err = parc_ray(command, "--data-dir", tmp_path)
        assert code == 2
        for key, name in (("env_file", "dm_env.yaml"), ("model_file", "model.pt")):
            file = tmp_path / "p3_tracker" / name
            assert f"{DEFAULT_CONFIG}: key '{key}' = '{file}': no such file; check its path" in err

    @pytest.mark.parametrize("command", ["check", "record"])
    def test_no_such_configuration(self, parc_ray: Call, tmp_path: Path, command: str) -> None:
        message = f"error: gone.yaml: no such file in {tmp_path}. Check its path"
        assert parc_ray(command, "--config", "gone.yaml") == (2, "", message)
        assert parc_ray(command, "gone.yaml") == (2, "", message)
        assert "two configurations: a.yaml and --config b.yaml" in parc_ray(command, "a.yaml", "--config", "b.yaml").err

    def test_environment_that_the_checkpoint_was_not_trained_with(
        self, parc_ray: Call, config: Path, tmp_path: Path
    ) -> None:
        content = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
        content["env"]["tar_obs_steps"] = [1, 3, 5]
        content["env"]["char_file"] = str(HUMANOID)
        (tmp_path / "dm_env.yaml").write_text(yaml.safe_dump(content))
        write_config(tmp_path, env_file="dm_env.yaml")
        code, _, err = parc_ray("check", "--config", config)
        assert code == 2
        assert "model.pt" in err
        assert len(re.findall(r"\d{3}", err)) >= 2, "both observation sizes"

    def test_a_folder_without_motions(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        for path in (tmp_path / "motions").glob("*.pkl"):
            path.unlink()
        code, _, err = parc_ray("check", "--config", config)
        assert code == 2
        assert "no usable motion. There are no motion files" in err

    @pytest.mark.parametrize(
        "arguments", [["record", "x", "y"], ["check", "--config"], ["play"], ["check", "--confg=x"]]
    )
    def test_a_mistyped_command_line(self, parc_ray: Call, arguments: Any) -> None:
        code, out, err = parc_ray(*arguments)
        assert code == 2
        assert "Error" in err
        assert "Traceback" not in out + err


class TestDataset:
    def test_create_writes_the_dataset_file(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        (tmp_path / "motions" / "broken.pkl").write_bytes(b"")
        code, out, _ = parc_ray("dataset", "create", "--config", tmp_path / "dataset.yaml")
        assert code == 0
        assert "dataset/motions.yaml: 3 motions" in out
        assert "invalid: motions/broken.pkl: " in out
        motions = yaml.safe_load((tmp_path / "dataset" / "motions.yaml").read_text())["motions"]
        assert sorted(Path(motion["file"]) for motion in motions) == sorted(
            path.relative_to(tmp_path) for path in (tmp_path / "motions").glob("*.pkl") if path.stem != "broken"
        )

    def test_create_says_what_it_needs(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        def refused(**changes: Any) -> str:
            content = {"folder_paths": ["motions"], "save_path": "m.yaml", "char_filepath": str(HUMANOID), **changes}
            text = yaml.safe_dump({key: value for key, value in content.items() if value is not None})
            (tmp_path / "create.yaml").write_text(text)
            code, _, err = parc_ray("dataset", "create", "--config", "create.yaml")
            assert code == 2
            return err

        assert f"create.yaml: key 'folder_paths': gone is not a folder in {tmp_path}. Check its path" in refused(
            folder_paths=["gone"]
        )
        missing = f"'char_filepath': data/assets/humanoid.xml: no such file in {tmp_path}. Check its path; it is"
        assert missing in refused(char_filepath=None)
        code, _, err = parc_ray("dataset", "create", "--config", config)
        assert code == 2 and "run.yaml: this looks like a phys_record.yaml" in err and "'create_dataset_config'" in err

    def test_create_cannot_write_into_a_file(self, parc_ray: Call, config: Path, tmp_path: Path) -> None:
        dataset = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**dataset, "save_path": "taken/motions.yaml"}))
        (tmp_path / "taken").write_text("a file")
        code, _, err = parc_ray("dataset", "create", "--config", tmp_path / "dataset.yaml")
        assert (code, err[:48]) == (4, "error: taken: cannot be made a folder (File exis")

    def test_create_refuses_an_unknown_key(self, parc_ray: Call, tmp_path: Path) -> None:
        (tmp_path / "dataset.yaml").write_text("folder_path: [motions]\nsave_path: motions.yaml\nfolder_paths: [a]\n")
        code, _, err = parc_ray("dataset", "create", "--config", "dataset.yaml")
        assert code == 2
        assert "dataset.yaml: key 'folder_path' = ['motions'] is unknown; did you mean 'folder_paths'?" in err

    @pytest.mark.slow
    def test_the_same_seed_generates_the_same_motions(self, parc_ray: Call, tmp_path: Path) -> None:
        for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
            code, out, _ = parc_ray("dataset", "generate", folder, "--count", 2, "--seed", seed)
            assert (code, out) == (0, f"{folder}: 2 motions")
        written = {name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abc"}
        assert written["a"] == written["b"] != written["c"]

    def test_generate_makes_the_demo_s_motions(
        self, parc_ray: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which ones these are: demo/test_generator.py."""
        demo_motions = generator.demo_motions
        monkeypatch.setattr(generator, "demo_motions", lambda *arguments: islice(demo_motions(*arguments), 2))
        monkeypatch.setattr(generator, "DEMO_MOTIONS", 2)
        code, out, _ = parc_ray("dataset", "generate", "demo")
        assert code == 0 and out.endswith("demo: 2 motions")
        skeleton = load_skeleton(HUMANOID)
        names = [read_motion(path, skeleton).name for path in sorted((tmp_path / "demo").glob("*.pkl"))]
        assert len(names) == 2 and all(re.match(r"demo_\w+_d\d+_\d{3}$", name) for name in names)

    def test_generate_keeps_the_bounds_that_are_given(self, parc_ray: Call, tmp_path: Path) -> None:
        bounds = ("--difficulty", 0.2, 0.3, "--seconds", 1.5, 1.8)
        assert parc_ray("dataset", "generate", "g", "--character", HUMANOID, "--count", 4, *bounds).code == 0
        skeleton = load_skeleton(HUMANOID)
        motions = [read_motion(path, skeleton) for path in (tmp_path / "g").glob("*.pkl")]
        assert len(motions) == 4
        assert all(1.5 - 1 / 60 <= motion.length <= 1.8 + 1 / 60 for motion in motions)
        assert all(re.search(r"_d(2\d|30)_", motion.name) for motion in motions)

    def test_generate_is_not_silent_in_a_log(self, parc_ray: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        arguments = ("dataset", "generate", "g", "--character", HUMANOID, "--count", 2, "--seconds", 1, 1)
        assert parc_ray(*arguments).out == "g: 0/2 motions g: 1/2 motions g: 2 motions"

    def test_generate_replaces_files_only_if_told_to(self, parc_ray: Call, tmp_path: Path) -> None:
        arguments = ("dataset", "generate", "g", "--character", HUMANOID, "--count", 1, "--seconds", 1, 1)
        assert parc_ray(*arguments).code == 0
        (path,) = (tmp_path / "g").iterdir()
        content = path.read_bytes()
        path.write_bytes(b"old")
        code, _, err = parc_ray(*arguments)
        assert code == 2 and f"g/{path.name} already exists; choose another folder, or pass --overwrite" in err
        assert path.read_bytes() == b"old"
        assert parc_ray(*arguments, "--overwrite").code == 0
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--count 2 --difficulty 0.5 1.5", "--difficulty 0.5 1.5: difficulty must be between 0 and 1, but is 1.5"),
            ("--count 2 --difficulty nan 1", "--difficulty nan 1: difficulty must be between 0 and 1, but is nan"),
            ("--count 2 --difficulty 0.6 0.2", "--difficulty 0.6 0.2: give the lower value first"),
            ("--count 2 --seconds 0.5 3", "--seconds 0.5 3: a generated motion lasts 1 to 60 seconds"),
            ("--difficulty 0 0.2", "--difficulty and --seconds need --count"),
            ("--seconds 2 3", "--difficulty and --seconds need --count"),
            ("--count -1", "Invalid value for '--count'"),
        ],
    )
    def test_generate_refuses_bad_values(self, parc_ray: Call, tmp_path: Path, arguments: str, message: str) -> None:
        code, out, err = parc_ray("dataset", "generate", "g", "--character", HUMANOID, *arguments.split())
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []

    def test_generate_refuses_a_folder_that_is_a_file(self, parc_ray: Call, tmp_path: Path) -> None:
        (tmp_path / "g").write_text("a file")
        code, _, err = parc_ray("dataset", "generate", "g", "--character", HUMANOID, "--count", 1)
        assert code == 4
        assert err.startswith("error: g: cannot be made a folder (File exists). Choose another path")


def script(name: str, *arguments: str, cwd: Path) -> Ended:
    """Runs a script of the repository as a user does."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DATA_DIR", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *arguments],
        cwd=str(cwd), env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return Ended(done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split()))


class TestPhysRecordScript:
    def test_uses_the_default_configuration(self, tmp_path: Path) -> None:
        code, _, err = script("parc_4_phys_record.py", cwd=tmp_path)
        assert code == 2
        assert err.startswith("error: no configuration: give one")

    def test_uses_the_given_configuration(self, tmp_path: Path) -> None:
        for arguments in (["--config", "mine.yaml"], ["--config=mine.yaml"]):
            ended = script("parc_4_phys_record.py", *arguments, cwd=tmp_path)
            assert ended == (2, "", f"error: mine.yaml: no such file in {tmp_path}. Check its path")


class TestRunTrackerScript:
    @pytest.mark.parametrize("mode", ["train", "test"])
    def test_refuses_other_modes(self, capsys: pytest.CaptureFixture[str], mode: str) -> None:
        with pytest.raises(SystemExit) as stop:
            run_command(tracker_app, ["--mode", mode])
        assert stop.value.code == 2
        assert f"error: --mode {mode}: parc_ray only records" in capsys.readouterr().err

    def test_leaves_alone_what_parc_has_recorded(
        self, parc_ray: Call, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """PARC's output directory has its arguments beside its recordings."""
        output = tmp_path / "parc"
        (output / "recorded_motions" / "walk_0_49").mkdir(parents=True)
        (output / "recorded_motions" / "walk_0_49" / "walk_7_dm.pkl").write_bytes(b"recorded")
        environment = yaml.safe_load((DEMO / "dm_env.yaml").read_text())
        environment["env"].update(char_file=str(HUMANOID), output_motion_dir=str(output / "recorded_motions"))
        environment["env"]["dm"] = {"motion_file": "dataset/motions.yaml"}
        (output / "record_env.yaml").write_text(yaml.safe_dump(environment))
        files = f"--agent_config {DEMO / 'agent_config.yaml'}\n--model_file {DEMO / 'model.pt'}\n--mode record\n"
        (output / "record_args.txt").write_text(f"--env_config {output / 'record_env.yaml'}\n--device cpu\n{files}")
        before = contents(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(tracker_app, ["--arg_file", str(output / "record_args.txt")])
        assert stop.value.code == 2
        message = (
            f"error: output_dir {output} holds an earlier run (record_env.yaml, record_args.txt, recorded_motions)"
        )
        assert message in " ".join(capsys.readouterr().err.split())
        assert contents(tmp_path) == before

    @pytest.mark.slow
    def test_as_a_script(self, tmp_path: Path) -> None:
        code, out, err = script("run_tracker.py", "--mode", "train", cwd=tmp_path)
        assert (code, out) == (2, "")
        assert err.startswith("error: --mode train: parc_ray only records")
        code, out, _ = script("run_tracker.py", "--help", cwd=tmp_path)
        assert code == 0 and "--arg_file" in out and "--overwrite" in out
        code, _, err = script("run_tracker.py", "--mode", "record", "--arg_file", "gone.txt", cwd=tmp_path)
        assert code == 2
        assert err.startswith("error: --arg_file gone.txt: no such file in /")
        assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- report


def test_a_report_needs_a_run_and_a_character(parc_ray: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, problem in (
        (("empty",), "error: empty: holds no run"),
        (("nowhere",), "error: nowhere: no such folder; give the output_dir of a run"),
        (("empty", "--character", "none.xml"), "error: none.xml: no such file"),
    ):
        ended = parc_ray("report", *arguments)
        assert ended.code == 2 and ended.err.startswith(problem)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]

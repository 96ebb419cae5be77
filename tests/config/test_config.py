"""Configuration files: what is accepted, and what a user is told about everything else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.loading import find_data_dir, load_config, load_yaml
from parc_ray.config.record import AcceptanceConfig, RecordConfig
from parc_ray.errors import InputError
from parc_ray.files.bundled import DEFAULT_CONFIG
from parc_ray.trackers.mimickit.config import MimickitEnvironmentConfig
from parc_ray.trackers.parc.config import AgentConfig, ParcEnvironmentFile
from tests.reference import DATA, DEMO

PARC_KEYS = {
    "output_dir": "$DATA_DIR/p4_phys_record/",
    "device": "cuda:0",
    "create_dataset_config": "$DATA_DIR/p4_phys_record/create_dataset_config.yaml",
    "model_file": "$DATA_DIR/p3_tracker/model.pt",
    "env_file": "$DATA_DIR/p3_tracker/dm_env.yaml",
    "agent_file": "$DATA_DIR/p3_tracker/agent_config.yaml",
}
"""PARC's phys_record.yaml, all of it"""
DATASET = {"folder_paths": ["motions"], "save_path": "motions.yaml"}
MIMICKIT = DATA / "mimickit"


@pytest.fixture(autouse=True)
def _no_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def load(tmp_path: Path, **changes: Any) -> RecordConfig:
    return load_config(write(tmp_path / "run.yaml", {**PARC_KEYS, **changes}), RecordConfig, "/data")


def message_of(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as error:
        load(tmp_path, **changes)
    return str(error.value)


class TestWhatIsAccepted:
    def test_parc_s_keys_alone(self, tmp_path: Path) -> None:
        config = load(tmp_path)
        assert config.output_dir == Path("/data/p4_phys_record")
        assert config.device == "cuda:0"
        assert config.create_dataset_config == Path("/data/p4_phys_record/create_dataset_config.yaml")
        assert config.dataset_file is None
        assert config.model_file == Path("/data/p3_tracker/model.pt")
        assert config.env_file == Path("/data/p3_tracker/dm_env.yaml")
        assert config.agent_file == Path("/data/p3_tracker/agent_config.yaml")
        assert config.retry.start_fractions == [0.25, 0.5, 0.75]

    def test_the_default_and_the_demo_s_files(self) -> None:
        default = load_config(DEFAULT_CONFIG, RecordConfig, "/data")
        assert default.output_dir == Path("/data/p4_phys_record")
        load_config(DEMO / "dm_env.yaml", ParcEnvironmentFile, None)
        load_config(DEMO / "agent_config.yaml", AgentConfig, None)

    def test_a_dataset_file_in_place_of_a_dataset_config(self, tmp_path: Path) -> None:
        keys = {name: value for name, value in PARC_KEYS.items() if name != "create_dataset_config"}
        path = write(tmp_path / "run.yaml", {**keys, "dataset_file": "motions.yaml"})
        assert load_config(path, RecordConfig, "/data").dataset_file == Path("motions.yaml")

    def test_paths_may_use_the_home_folder_and_its_variable(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        config = load(tmp_path, output_dir="~/run", model_file="$HOME/model.pt", env_file="${HOME}/a/e.yaml")
        assert config.output_dir == Path("/home/me/run") and config.env_file == Path("/home/me/a/e.yaml")
        assert config.model_file == Path("/home/me/model.pt")
        dataset = write(tmp_path / "d.yaml", {"folder_paths": ["~/motions"], "save_path": "m.yaml"})
        assert load_config(dataset, DatasetConfig, None).folder_paths == [Path("/home/me/motions")]

    @pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:3", ["cuda:0"], ["cuda:1", "cuda:3"], ["cpu"]])
    def test_devices(self, tmp_path: Path, device: Any) -> None:
        assert load(tmp_path, device=device).device == device

    def test_acceptance_none_takes_whatever_survives(self, tmp_path: Path) -> None:
        assert load(tmp_path, acceptance="none").acceptance is None

    def test_an_empty_acceptance_is_not_taken_for_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="'acceptance' has no value: must be a section of limits, or none"):
            load(tmp_path, acceptance=None)

    def test_acceptance_limits_are_set_one_by_one(self, tmp_path: Path) -> None:
        acceptance = load(tmp_path, acceptance={"max_penetration": 0.2}).acceptance
        assert acceptance == AcceptanceConfig(min_contact_agreement=0.4, max_penetration=0.2)

    def test_parc_s_released_retry_schedule(self, tmp_path: Path) -> None:
        fractions = [0.1, 0.2, 0.3, 0.4, 0.5]
        assert load(tmp_path, retry={"start_fractions": fractions, "max_retries": 5}).retry.start_fractions == fractions

    def test_no_recording_depends_on_the_plane(self, tmp_path):
        """PARC's terrain has friction 1 whatever is said of the plane: the same numbers go to every engine."""
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"]["plane"] = {"static_friction": 0.2, "dynamic_friction": 0.1, "restitution": 0.5}
        environment = load_config(write(tmp_path / "dm_env.yaml", content), ParcEnvironmentFile, None)
        assert environment == load_config(DEMO / "dm_env.yaml", ParcEnvironmentFile, None)

    def test_parc_s_environment_has_keys_that_recording_ignores(self, tmp_path: Path) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"]["of_the_next_parc_version"] = content["sim"]["and_here"] = 1
        environment = load_config(write(tmp_path / "dm_env.yaml", content), ParcEnvironmentFile, None)
        assert environment.env.control_freq == 30
        assert environment.steps_per_control == 4


def _bad_values() -> list[tuple[dict[str, Any], str, Any, str]]:
    """Changes to a good configuration, the key that the message must name, the value it must show, the remedy."""
    increasing = "increasing numbers between 0 and 1"
    devices = "'cpu', 'cuda', 'cuda:N' or a list"
    return [
        ({"devise": "cpu"}, "devise", "cpu", "did you mean 'device'?"),
        ({"zzz": 1}, "zzz", 1, "known keys: acceptance, agent_file"),
        ({"ray": {"num_actor": 2}}, "ray.num_actor", 2, "did you mean 'num_actors'?"),
        ({"max_retrys": 2}, "max_retrys", 2, "did you mean 'retry.max_retries'?"),
        ({"max_retries": 2}, "max_retries", 2, "did you mean 'retry.max_retries'?"),
        ({"num_actors": 2}, "num_actors", 2, "did you mean 'ray.num_actors'?"),
        ({"seed": None}, "seed", None, "must be a whole number"),
        ({"retry": {"zzz": 2}}, "retry.zzz", 2, "known keys: max_retries, min_segment_seconds, start_fractions"),
        ({"acceptance": {"max_penetratoin": 1}}, "acceptance.max_penetratoin", 1, "did you mean 'max_penetration'?"),
        ({"output": {"layuot": "flat"}}, "output.layuot", "flat", "did you mean 'layout'?"),
        ({"record": {"observation": True}}, "record.observation", True, "did you mean 'observations'?"),
        ({"num_envs": "many"}, "num_envs", "many", "must be a whole number"),
        ({"num_envs": 0}, "num_envs", 0, "greater than or equal to 1"),
        ({"num_envs": 1.5}, "num_envs", 1.5, "must be a whole number"),
        ({"max_envs_per_actor": 0}, "max_envs_per_actor", 0, "greater than or equal to 1"),
        ({"seed": -1}, "seed", -1, "greater than or equal to 0"),
        ({"model_file": 3}, "model_file", 3, "path"),
        ({"output_dir": None}, "output_dir", None, "path"),
        ({"device": "gpu"}, "device", "gpu", devices),
        ({"device": "cuda:"}, "device", "cuda:", devices),
        ({"device": 0}, "device", 0, devices),
        ({"device": []}, "device", [], devices),
        ({"device": ["cuda:0", 1]}, "device", ["cuda:0", 1], devices),
        ({"device": ["cuda:0", "cuda:0"]}, "device", ["cuda:0", "cuda:0"], "different devices"),
        ({"device": ["cpu", "cuda:0"]}, "device", ["cpu", "cuda:0"], "different devices"),
        ({"retry": {"start_fractions": [0.5, 0.25]}}, "retry.start_fractions", [0.5, 0.25], increasing),
        ({"retry": {"start_fractions": [0.0, 0.5]}}, "retry.start_fractions", [0.0, 0.5], increasing),
        ({"retry": {"start_fractions": [0.5, 1.0]}}, "retry.start_fractions", [0.5, 1.0], increasing),
        ({"retry": {"start_fractions": [0.5, 0.5]}}, "retry.start_fractions", [0.5, 0.5], increasing),
        ({"retry": {"start_fractions": 0.5}}, "retry.start_fractions", 0.5, "list"),
        ({"retry": {"start_fractions": ["half"]}}, "retry.start_fractions.0", "half", "number"),
        ({"retry": {"max_retries": -1}}, "retry.max_retries", -1, "greater than or equal to 0"),
        ({"ray": {"timeout_seconds": 0}}, "ray.timeout_seconds", 0, "greater than 0"),
        ({"ray": 4}, "ray", 4, "section"),
        ({"ray": None}, "ray", None, "section"),
        ({"acceptance": "nothing"}, "acceptance", "nothing", "none"),
        ({"acceptance": {"min_contact_agreement": 2}}, "acceptance.min_contact_agreement", 2, "less than or equal"),
        ({"record": {"observations": "maybe"}}, "record.observations", "maybe", "must be true or false"),
        ({"output": {"layout": "deep"}}, "output.layout", "deep", "'grouped' or 'flat'"),
        ({"output": {"name_suffix": "a/b"}}, "output.name_suffix", "a/b", "path separator"),
    ]


class TestWhatIsRefused:
    @pytest.mark.parametrize(("changes", "key", "value", "remedy"), _bad_values())
    def test_message_names_file_key_value_and_remedy(
        self, tmp_path: Path, changes: dict[str, Any], key: str, value: Any, remedy: str
    ) -> None:
        message = message_of(tmp_path, **changes)
        given = "has no value" if value is None else f"= {value!r}"
        assert message.startswith(f"{tmp_path / 'run.yaml'}: key {key!r} {given}"), message
        assert remedy in message
        assert "\n" not in message, "one problem, one line"

    @pytest.mark.parametrize("key", ["output_dir", "model_file", "env_file", "agent_file"])
    def test_missing_key(self, tmp_path: Path, key: str) -> None:
        path = write(tmp_path / "run.yaml", {name: value for name, value in PARC_KEYS.items() if name != key})
        with pytest.raises(InputError) as error:
            load_config(path, RecordConfig, "/data")
        assert str(error.value) == f"{path}: key {key!r} is missing; add it"

    def test_no_dataset_at_all(self, tmp_path: Path) -> None:
        path = write(tmp_path / "run.yaml", {k: v for k, v in PARC_KEYS.items() if k != "create_dataset_config"})
        with pytest.raises(InputError, match=r"create_dataset_config.*or dataset_file") as error:
            load_config(path, RecordConfig, "/data")
        assert str(path) in str(error.value)

    def test_every_problem_has_its_line(self, tmp_path: Path) -> None:
        lines = message_of(tmp_path, devise="cpu", num_envs=0, ray={"num_actor": 2}).splitlines()
        assert len(lines) == 3
        assert all(line.startswith(str(tmp_path / "run.yaml")) for line in lines)
        assert {key for key in ("devise", "num_envs", "ray.num_actor") for line in lines if f"key {key!r}" in line} == {
            "devise",
            "num_envs",
            "ray.num_actor",
        }

    def test_environment_frequencies_that_do_not_divide(self, tmp_path: Path) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"]["control_freq"] = 25
        path = write(tmp_path / "dm_env.yaml", content)
        with pytest.raises(InputError, match="sim_freq 60 must be a multiple of control_freq 25") as error:
            load_config(path, ParcEnvironmentFile, None)
        assert str(path) in str(error.value)

    def test_missing_key_of_the_environment(self, tmp_path: Path) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        del content["env"]["ray_dx"]
        path = write(tmp_path / "dm_env.yaml", content)
        with pytest.raises(InputError) as error:
            load_config(path, ParcEnvironmentFile, None)
        assert str(error.value) == f"{path}: key 'env.ray_dx' is missing; add it"

    @pytest.mark.parametrize(
        ("value", "key", "remedy"),
        [
            ("far", "", "must be a number or a list"),
            ([1, "far"], ".1", "must be a number"),
            ([-1], ".0", "must be g"),
        ],
    )
    def test_a_value_of_several_types_has_one_line(self, tmp_path: Path, value: Any, key: str, remedy: str) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"]["pose_termination_dist"] = value
        with pytest.raises(InputError) as error:
            load_config(write(tmp_path / "dm_env.yaml", content), ParcEnvironmentFile, None)
        assert f"key 'env.pose_termination_dist{key}' = " in str(error.value) and remedy in str(error.value)
        assert "\n" not in str(error.value) and "pydantic" not in str(error.value)

    @pytest.mark.parametrize("name", ["my-key", "list[int]", "RayConfig", "constrained-float", ""])
    def test_an_unknown_key_may_have_any_name(self, tmp_path: Path, name: str) -> None:
        assert f"key {name!r} = 1 is unknown" in message_of(tmp_path, **{name: 1})

    @pytest.mark.parametrize(
        ("content", "model", "message"),
        [
            (DATASET, RecordConfig, "a create_dataset_config.yaml, where a phys_record.yaml is needed; name it by"),
            (PARC_KEYS, DatasetConfig, "a phys_record.yaml, where a create_dataset_config.yaml is needed; give the"),
            (
                DEMO / "agent_config.yaml",
                ParcEnvironmentFile,
                "an agent_config.yaml, where a dm_env.yaml is needed; env_",
            ),
            (
                DEMO / "dm_env.yaml",
                AgentConfig,
                "a dm_env.yaml, where an agent_config.yaml is needed; env_file and agent_",
            ),
            (
                DEMO / "dm_env.yaml",
                RecordConfig,
                "a dm_env.yaml, where a phys_record.yaml is needed; name it by 'env_fi",
            ),
            (
                MIMICKIT / "env_config.yaml",
                ParcEnvironmentFile,
                "an env_config.yaml of MimicKit, where a dm_env.yaml is",
            ),
            (MIMICKIT / "engine_config.yaml", MimickitEnvironmentConfig, "an engine_config.yaml of MimicKit, where an"),
            (
                {"motions": []},
                RecordConfig,
                "a motions.yaml, where a phys_record.yaml is needed; name it by 'dataset_fi",
            ),
        ],
        ids=str,
    )
    def test_another_file_is_told_in_one_line(self, tmp_path: Path, content: Any, model: Any, message: str) -> None:
        path = write(tmp_path / "given.yaml", load_yaml(content) if isinstance(content, Path) else content)
        with pytest.raises(InputError) as error:
            load_config(path, model, "/data")
        assert str(error.value).startswith(f"{path}: this looks like {message}")
        assert "\n" not in str(error.value)

    def test_a_bad_file_of_the_right_kind_is_not_taken_for_another(self, tmp_path: Path) -> None:
        assert "key 'folder_paths' = 1 is unknown" in message_of(tmp_path, folder_paths=1)

    def test_unknown_key_of_a_dataset_config(self, tmp_path: Path) -> None:
        content = {"folder_path": ["motions"], "folder_paths": ["motions"], "save_path": "motions.yaml"}
        with pytest.raises(InputError, match="did you mean 'folder_paths'"):
            load_config(write(tmp_path / "dataset.yaml", content), DatasetConfig, None)


class TestFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as error:
            load_yaml(tmp_path / "nothing.yaml")
        assert str(error.value) == f"{tmp_path / 'nothing.yaml'}: no such file. Check its path"

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read") as error:
            load_yaml(tmp_path)
        assert str(tmp_path) in str(error.value)

    @pytest.mark.parametrize("text", ["output_dir: x\nseed: 0\nray: [1}\n", "output_dir: x\nray:\n\tseed: 0\n"])
    def test_not_yaml(self, tmp_path: Path, text: str) -> None:
        path = write(tmp_path / "run.yaml", text)
        with pytest.raises(InputError, match=r"not valid YAML.*line 3") as error:
            load_yaml(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("text", "kind"), [("", "nothing"), ("# nothing\n", "nothing"), ("- a\n", "a list"), ("3", "a single value")]
    )
    def test_no_mapping(self, tmp_path: Path, text: str, kind: str) -> None:
        path = write(tmp_path / "run.yaml", text)
        with pytest.raises(InputError, match=rf"must hold 'key: value' lines, but holds {kind}") as error:
            load_yaml(path)
        assert str(error.value).startswith(str(path))

    def test_not_text(self, tmp_path: Path) -> None:
        path = tmp_path / "run.yaml"
        path.write_bytes(b"\xff\xfe\x80")
        with pytest.raises(InputError, match="cannot be read"):
            load_yaml(path)

    def test_yaml_cannot_run_programs(self, tmp_path: Path) -> None:
        path = write(tmp_path / "run.yaml", f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
        with pytest.raises(InputError, match="not valid YAML"):
            load_yaml(path)
        assert not (tmp_path / "made").exists()


class TestDataDir:
    def test_option_before_environment_before_user_config(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert find_data_dir(None) is None
        write(tmp_path / "data" / "configs" / "user_config.yaml", {"DATA_DIR": "/from/user/config"})
        assert find_data_dir(None) == "/from/user/config"
        monkeypatch.setenv("DATA_DIR", "/from/environment")
        assert find_data_dir(None) == "/from/environment"
        assert find_data_dir("/from/option") == "/from/option"
        assert find_data_dir("relative") == str(tmp_path / "relative")

    def test_user_config_may_use_other_variables(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_DISK", "/disk")
        write(tmp_path / "data" / "configs" / "user_config.yaml", {"DATA_DIR": "$MY_DISK/parc"})
        assert find_data_dir(None) == "/disk/parc"

    @pytest.mark.parametrize("placeholder", ["$DATA_DIR", "${DATA_DIR}"])
    def test_expanded_in_every_string(self, tmp_path: Path, placeholder: str) -> None:
        content = {
            "folder_paths": [f"{placeholder}/a", f"x/{placeholder}/{placeholder}"],
            "save_path": f"{placeholder}.yaml",
        }
        config = load_config(write(tmp_path / "dataset.yaml", content), DatasetConfig, "/data")
        assert config.folder_paths == [Path("/data/a"), Path("x//data//data")]
        assert config.save_path == Path("/data.yaml")

    def test_a_longer_name_is_another_variable(self, tmp_path: Path) -> None:
        assert load(tmp_path, output_dir="$DATA_DIRECTORY/x").output_dir == Path("$DATA_DIRECTORY/x")

    def test_undefined(self, tmp_path: Path) -> None:
        content = {"folder_paths": ["a", "$DATA_DIR/b"], "save_path": "x"}
        path = write(tmp_path / "dataset.yaml", content)
        with pytest.raises(InputError) as error:
            load_config(path, DatasetConfig, None)
        message = str(error.value)
        assert message.startswith(f"{path}: key 'folder_paths[1]' = '$DATA_DIR/b': $DATA_DIR is not known")
        assert "--data-dir" in message
        assert "data/configs/user_config.yaml" in message

    def test_undefined_in_a_section(self, tmp_path: Path) -> None:
        path = write(tmp_path / "dm_env.yaml", {"env": {"dm": {"motion_file": "$DATA_DIR/motions.yaml"}}})
        with pytest.raises(InputError, match=r"key 'env\.dm\.motion_file'"):
            load_config(path, ParcEnvironmentFile, None)


class TestAbsurdValues:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("control_freq", 10**9), ("sim_freq", 10**12), ("tar_obs_steps", [10**12]), ("tar_obs_steps", [-1]),
            ("tar_obs_steps", [1] * 1000), ("ray_points_ahead", 10**9), ("ray_num_left", 10**9), ("ray_dx", math.inf),
            ("ray_angle", math.nan), ("min_obs_h", math.nan), ("termination_height", math.inf), ("gravity_z", math.nan),
            ("root_pos_termination_dist", math.nan), ("root_rot_termination_angle", -1.0),
            ("pose_termination_dist", [math.nan] * 14), ("contact_detection_eps", math.nan),
        ],
    )  # fmt: skip
    def test_of_an_environment(self, tmp_path: Path, key: str, value: Any) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"][key] = value
        path = write(tmp_path / "dm_env.yaml", content)
        with pytest.raises(InputError) as error:
            load_config(path, ParcEnvironmentFile, None)
        assert all(line.startswith(f"{path}: key 'env.{key}") for line in str(error.value).splitlines())

    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0, 1e-9, 1e9])
    @pytest.mark.parametrize("key", ["horizontal_scale", "padding"])
    def test_of_the_layout_of_terrains(self, tmp_path: Path, key: str, value: float) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"]["dm"]["heightmap"] = {key: value}
        path = write(tmp_path / "dm_env.yaml", content)
        if key == "padding" and 0 <= value < 1:
            load_config(path, ParcEnvironmentFile, None)
            return
        with pytest.raises(InputError, match=rf"key 'env\.dm\.heightmap\.{key}'"):
            load_config(path, ParcEnvironmentFile, None)

    def test_limits_may_be_infinite(self, tmp_path: Path) -> None:
        content = load_yaml(DEMO / "dm_env.yaml")
        content["env"].update(root_pos_termination_dist=math.inf, pose_termination_dist=math.inf)
        config = load_config(write(tmp_path / "dm_env.yaml", content), ParcEnvironmentFile, None)
        assert config.env.root_pos_termination_dist == config.env.pose_termination_dist == math.inf

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"ray": {"timeout_seconds": math.inf}}, "ray.timeout_seconds"),
            ({"ray": {"timeout_seconds": math.nan}}, "ray.timeout_seconds"),
            ({"ray": {"gpus_per_actor": 5e-324}}, "ray.gpus_per_actor"),
            ({"seed": 2**64}, "seed"),
            ({"output_dir": "a\0b"}, "output_dir"),
            ({"output_dir": "a\x1b[2Jb"}, "output_dir"),
            ({"model_file": "a\nb"}, "model_file"),
            ({"output": {"name_suffix": "a\nb"}}, "output.name_suffix"),
            ({"output": {"name_suffix": "../x"}}, "output.name_suffix"),
            ({3: 4}, "3"),
            ({"x" * 9000: 4}, "xxx"),
            ({"device": ["cuda:0"] * 9000}, "device"),
            ({"seed": {"a": list(range(9000))}}, "seed"),
        ],
        ids=lambda value: "" if isinstance(value, dict) else value,
    )
    def test_of_a_run(self, tmp_path: Path, changes: dict[Any, Any], key: str) -> None:
        path = write(tmp_path / "run.yaml", yaml.safe_dump({**PARC_KEYS, **changes}))
        with pytest.raises(InputError) as error:
            load_config(path, RecordConfig, "/data")
        message = str(error.value)
        assert key in message
        assert len(message) < 1000
        assert message.replace("\n", "").isprintable()

    def test_a_thousand_problems_are_not_all_told(self, tmp_path: Path) -> None:
        lines = message_of(tmp_path, **{f"key_{k}": k for k in range(1000)}).splitlines()
        assert len(lines) == 21
        assert lines[-1] == f"{tmp_path / 'run.yaml'}: and 980 more problems"

    def test_a_home_that_nobody_has(self, tmp_path: Path) -> None:
        write(tmp_path / "data" / "configs" / "user_config.yaml", {"DATA_DIR": "~nobody_here/x"})
        assert find_data_dir(None) == "~nobody_here/x"
        assert find_data_dir("~nobody_here/x") == str(tmp_path / "~nobody_here/x")

"""record_args.txt: what a run writes repeats it, and PARC's own files mean what they mean there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.config.record import AcceptanceConfig, OutputConfig, RayConfig, RecordConfig, RecordOptions, RetryConfig
from parc_ray.config.record_args import config_of_args, format_args, parse_args, record_environment
from parc_ray.errors import InputError


def configs() -> st.SearchStrategy[RecordConfig]:
    """Any settings of ours, with the files of a run in OUTPUT."""
    count = st.none() | st.integers(1, 10**6)
    size = st.floats(0, 1e9)
    fraction = st.floats(0, 1, exclude_min=True, exclude_max=True)
    acceptance = st.builds(
        AcceptanceConfig,
        min_contact_agreement=st.floats(0, 1),
        max_penetration=size,
        max_mean_root_error=st.none() | size,
        max_mean_body_error=st.none() | size,
    )
    text = st.text(st.characters(exclude_characters="/\\$", exclude_categories=["C", "Zl", "Zp"]), max_size=8)
    cuda = st.integers(0, 15).map("cuda:{}".format)
    return st.builds(
        RecordConfig,
        output_dir=st.just(Path("OUTPUT")),
        model_file=st.just(Path("p3_tracker/model.pt")),
        env_file=st.just(Path("OUTPUT/record_env.yaml")),
        agent_file=st.just(Path("p3_tracker/agent_config.yaml")),
        dataset_file=st.just(Path("OUTPUT/motions.yaml")),
        device=st.sampled_from(["cpu", "cuda"]) | cuda | st.lists(cuda, min_size=2, max_size=8, unique=True),
        simulator=st.sampled_from(["auto", "mujoco"]),
        num_envs=count,
        max_envs_per_actor=st.integers(1, 10**6),
        seed=st.integers(0, 2**63),
        ray=st.builds(
            RayConfig,
            address=st.none() | text,
            num_actors=count,
            cpus_per_actor=count,
            gpus_per_actor=st.none() | st.just(0.0) | st.floats(1e-4, 1e3),
            num_shards=count,
            timeout_seconds=st.floats(0, 1e9, exclude_min=True),
        ),
        retry=st.builds(
            RetryConfig,
            start_fractions=st.lists(fraction, unique=True, max_size=6).map(sorted),
            max_retries=st.integers(0, 9),
            min_segment_seconds=size,
        ),
        acceptance=st.just("none") | acceptance,
        record=st.builds(RecordOptions, observations=st.booleans()),
        output=st.builds(
            OutputConfig,
            layout=st.sampled_from(["flat", "grouped"]),
            name_suffix=text,
            terrain_file=st.sampled_from([True, False, "auto"]),
        ),
    )


def rename(config: RecordConfig, folder: Path) -> RecordConfig:
    """The same settings for a run in a folder."""
    names = ("output_dir", "env_file", "dataset_file")
    return config.model_copy(
        update={name: Path(str(getattr(config, name)).replace("OUTPUT", str(folder))) for name in names}
    )


def written_run(config: RecordConfig, environment: dict[str, Any]) -> Path:
    """What a run leaves of its settings; returns its record_args.txt."""
    assert config.dataset_file is not None
    content = record_environment(environment, config, config.dataset_file, config.output_dir)
    config.env_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    arguments = config.output_dir / "record_args.txt"
    arguments.write_text(format_args(config, config.env_file, 17), encoding="utf-8")
    return arguments


@given(config=configs())
def test_record_args_repeat_a_run_exactly(config: RecordConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = rename(config, Path(folder))
        arguments = written_run(config, {"env": {"char_file": "humanoid.xml"}})
        assert config_of_args(parse_args(["--mode", "record", "--arg_file", str(arguments)]), None) == config


def test_a_folder_with_a_blank_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "my motions"
    folder.mkdir()
    config = RecordConfig(
        output_dir=folder,
        model_file=folder / "model.pt",
        env_file=folder / "record_env.yaml",
        agent_file=folder / "agent.yaml",
        dataset_file=folder / "motions.yaml",
    )
    config.model_file.touch()
    config.agent_file.touch()
    arguments = written_run(config, {"env": {}})
    assert config_of_args(parse_args(["--mode", "record", "--arg_file", str(arguments)]), None) == config


def test_record_env_is_dm_env_pointed_at_dataset_and_output(tmp_path: Path) -> None:
    environment = {
        "env_name": "ig_parkour",
        "env": {
            "char_file": "humanoid.xml",
            "dm": {"motion_file": "training.yaml", "terrain_save_path": "training.pkl", "terrains_per_motion": 1},
        },
        "sim": {"substeps": 2},
    }
    config = rename(_config(dataset_file="OUTPUT/motions.yaml"), tmp_path)
    written = record_environment(environment, config, tmp_path / "motions.yaml", tmp_path)
    assert written["env"]["dm"] == {
        "motion_file": str(tmp_path / "motions.yaml"),
        "terrain_save_path": str(tmp_path / "terrain.pkl"),
        "terrains_per_motion": 1,
    }
    assert written["env"]["output_motion_dir"] == str(tmp_path / "recorded_motions")
    assert written["env"]["char_file"] == "humanoid.xml"
    assert (written["env_name"], written["sim"]) == ("ig_parkour", {"substeps": 2})
    assert environment["env"]["dm"]["motion_file"] == "training.yaml", "the loaded file stays as it was"


PARC_ARGS = """\
--env_config {0}/record_env.yaml
--agent_config p3_tracker/agent_config.yaml
--model_file p3_tracker/model.pt
--num_envs 24
--device cuda:0
--mode record
--visualize False
"""
"""What PARC's stage 4 writes"""


def _config(**values: Any) -> RecordConfig:
    files = {
        "output_dir": "OUTPUT",
        "model_file": "p3_tracker/model.pt",
        "env_file": "OUTPUT/record_env.yaml",
        "agent_file": "p3_tracker/agent_config.yaml",
    }
    return RecordConfig.model_validate({**files, **values})


def parc_run(folder: Path, arguments: str = PARC_ARGS) -> Path:
    """PARC's record_env.yaml and record_args.txt in a folder; returns the latter."""
    env = {
        "char_file": "data/assets/humanoid.xml",
        "dm": {"motion_file": "$DATA_DIR/kin_gen/motions.yaml", "terrain_save_path": str(folder / "terrain.pkl")},
        "output_motion_dir": str(folder / "recorded_motions"),
    }
    (folder / "record_env.yaml").write_text(yaml.safe_dump({"env": env}), encoding="utf-8")
    path = folder / "record_args.txt"
    path.write_text(arguments.format(folder), encoding="utf-8")
    return path


class TestParc:
    def test_its_record_args_mean_a_run_with_our_defaults(self, tmp_path: Path) -> None:
        arguments = parc_run(tmp_path)
        config = config_of_args(parse_args(["--mode", "record", "--arg_file", str(arguments)]), "/data")
        assert config == RecordConfig(
            output_dir=tmp_path,
            device="cuda:0",
            model_file=Path("p3_tracker/model.pt"),
            agent_file=Path("p3_tracker/agent_config.yaml"),
            env_file=tmp_path / "record_env.yaml",
            dataset_file=Path("/data/kin_gen/motions.yaml"),
        )

    def test_our_record_args_are_parc_s_line_by_line(self, tmp_path: Path) -> None:
        config = rename(_config(dataset_file="OUTPUT/motions.yaml", device="cuda:0"), tmp_path)
        assert format_args(config, config.env_file, 24) == PARC_ARGS.format(tmp_path)

    def test_the_command_line_wins_over_the_file_and_the_first_of_a_key_counts(self, tmp_path: Path) -> None:
        arguments = parc_run(tmp_path, PARC_ARGS + "--device cuda:5\n")
        words = ["--arg_file", str(arguments)]
        assert parse_args(words)["device"] == ["cuda:0"]
        assert parse_args([*words, "--device", "cpu", "--device", "cuda:1"])["device"] == ["cpu"]
        assert config_of_args(parse_args([*words, "--device", "cpu"]), "/data").device == "cpu"

    def test_comments(self, tmp_path: Path) -> None:
        arguments = parc_run(tmp_path, "# how this was made\n#--device cuda:7\n\n" + PARC_ARGS)
        assert parse_args(["--arg_file", str(arguments)])["device"] == ["cuda:0"]

    def test_a_word_with_a_hash_is_a_comment(self) -> None:
        assert parse_args(["--device", "cuda:0", "#cuda:1", "cuda:2", "#--mode", "train"])["device"] == [
            "cuda:0",
            "cuda:2",
            "train",
        ]

    @pytest.mark.parametrize("separator", ["\n", " ", "\r\n", "\n\n", "\r"])
    def test_how_words_are_separated_does_not_matter(self, tmp_path: Path, separator: str) -> None:
        path = tmp_path / "args.txt"
        path.write_bytes(separator.join(["--mode", "record", "--device", "cuda:0", "cuda:1"]).encode())
        table = parse_args(["--arg_file", str(path)])
        assert (table["mode"], table["device"]) == (["record"], ["cuda:0", "cuda:1"])

    def test_words_before_any_key_count_for_nothing(self) -> None:
        assert parse_args(["run.py", "--", "--mode", "record"]) == {"mode": ["record"]}


class TestRefusals:
    @pytest.mark.parametrize("mode", ["train", "test", "test2", None])
    def test_other_modes(self, tmp_path: Path, mode: str | None) -> None:
        arguments = parc_run(tmp_path, PARC_ARGS.replace("--mode record\n", f"--mode {mode}\n" if mode else ""))
        with pytest.raises(InputError, match=rf"--mode {mode or 'train'}: parc_ray only records.*PARC's own"):
            config_of_args(parse_args(["--arg_file", str(arguments)]), "/data")

    @pytest.mark.parametrize("key", ["env_config", "agent_config", "model_file"])
    def test_missing_keys(self, tmp_path: Path, key: str) -> None:
        lines: list[str] = [line for line in PARC_ARGS.splitlines() if f"--{key}" not in line]
        arguments = parc_run(tmp_path, "\n".join(lines))
        with pytest.raises(InputError, match=f"--{key} is missing; give it"):
            config_of_args(parse_args(["--arg_file", str(arguments)]), "/data")

    @pytest.mark.parametrize(
        "content",
        [
            {"env": []},
            {"env": "x"},
            {"env": {"dm": None, "output_motion_dir": "x"}},
            {"env": {"dm": {"motion_file": "x"}, "output_motion_dir": 3}},
            {"env": {"dm": {"motion_file": "x"}, "output_motion_dir": None}},
            {"env": {"dm": {"motion_file": "x"}, "output_motion_dir": "x"}, "parc_ray": [1]},
            {"env": {"dm": {"motion_file": "x"}, "output_motion_dir": "x"}, "parc_ray": {1: 2}},
            {"env": {"dm": {"motion_file": [1]}, "output_motion_dir": "x"}},
        ],
    )
    def test_an_environment_of_other_kinds(self, tmp_path: Path, content: Any) -> None:
        arguments = parc_run(tmp_path)
        (tmp_path / "record_env.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(InputError, match=r"record_env\.yaml: key"):
            config_of_args(parse_args(["--arg_file", str(arguments)]), "/data")

    def test_no_such_arg_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"--arg_file .*nothing\.txt: no such file"):
            parse_args(["--arg_file", str(tmp_path / "nothing.txt")])

    def test_an_environment_that_no_run_wrote(self, tmp_path: Path) -> None:
        arguments = parc_run(tmp_path)
        (tmp_path / "record_env.yaml").write_text("env: {char_file: x}\n")
        with pytest.raises(InputError, match=r"env\.output_motion_dir.*record_env\.yaml of a recording run"):
            config_of_args(parse_args(["--arg_file", str(arguments)]), "/data")

    def test_unknown_data_dir(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"'env\.dm\.motion_file' = .*\$DATA_DIR is not known"):
            config_of_args(parse_args(["--arg_file", str(parc_run(tmp_path))]), None)

    def test_own_settings_that_someone_has_spoiled(self, tmp_path: Path) -> None:
        arguments = parc_run(tmp_path)
        with (tmp_path / "record_env.yaml").open("a") as file:
            file.write("parc_ray: {retry: {max_retires: 1}}\n")
        with pytest.raises(InputError, match=r"record_env\.yaml: key 'retry\.max_retires'.*'max_retries'"):
            config_of_args(parse_args(["--arg_file", str(arguments)]), "/data")

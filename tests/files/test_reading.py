"""Reading input files: what they may be, and what a YAML document may grow to."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.loading import load_config
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, printable
from parc_ray.files import plain_yaml, reading
from parc_ray.files.plain_yaml import parse_yaml, read_yaml
from parc_ray.files.reading import read_bytes, read_text
from parc_ray.motions.scanning import load_dataset
from parc_ray.trackers.parc.config import AgentConfig, ParcEnvironmentFile


def make(kind: str, path: Path) -> Path:
    """Something at a path that is not a readable file of bearable size."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "endless":
        path.symlink_to("/dev/urandom")
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(50 << 30)
    return path


ODD_FILES = {
    "pipe": "it is a pipe, not a file",
    "folder": "it is a folder, not a file",
    "socket": "it is a socket, not a file",
    "device": "it is a device, not a file",
    "endless": "it is a device, not a file",
    "circle": "symbolic links",
    "sparse": "is too large: 53687091200 bytes",
    "gone": "no such file",
}


@pytest.mark.timeout(60)
class TestOddFiles:
    @pytest.mark.parametrize(("kind", "problem"), ODD_FILES.items(), ids=ODD_FILES)
    def test_are_refused_at_once_by_name(self, tmp_path: Path, kind: str, problem: str) -> None:
        path = make(kind, tmp_path / "x.pkl")
        with pytest.raises(InputError, match=problem) as error:
            read_bytes(path)
        assert str(error.value).startswith(f"{path}: ")

    @pytest.mark.parametrize("kind", ODD_FILES)
    def test_are_refused_wherever_a_file_is_expected(self, tmp_path: Path, kind: str) -> None:
        from parc_ray.character.skeleton import load_skeleton
        from parc_ray.config.record_args import parse_args
        from tests.reference import HUMANOID

        path = make(kind, tmp_path / "x.yaml")
        skeleton = load_skeleton(HUMANOID)
        for read in (
            lambda: load_config(path, RecordConfig, None),
            lambda: load_skeleton(path),
            lambda: load_dataset(path, skeleton),
            lambda: parse_args(["--arg_file", str(path)]),
        ):
            with pytest.raises(InputError, match=r"x\.yaml"):
                read()

    @pytest.mark.parametrize("name", ["a\0b", "x" * 300, "x/" * 3000, "\ud800"])
    def test_impossible_names(self, name: str) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            read_bytes(Path(name))

    def test_a_file_that_grows_while_it_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x.pkl"
        path.write_bytes(b"begun")
        checked = reading._require_regular

        def grow(*arguments: Any) -> int:
            size = checked(*arguments)
            with path.open("ab") as file:
                file.write(b" and continued")
            return size

        monkeypatch.setattr(reading, "_require_regular", grow)
        with pytest.raises(InputError, match="it changed while it was read"):
            read_bytes(path)

    def test_a_file_that_is_exchanged_for_a_pipe(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x.pkl"
        path.write_bytes(b"")
        opened = os.open

        def exchange(*arguments: Any) -> int:
            path.unlink()
            os.mkfifo(path)
            return opened(*arguments)

        monkeypatch.setattr(os, "open", exchange)
        with pytest.raises(InputError, match="it is a pipe"):
            read_bytes(path)

    def test_a_file_without_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(*_: Any) -> int:
            raise PermissionError(13, "Permission denied")

        path = tmp_path / "x.pkl"
        path.write_bytes(b"")
        monkeypatch.setattr(os, "open", deny)
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            read_bytes(path)

    def test_the_bound_is_inclusive(self, tmp_path: Path) -> None:
        path = tmp_path / "x.pkl"
        path.write_bytes(b"1234")
        assert read_bytes(path, 4) == b"1234"
        with pytest.raises(InputError, match="4 bytes, where the maximum is 3"):
            read_bytes(path, 3)

    def test_a_git_lfs_pointer_is_told_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        with pytest.raises(InputError, match=r"model\.pt: is a Git LFS pointer.*git lfs pull"):
            read_bytes(path)

    def test_a_relative_path_is_told_with_its_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as error:
            read_bytes(Path("gone/x.pkl"))
        assert str(error.value) == f"gone/x.pkl: no such file in {tmp_path}. Check its path"
        with pytest.raises(InputError) as error:
            read_bytes(tmp_path / "x.pkl")
        assert str(error.value) == f"{tmp_path / 'x.pkl'}: no such file. Check its path"

    def test_text_of_other_encodings(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_bytes("a: é".encode("utf-8-sig"))
        assert read_yaml(path) == {"a": "é"}
        for content in ("a: é".encode("utf-16"), "a: é".encode("latin-1"), b"a: \xed\xa0\x80"):
            path.write_bytes(content)
            with pytest.raises(InputError, match="line 1 is not UTF-8 text"):
                read_text(path)


def laughs(levels: int, width: int) -> str:
    """A document of `width ** levels` values in a few lines."""
    lines = ["a0: &a0 [" + ", ".join("x" * width) + "]"]
    lines += [f"a{k}: &a{k} [" + ", ".join([f"*a{k - 1}"] * width) + "]" for k in range(1, levels)]
    return "\n".join(lines)


def merges(levels: int) -> str:
    """The same with merge keys."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}], z{k}: 1}}" for k in range(1, levels)]
    return "\n".join(lines)


BAD_YAML = {
    "aliases": (laughs(9, 9), "aliases repeat more than 100000 values"),
    "merge keys": (merges(40), "aliases repeat more than 100000 values"),
    "alias of itself": ("a: &a [*a]", "line 1: the alias 'a' stands for the collection that it is in"),
    "merge of itself": ("a: &a {<<: *a}", "stands for the collection that it is in"),
    "alias of nothing": ("a: *b", "'b' stands for nothing"),
    "depth": ("a: " + "[" * 200_000, "more than 50 levels"),
    "depth of mappings": ("{a: " * 200_000, "more than 50 levels"),
    "depth of dashes": ("- " * 100_000, "more than 50 levels"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
    "a list as a key": ("? [a]\n: 1", "a list or a mapping is used as a key"),
    "long value": ("a: " + "x" * 20_000, "a value has 20000 characters"),
    "long number": ("a: " + "9" * 5000, "a number has 5000 characters"),
    "long hexadecimal number": ("a: 0x" + "f" * 5000, "a number has 5002 characters"),
    "long sexagesimal number": ("a: 1" + ":59" * 2000, "a number has 6001 characters"),
    "python object": ("a: !!python/object/apply:os.mkdir [x]", "could not determine a constructor"),
    "python name": ("a: !!python/name:os.system ''", "could not determine a constructor"),
    "unknown tag": ("a: !mine 3", "could not determine a constructor"),
    "timestamp that is none": ("a: !!timestamp x", "a value is malformed"),
    "boolean that is none": ("a: !!bool x", "a value is malformed"),
    "integer that is none": ("a: !!int ''", "a value is malformed"),
    "day that is none": ("a: 2023-02-30", "a value is malformed"),
    "binary that is none": ("a: !!binary =x", "failed to decode base64"),
    "two documents": ("a: 1\n---\nb: 1", "a second document begins"),
    "tab": ("a:\n\tb: 1", "line 2: a tab indents it"),
    "tab after a value": ("a: 1\n\tb: 1", "line 2: a tab indents it"),
    "an unclosed list": ("a: 1\nb: [1,\nc: 2\nd: 3", r"line 2: a '\[' is not closed"),
    "an unclosed quote": ('a: 1\nb: "x\nc: 2\n', "line 2: a quote is not closed"),
    "nul": ("a: \0", "not valid YAML"),
    "unclosed": ("a: [1, 2", "not valid YAML, line"),
}


@pytest.mark.timeout(60)
class TestYaml:
    @pytest.mark.parametrize(("text", "problem"), BAD_YAML.values(), ids=BAD_YAML)
    def test_bombs_are_refused_at_once(self, text: str, problem: str) -> None:
        with pytest.raises(InputError, match=problem) as error:
            parse_yaml(text, "x.yaml")
        assert str(error.value).startswith("x.yaml: not valid YAML")
        assert len(str(error.value)) < 500

    @pytest.mark.parametrize(
        "model",
        [RecordConfig, ParcEnvironmentFile, AgentConfig, DatasetConfig, None],
        ids=lambda m: m and m.__name__,
    )
    @pytest.mark.parametrize("text", [laughs(9, 9), "[" * 200_000, "a: !!python/object/apply:os.mkdir [ran]"])
    def test_every_yaml_file_is_read_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, text: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=r"x\.yaml: not valid YAML"):
            load_config(path, model, None) if model else load_dataset(path, None)  # type: ignore[arg-type]
        assert not (tmp_path / "ran").exists()

    def test_modest_aliases_and_merges_work(self) -> None:
        text = "base: &base {x: 1, y: [1, 2]}\nuse: {<<: *base, x: 2}\nagain: [*base, *base]"
        assert parse_yaml(text, "x") == yaml.safe_load(text)

    def test_an_empty_document_is_none(self) -> None:
        assert parse_yaml("", "x") is parse_yaml("# nothing", "x") is parse_yaml("---\n...\n", "x") is None

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**64), 2**64)
            | st.floats(allow_nan=False)
            | st.text(max_size=30),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=4)
            ),
            max_leaves=20,
        ),
        st.booleans(),
    )
    def test_whatever_is_dumped_is_read_as_pyyaml_reads_it(self, value: Any, flow: bool) -> None:
        text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
        assert parse_yaml(text, "x") == yaml.safe_load(text)

    @given(st.text(max_size=40) | st.text("[]{}:,-&*!?|>#%@`'\"\n\t ab1<=~", max_size=60))
    def test_noise_is_read_as_pyyaml_reads_it_or_refused(self, text: str) -> None:
        try:
            value = parse_yaml(text, "x.yaml")
        except InputError as error:
            assert str(error).startswith("x.yaml: not valid YAML")
            return
        assert repr(value) == repr(yaml.load(text, Loader=plain_yaml._Loader))

    def test_every_value_of_many_is_looked_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add, added = plain_yaml._add, []
        monkeypatch.setattr(plain_yaml, "_add", lambda *value: (added.append(1), add(*value)))
        text = "motions:\n" + "".join(f"- {{file: folder/motion_{k}.pkl, weight: 1.0}}\n" for k in range(4000))
        assert len(parse_yaml(text, "x")["motions"]) == 4000
        assert len(added) == 3 + 4000 * 5


@given(st.text())
def test_messages_obey_no_terminal(text: str) -> None:
    message = str(InputError(f"walk{text}.pkl: is broken"))
    assert all(character == "\n" or character.isprintable() or ord(character) > 0x9F for character in message)
    message.encode("utf-8")
    assert str(InputError(message)) == message
    assert printable("walk é 走る") == "walk é 走る"


def test_reading_a_pipe_does_not_take_from_it(tmp_path: Path) -> None:
    """Whoever waits for the pipe's content still gets it."""
    path = make("pipe", tmp_path / "x.pkl")
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    with path.open("wb") as file:
        file.write(b"content")
        with pytest.raises(InputError):
            read_bytes(path)
    reader.join(timeout=10)
    assert received == [b"content"]

"""Silent damage to recordings is found, and told apart from what older journals cannot tell."""

from __future__ import annotations

import hashlib
import json

import pytest

from parc_ray.cli import app, run_command
from parc_ray.runs.history import read_run
from parc_ray.runs.verification import WrittenFile, verify, verify_run
from tests.reference import DATA

CONTENT = bytes(range(256)) * 40


@pytest.fixture()
def files(tmp_path):
    """Five recordings as their journal describes them."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    for name in "abcde":
        (tmp_path / name).write_bytes(CONTENT)
    return {name: WrittenFile(tmp_path / name, len(CONTENT), digest if name != "e" else "") for name in "abcde"}


def flip(path, place=5000):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_each_kind_of_damage_is_told_apart(files):
    assert verify(files.values()).passed
    flip(files["b"].path)
    files["c"].path.unlink()
    files["d"].path.write_bytes(CONTENT[:-1])
    found = verify(files.values())
    assert found.intact == (files["a"].path,)
    assert found.damaged == (files["b"].path, files["d"].path)
    assert found.missing == (files["c"].path,)
    assert found.unknown == (files["e"].path,)
    assert not found.passed


def test_a_file_without_checksum_must_have_its_size(files):
    files["e"].path.write_bytes(CONTENT + b"\0")
    assert verify(files.values()).damaged == (files["e"].path,)


def test_recordings_of_version_0_1_0_are_unknown():
    found = verify_run(read_run(DATA / "runs_0_1_0" / "parc" / "finished"))
    assert (len(found.unknown), found.intact, found.damaged, found.missing) == (4, (), (), ())


def test_the_command_names_what_is_damaged(made, capsys):
    made.begin(2)
    made.now = 1.0
    folder = made.path / "recorded_motions"
    for name in ("good", "bad"):
        made.planned(name)
        made.attempt(name, outcome="recorded", seconds=2.0, recording=CONTENT)
        made.final(name, "recorded")
    journal = made.path / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line["event"] == "attempt":
            line["recording_sha256"] = hashlib.sha256(CONTENT).hexdigest()
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            run_command(app, ["verify", str(made.path), *arguments])
        return ended.value.code, capsys.readouterr().out

    assert command() == (0, "2 intact, 0 damaged, 0 missing, 0 unknown\n")
    flip(folder / "bad.pkl")
    code, out = command()
    assert code == 5 and f"damaged: {folder / 'bad.pkl'}" in out and "1 intact, 1 damaged" in out
    code, out = command("--json")
    assert code == 5 and json.loads(out)["damaged"] == [str(folder / "bad.pkl")]

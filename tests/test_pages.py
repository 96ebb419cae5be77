"""Every code block of every page, checked in the way its kind allows: shell, YAML, Python, and names of scripts.

tests/cluster/test_api.py runs the Python blocks.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest
import yaml
from pydantic import BaseModel

from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.file_kind import file_kind
from parc_ray.config.record import RecordConfig
from parc_ray.motions.importers.joint_mapping import JointMapping
from parc_ray.trackers.parc.config import ParcEnvironmentFile
from tests.reference import ROOT
from tests.test_docs import name_of, pages, text_of

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
PROGRAMS = {
    *(
        "parc-ray",
        "python",
        "python3",
        "pip",
        "pytest",
        "ray",
        "tensorboard",
        "scripts/",
        ".venv-test/",
        "VENV=.venv38",
        "RAY_AUTH_MODE=token",
    ),
    *("cd", "cp", "mv", "mkdir", "sed", "cat", "tail", "git", "conda", "apt-get", "export", "ssh", "sbatch", "kubectl"),
    "docker",
}
"""What a command on a page begins with; a block without any is output, not input."""
MODELS = {model.file_kind: model for model in (RecordConfig, DatasetConfig, ParcEnvironmentFile)}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each code block."""
    for indent, language, text in BLOCK.findall(text_of(page)):
        yield language, "\n".join(line[len(indent) :] for line in text.splitlines()) + "\n"


def is_shell(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return any(
        first == program or first.startswith((f"{program} ", program if program.endswith("/") else "\0"))
        for program in PROGRAMS
    )


def commands_in(text: str) -> list[list[str]]:
    """Words of each command of a shell block, without comments and continued lines."""
    lines = text.replace("\\\n", " ").splitlines()
    words = (re.split(r"\s+", re.sub(r"(^|\s)#.*", "", line).strip()) for line in lines)
    return [line for line in words if line != [""]]


@pytest.mark.parametrize("page", pages(), ids=name_of)
class TestBlocks:
    def test_shell_can_be_parsed_and_its_scripts_take_these_options(self, page: Path) -> None:
        for language, text in blocks(page):
            if language not in ("", "bash", "sh") or not is_shell(text):
                continue
            parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
            assert parsed.returncode == 0, f"{text}\n{parsed.stderr}"
            for words in commands_in(text):
                require_options(words)

    def test_yaml_is_what_the_models_accept(self, page: Path) -> None:
        for language, text in blocks(page):
            if language == "yaml":
                require_valid(yaml.safe_load(text))

    def test_python_can_be_parsed(self, page: Path) -> None:
        for language, text in blocks(page):
            if language == "python":
                ast.parse(text)

    def test_extras_are_there(self, page: Path) -> None:
        declared = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
        named = re.findall(r"(?:parc-ray|\.)\[([\w,]+)\]", "".join(text for _, text in blocks(page)))
        assert {extra for names in named for extra in names.split(",")} <= set(declared)

    def test_scripts_that_are_called_have_the_run_bit(self, page: Path) -> None:
        called = re.findall(r"(?<![\w/])(?<!bash )((?:scripts|configs)/[\w/]+\.sh|\.ci/run)(?=[\s`)])", text_of(page))
        files = [ROOT / name for name in called if (ROOT / name).is_file()]
        assert all(os.access(path, os.X_OK) for path in files), called


def test_every_script_in_bash_has_the_run_bit_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--stage", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no clone")
    modes = {line.split("\t")[1]: line.split()[0] for line in listed.stdout.splitlines()}
    assert len(modes) > 4 and set(modes.values()) == {"100755"}, modes


def require_options(words: list[str]) -> None:
    """Assert that a script or test that a command calls exists, and knows its options."""
    if (
        words[0] in ("python", ".venv-test/bin/python")
        and len(words) > 1
        and words[1].startswith(("scripts/", "tests/"))
    ):
        words = words[1:]
    if not words[0].startswith(("scripts/", "tests/", ".ci/")):
        return
    path = ROOT / words[0]
    assert path.exists(), f"{words[0]}: no such script"
    sources = [path] if path.is_file() else sorted(path.glob("*.py"))
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    options = [word.split("=")[0] for word in words[1:] if word.startswith("--")]
    assert all(option in text for option in options), (words, options)


def require_valid(content: Mapping[str, Any]) -> None:
    """Assert that YAML is a file, or a part of one, that a model accepts."""
    assert isinstance(content, dict)
    if "bodies" in content:
        JointMapping.model_validate(content)
        return
    model: Any = MODELS.get(file_kind(content), RecordConfig)
    if file_kind(content):
        model.model_validate(content)
        return
    for name, value in content.items():
        field = model.model_fields[name]  # a part of a file: its keys are known, and its values are valid
        section = next((kind for kind in getattr(field.annotation, "__args__", (field.annotation,))
                        if isinstance(kind, type) and issubclass(kind, BaseModel)), None)  # fmt: skip
        if section is not None and isinstance(value, dict):
            section.model_validate(value)

"""What the documentation says of the repository is true: links, sizes, commands, and every key with its default."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
import typer
import yaml
from pydantic import BaseModel

from parc_ray.cli import app
from parc_ray.config.dataset import DatasetConfig
from parc_ray.config.record import RecordConfig
from parc_ray.files.plain_yaml import read_yaml
from parc_ray.trackers.mimickit.config import MimickitAgentConfig, MimickitEngineConfig, MimickitEnvironmentConfig
from parc_ray.trackers.parc.config import AgentConfig, ParcEnvironmentFile

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("parc_ray", "configs", "scripts", "tests", ".github")
LARGEST_README = 8192
"""bytes: a front page"""
LARGEST_PICTURES = 1_000_000
FILES: dict[str, type[BaseModel]] = {
    "phys_record.yaml": RecordConfig,
    "dm_env.yaml": ParcEnvironmentFile,
    "agent_config.yaml": AgentConfig,
    "env_config.yaml (MimicKit)": MimickitEnvironmentConfig,
    "engine_config.yaml (MimicKit)": MimickitEngineConfig,
    "agent_config.yaml (MimicKit)": MimickitAgentConfig,
    "create_dataset_config.yaml": DatasetConfig,
}
FENCE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def pages() -> list[Path]:
    """Every page of documentation, the front page first."""
    return [ROOT / "README.md", *sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> list[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings]


def links(page: Path) -> list[str]:
    text = CODE.sub("", FENCE.sub("", text_of(page)))
    return [one or other for one, other in LINK.findall(text)]


class TestPages:
    def test_the_front_page_is_short(self) -> None:
        assert (ROOT / "README.md").stat().st_size <= LARGEST_README

    @pytest.mark.parametrize("page", pages(), ids=name_of)
    def test_links_lead_somewhere(self, page: Path) -> None:
        for link in links(page):
            if link.startswith(("https://", "http://")):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{link} leads nowhere"
            assert target == ROOT or ROOT in target.parents, f"{link} leads out of the repository"
            if anchor:
                assert anchor in anchors(target), f"{link} leads to no heading"

    def test_every_page_can_be_reached_from_the_front_page(self) -> None:
        found, waiting = set(), [ROOT / "README.md"]
        while waiting:
            page = waiting.pop()
            if page in found:
                continue
            found.add(page)
            targets = ((page.parent / link.split("#")[0]).resolve() for link in links(page) if "://" not in link)
            waiting += [target for target in targets if target.suffix == ".md"]
        missed = [name_of(page) for page in pages() if page not in found and ".github" not in page.parts]
        assert not missed

    def test_the_pictures_are_small(self) -> None:
        shown = [ROOT / link for link in links(ROOT / "README.md") if link.endswith((".png", ".gif", ".jpg"))]
        assert shown
        assert sum(picture.stat().st_size for picture in shown) < LARGEST_PICTURES


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of a command line, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def options_of(command: Any) -> set[str]:
    """What a command's options are called."""
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return names | {"--help"}


def mentioned(page: Path) -> list[str]:
    """Whatever follows `parc-ray` in code on a page."""
    text = text_of(page).replace("\\\n", " ")
    code = FENCE.findall(text) + CODE.findall(FENCE.sub("", text))
    return [line.strip() for part in code for line in re.findall(r"\bparc-ray +([^\n`|#]*)", part)]


class TestCommands:
    @pytest.mark.parametrize("page", pages(), ids=name_of)
    def test_what_a_page_says_can_be_typed(self, page: Path) -> None:
        command_line: Any = typer.main.get_command(app)
        known = dict(commands(command_line))
        for line in mentioned(page):
            words = line.replace("...", "").split()
            found = next((known[tuple(words[:n])] for n in (1, 2) if tuple(words[:n]) in known), None)
            if words and words[0].startswith("-"):
                found = command_line
            assert found is not None, f"parc-ray {line}: no such command"
            options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert options <= options_of(found), f"parc-ray {line}"

    def test_every_command_is_documented(self) -> None:
        lines = [line.split() for page in pages() for line in mentioned(page)]
        for words, _ in commands(typer.main.get_command(app)):
            assert any(tuple(line[: len(words)]) == words for line in lines), f"parc-ray {' '.join(words)}"

    def test_every_script_is_documented(self) -> None:
        text = text_of(ROOT / "scripts" / "README.md")
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "scripts"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        names = {Path(name).parts[1] for name in tracked} or {path.name for path in (ROOT / "scripts").glob("*.*")}
        missed = [name for name in names if name != "README.md" and f"`{name}`" not in text]
        assert not missed

    @pytest.mark.parametrize("page", pages(), ids=name_of)
    def test_scripts_that_a_page_names_are_there(self, page: Path) -> None:
        for name in re.findall(r"\b(?:scripts|tests|configs|parc_ray)/[\w./-]+\.(?:py|sh|txt|json)\b", text_of(page)):
            assert (ROOT / name).exists(), f"{name_of(page)}: there is no {name}"


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field of this type holds, if it is a section of its own."""
    options = getattr(annotation, "__args__", (annotation,))
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return models[0] if models else None


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key, its default as YAML (`required` if it has none), and what the model says of it."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            yield from fields_of(section, f"{prefix}{name}.")
            continue
        default = "required"
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            value = str(value) if isinstance(value, Path) else value
            default = yaml.safe_dump(value, default_flow_style=True).replace("\n...", "").strip()
        yield f"{prefix}{name}", default, field.description or ""


def rows_of(file: str) -> list[tuple[str, str, str]]:
    """The table of a file's keys in configs/README.md."""
    text = text_of(ROOT / "configs" / "README.md")
    section = text[text.index(f"\n## {file}\n") + 1 :]
    section = section[: section.find("\n## ")] if "\n## " in section else section
    return re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) \|$", section, flags=re.MULTILINE)


@pytest.mark.parametrize("file", FILES)
class TestKeys:
    def test_every_key_is_documented_once_with_its_default(self, file: str) -> None:
        rows = rows_of(file)
        names = [name for name, _, _ in rows]
        assert len(names) == len(set(names)), "a key is documented twice"
        assert {name: default.strip("`") for name, default, _ in rows} == {
            name: default for name, default, _ in fields_of(FILES[file])
        }
        assert all(meaning.endswith(".") for _, _, meaning in rows)

    def test_its_meaning_is_what_the_model_says(self, file: str) -> None:
        meanings = {name: meaning for name, _, meaning in rows_of(file)}
        for name, _, description in fields_of(FILES[file]):
            if description:
                plain = meanings[name].replace("`", "").replace("'", "")
                assert plain == description.replace("'", ""), name


def test_forms_on_github_are_forms() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for form in forms:
        content = read_yaml(form)
        assert isinstance(content, dict)
        if form.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= content.keys(), form.name
        identities = [item["id"] for item in content["body"] if item["type"] != "markdown"]
        assert len(identities) == len(set(identities)), form.name

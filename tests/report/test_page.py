"""The page as a file: self-contained, safe whatever is in names and reasons, small, and honest about what it lacks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from parc_ray.errors import InputError
from parc_ray.recording.outcome import Outcome
from parc_ray.report import page
from parc_ray.report.page import PAGE, SCRIPTS, write_report
from parc_ray.runs.motion_state import MotionState
from tests.report.embedded import embedded, rows
from tests.report.made_run import recording_of

EVIL = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked = 1</script>",
    "{{previews}} {{style}} \\1 ${1} &lt;b&gt; \u2028 \udc80 <!-- ]]>",
)


class Tags(HTMLParser):
    """What an HTML parser finds."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def evil_run(made):
    made.begin(len(EVIL))
    for name in EVIL:
        made.planned(name)
    made.final(EVIL[2], "invalid", f"is {EVIL[0]}", path=f"{EVIL[2]}.pkl")
    for name in EVIL:
        made.attempt(name, reason=EVIL[2], criteria=[EVIL[0]], body=EVIL[1])
    return made


def test_the_page_needs_nothing_but_itself(made):
    evil_run(made)
    write_report(made.path)
    for tag, attributes in Tags(made.page()).found:
        assert tag not in ("img", "iframe", "object", "embed", "form", "base")
        assert not attributes.get("src") and attributes.get("href", "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", made.page(), flags=re.DOTALL))
    assert "url(" not in styles and "@import" not in styles


def test_only_its_own_script_and_style_may_run(made):
    """Another script that got in somehow would have another fingerprint."""
    evil_run(made)
    write_report(made.path)
    page = made.page()
    (policy,) = [a["content"] for tag, a in Tags(page).found if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_names_and_reasons_come_through_unchanged_and_harmless(made):
    evil_run(made)
    write_report(made.path)
    page = made.page()
    assert [tag for tag, _ in Tags(page).found].count("script") == 3
    data = embedded(page)
    assert [row["name"] for row in rows(data["motions"])] == [*EVIL, EVIL[2]]
    assert {row["reason"] for row in rows(data["attempts"])} == {EVIL[2]}


def test_what_is_missing_is_said(made, walk):
    made.begin(2)
    made.motion_file(walk, "walk")
    made.planned("gone")
    made.attempt("walk", outcome="recorded", recording=recording_of(walk))
    made.attempt("gone", outcome="recorded", recording=recording_of(walk))
    write_report(made.path)
    notes = embedded(made.page())["notes"]
    assert any("1 previews lack their reference" in note and "gone.pkl: no such file" in note for note in notes)
    assert any("had not ended" in note for note in notes)
    made.event("end", exit_code=0)
    write_report(made.path, previews=False)
    (note,) = embedded(made.page())["notes"]
    assert "`parc-ray report` makes a page with previews" in note
    assert embedded(made.page(), "previews")["motions"] == {}


def test_a_large_run_shows_what_was_not_recorded_and_counts_everything(made, walk, monkeypatch):
    monkeypatch.setattr(page, "MAX_MOTIONS", 3)
    made.begin(6)
    for name in ("a", "b", "c", "d", "e", "f"):
        made.motion_file(walk, name)
    for name in ("a", "b", "c", "e", "f"):
        fraction = 0.25 if name == "f" else 0.0
        made.attempt(name, outcome="recorded", fraction=fraction, recording=recording_of(walk))
    made.attempt("d")
    text = write_report(made.path).read_text("utf-8")
    data = embedded(text)
    assert data["motions"]["name"] == ["a", "d", "f"]
    assert [data["motions"]["name"][k] for k in data["attempts"]["motion"]] == ["a", "d", "f"]
    assert data["statistics"]["counts"]["motions"] == 6
    assert any("3 of them are neither in the table" in note for note in data["notes"])
    assert sorted(embedded(text, "previews")["motions"]) == ["0", "1", "2"]


def test_a_character_that_is_gone_or_another(made, walk, tmp_path):
    made.begin(1)
    made.motion_file(walk, "walk")
    made.event("end", exit_code=0)
    text = (made.path / "journal.jsonl").read_text()
    other = tmp_path / "other.xml"
    (made.path / "journal.jsonl").write_text(re.sub(r'"character": "[^"]*"', f'"character": "{other}"', text))
    for content, problem in ((None, "no such file"), ("<mujoco/>", "has changed since")):
        if content:
            other.write_text(content)
        write_report(made.path)
        (note,) = embedded(made.page())["notes"]
        assert problem in note
        assert embedded(made.page())["statistics"]["counts"]["motions"] == 1


def test_the_page_is_written_whole_or_not_at_all(made, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path)
    evil_run(made)
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text("mine")
    (made.path / "report.html").symlink_to(elsewhere)
    write_report(made.path)
    assert elsewhere.read_text() == "mine" and not (made.path / "report.html").is_symlink()
    assert not list(made.path.glob(".*"))


def test_the_scripts_name_states_in_one_place():
    """Comparisons and colours use the constants of data.js, which come from Python's enums."""
    names = "|".join(sorted({*MotionState, *Outcome, "later"}))
    literal = re.compile(rf'(?:[=!]==?|paint\(|tone:|\?|:) *"(?:{names})"')
    for name in SCRIPTS:
        text = re.sub(r"//.*", "", (PAGE / name).read_text(encoding="utf-8")).replace("label: ", "label = ")
        assert literal.findall(text) == [], name


def test_every_tone_has_a_colour_in_both_themes():
    script = (PAGE / "data.js").read_text(encoding="utf-8")
    others = re.search(r"TONE = constants\(\[\.\.\.DATA\.states, (.*?)\]\)", script).group(1)
    light, dark = (PAGE / "page.css").read_text(encoding="utf-8").split(':root[data-theme="dark"]')[:2]
    for tone in (*MotionState, *json.loads(f"[{others}]")):
        assert f"--{tone}:" in light and f"--{tone}:" in dark

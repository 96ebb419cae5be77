"""Reading runs back: interrupted, resumed, with lost recordings and dead actors, by older versions."""

from __future__ import annotations

import json

import pytest

from parc_ray.errors import InputError
from parc_ray.report.page import render
from parc_ray.runs.history import read_run


def states(run):
    return {motion.name: (motion.state, [a.outcome for a in motion.attempts]) for motion in run.motions}


def test_every_final_state(made):
    made.begin(5)
    for name in ("whole", "later", "never", "killer", "left"):
        made.planned(name)
    made.final("bad", "invalid", "is empty", path="bad.pkl")
    made.event("excluded", motion="short", path="short.pkl", reason="it has 3 frames")
    made.event("shard", shard=0, motions=["whole", "later", "never", "killer"], envs=2, deaths=0)
    made.attempt("whole", outcome="recorded", seconds=2.0)
    made.final("whole", "recorded")
    made.attempt("later", again=0.25)
    made.attempt("later", 1, "recorded", fraction=0.25, start=0.5, seconds=1.5)
    made.attempt("never", again=0.25)
    made.attempt("never", 1, "rejected", fraction=0.25, start=0.5)
    made.final("killer", "crashed", "actor died")
    made.attempt("left", again=0.25)
    made.event("end", exit_code=3)
    run = read_run(made.path)
    assert states(run) == {
        "whole": ("recorded", ["recorded"]),
        "later": ("recorded", ["failed", "recorded"]),
        "never": ("rejected", ["failed", "rejected"]),
        "killer": ("crashed", []),
        "left": ("unfinished", ["failed"]),
        "bad": ("invalid", []),
    }
    by_name = {motion.name: motion for motion in run.motions}
    assert by_name["later"].start_fraction == 0.25 and by_name["later"].recorded_seconds == 1.5
    assert by_name["never"].reason == "not accepted: max_penetration" and by_name["never"].start_fraction is None
    assert by_name["whole"].recording == made.path / "recorded_motions" / "whole.pkl"
    assert (by_name["bad"].path, by_name["bad"].reason) == ("bad.pkl", "is empty")
    assert run.sessions[0].exit_code == 3
    assert [(motion.path, motion.reason) for motion in run.excluded] == [("short.pkl", "it has 3 frames")]
    assert "leaves out 1 more motions" in render(run) and "short.pkl: it has 3 frames" in render(run)


def test_a_run_that_went_on(made):
    """Crashed motions are tried again, a lost recording counts no more, and each session has its own clock."""
    made.begin(2)
    made.planned("again")
    made.planned("lost")
    made.now = 1.0
    made.event("shard", shard=0, motions=["again", "lost"], envs=2, deaths=0)
    made.now = 3.0
    made.event("ready", shard=0)
    made.now = 5.0
    made.attempt("lost", outcome="recorded", env=1, began=0.5)
    made.final("lost", "recorded")
    made.final("again", "crashed", "actor died")
    made.now = 6.0
    made.event("death", shard=0, reason="actor died", unfinished=["again"])
    made.begin(2)
    made.event("lost", motion="lost")
    made.now = 2.0
    made.event("shard", shard=0, motions=["again", "lost"], envs=1, deaths=0)
    made.now = 4.0
    made.event("ready", shard=0)
    made.now = 9.0
    made.attempt("again", outcome="recorded", seconds=2.0, began=1.0)
    made.final("again", "recorded")
    made.attempt("lost", outcome="recorded", seconds=2.0, began=2.0)
    made.final("lost", "recorded")
    made.now = 10.0
    made.event("end", exit_code=0)
    run = read_run(made.path)
    assert states(run) == {"again": ("recorded", ["recorded"]), "lost": ("recorded", ["lost", "recorded"])}
    assert [(s.seconds, s.exit_code) for s in run.sessions] == [(6.0, None), (10.0, 0)]
    first, second = run.launches
    assert (first.session, first.began, first.ready, first.ended, first.death) == (0, 1.0, 3.0, 6.0, "actor died")
    assert (second.session, second.began, second.ready, second.death) == (1, 2.0, 4.0, "")
    assert second.ended == pytest.approx(6.2), "it had nothing left to do when its last attempt ended"
    lost, last = next(motion for motion in run.motions if motion.name == "lost").attempts
    assert (lost.launch, lost.env, lost.began, lost.ended) == (0, 1, 3.5, 3.6)
    assert (last.launch, last.began) == (1, 6.0)
    assert len(run.attempts()) == 2, "the lost one does not count"


def test_an_actor_works_until_its_run_is_killed(made):
    made.begin(1)
    made.planned("motion")
    made.event("shard", shard=0, motions=["motion"], envs=1, deaths=0)
    made.now = 2.0
    made.event("ready", shard=0)
    made.attempt("motion", again=0.25)
    made.now = 7.0
    made.event("shard", shard=1, motions=[], envs=1, deaths=0)
    with (made.path / "journal.jsonl").open("a") as file:
        file.write('{"event": "attempt", "motion": "mot')
    run = read_run(made.path)
    assert states(run) == {"motion": ("unfinished", ["failed"])}
    assert run.launches[0].ended == 7.0
    assert run.sessions[0].exit_code is None


def test_one_shard_is_given_to_one_actor_after_the_other(made):
    made.begin(1)
    made.planned("motion")
    for death in range(2):
        made.now = 10.0 * death + 1
        made.event("shard", shard=4, motions=["motion"], envs=1, deaths=death)
        made.now += 1
        made.event("ready", shard=4)
        made.attempt("motion", death, again=0.25 * (death + 1), fraction=0.25 * death, shard=4, began=1.0)
        made.now += 5
        made.event("death", shard=4, reason=f"death {death}", unfinished=["motion"])
    run = read_run(made.path)
    assert [(launch.ready, launch.ended, launch.death) for launch in run.launches] == [
        (2.0, 7.0, "death 0"),
        (12.0, 17.0, "death 1"),
    ]
    assert [(a.launch, a.began) for a in run.motions[0].attempts] == [(0, 3.0), (1, 13.0)]


def test_a_journal_that_tells_less_can_be_read(made):
    """Without what was added later: criteria, slots, offsets, terrain ranges, the monotonic clock."""
    made.begin(1)
    made.planned("motion")
    made.event("shard", shard=0, motions=["motion"], deaths=0)
    made.now = 4.0
    made.attempt("motion", outcome="recorded", quality={"root_error": None})
    newer = {"criteria", "body", "env", "began", "ended", "elapsed", "terrain_range", "folder", "character"}
    lines = [{key: value for key, value in line.items() if key not in newer} for line in made.lines]
    (made.path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(made.path)
    (motion,) = run.motions
    (attempt,) = motion.attempts
    assert motion.state == "recorded" and motion.terrain_range is None
    assert (attempt.criteria, attempt.env, attempt.began) == ((), None, None)
    assert attempt.quality == {"root_error": None}
    assert run.launches[0].envs is None and run.sessions[0].seconds == 4.0


def test_what_is_no_run_is_refused(tmp_path, made):
    with pytest.raises(InputError, match="holds no run"):
        read_run(tmp_path)
    made.begin(1)
    made.planned("motion")
    made.event("shard", shard=0, motions=[], envs=1, deaths=0)
    text = (made.path / "journal.jsonl").read_text()
    (made.path / "journal.jsonl").write_text(text.replace('"event": "planned"', '"event": planned'))
    with pytest.raises(InputError, match="line 2 is damaged"):
        read_run(made.path)

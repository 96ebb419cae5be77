"""What the viewer's page says of a motion."""

from __future__ import annotations

from parc_ray.viewing.browser.facts import clip_label, facts, failure, shown_text, title
from parc_ray.viewing.scenes.playback import Playback
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.viewing.runs import EVIL, look_at_me


def test_what_is_said_of_a_motion(tmp_path, walk):
    playback = Playback(open_playlist(look_at_me(tmp_path / "out", walk).path))
    order = [item.name for item in playback.playlist.items]
    playback.open(order.index(EVIL))
    said = title(playback) + facts(playback.item, playback.scene)
    assert "<img" not in said and "&lt;img src=x onerror=alert(1)&gt;" in said
    assert "3 of 4" in said and "rejected" in said and "max_penetration" in said and "0.05 m" in said
    _, first, second = playback.clips
    assert failure(first, playback.item).startswith("attempt 0 failed: <img"), "a label's text is only text"
    assert failure(second, playback.item) == "attempt 1 rejected: max_penetration"
    assert [clip_label(clip) for clip in playback.clips] == ["Reference", "Attempt 0", "Attempt 1"]
    assert shown_text("a\nb\x1b[2J" + "c" * 999).startswith(r"a b\x1b[2J") and len(shown_text("c" * 999)) == 300
    playback.open(order.index("gone"))
    assert "Cannot be shown: no reference: " in title(playback) and "gone.pkl: no such file" in title(playback)

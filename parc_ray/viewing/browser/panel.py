"""Panel: the controls on the viewer's page."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from parc_ray.viewing.browser.facts import clip_label, facts, legend, shown_text, title
from parc_ray.viewing.browser.viewport import Viewport
from parc_ray.viewing.scenes.playback import SPEEDS, Playback

LISTED = 200
"""Maximum number of listed motions; browsers are slow with lists of thousands."""
ANY = "any state"
PREVIOUS, NEXT = "◀ Previous", "Next ▶"
JUMP = 0.1
"""s, step of the back and forward keys."""
HELP = (
    "<div style='margin:0 .9em .6em;font-size:.75em;opacity:.75'>Drag to turn, right drag to move, wheel to zoom. "
    "Keys: space plays, P and N previous and next motion, J and L back and on, R from the start. Orange bodies are in "
    "contact.</div>"
)

Action = Callable[[], None]
Post = Callable[[Action], None]
"""Posts an action to the player thread, the only one that performs actions."""


class Panel:
    """Keeps viser's controls and a playback in sync, in both directions."""

    def __init__(self, server: Any, playback: Playback, viewport: Viewport, post: Post):
        self._gui, self._playback, self._viewport, self._post = server.gui, playback, viewport, post
        self._clips: list[Any] = []
        self._numbers: dict[str, int] = {}
        """Index of each listed motion, by its label."""
        self._set_theme(dark=False)
        self._gui.set_panel_label(shown_text(playback.playlist.title, 40))
        self._title = self._gui.add_html("")
        self._add_player()
        self._add_search()
        with self._gui.add_folder("Show"):
            self._add_switches()
        self._clip_folder = self._gui.add_folder("Characters")
        with self._clip_folder:
            self._legend = self._gui.add_html("")
        with self._gui.add_folder("About this motion"):
            self._facts = self._gui.add_html("")
        self._gui.add_html(HELP)
        self._add_keys()

    def open(self) -> None:
        """Show another motion."""
        playback = self._playback
        self._title.content = title(playback)
        self._facts.content = facts(playback.item, playback.scene)
        for control in (self._play, self._time):
            control.disabled = playback.scene is None
        self._time.value = 0.0
        self._time.max = max(round(playback.seconds, 2), 0.01)
        self._list()
        for box in self._clips:
            box.remove()
        self._legend.content = legend(playback.clips)
        with self._clip_folder:
            self._clips = [self._clip_box(clip) for clip in playback.clips]

    def show(self) -> None:
        """Update the time and the play button."""
        # Round to whole slider steps: its number field treats other values as typed input.
        self._time.value = min(round(self._playback.shown_time, 2), self._time.max)
        label = "Pause" if self._playback.playing else "Play"
        if self._play.label != label:
            self._play.label = label

    def _add_player(self) -> None:
        gui, playback = self._gui, self._playback
        steps = gui.add_button_group("", (PREVIOUS, NEXT), visible=len(playback.playlist.items) > 1)
        self._when(steps, lambda value: playback.step(1 if value == NEXT else -1))
        self._play = gui.add_button("Play")
        self._when(self._play, lambda _: playback.toggle())
        self._time = gui.add_slider("Time (s)", 0.0, 1.0, 0.01, 0.0)
        self._when(self._time, playback.seek)
        self._speed = gui.add_slider("Speed", SPEEDS[0], SPEEDS[1], 0.1, 1.0)
        self._when(self._speed, lambda value: setattr(playback, "speed", value))
        loop = gui.add_checkbox("Loop", playback.loop)
        self._when(loop, lambda value: setattr(playback, "loop", value))

    def _add_search(self) -> None:
        gui, playback = self._gui, self._playback
        states = sorted({item.state for item in playback.playlist.items})
        with gui.add_folder("Find", visible=len(playback.playlist.items) > 1):
            self._text = gui.add_text("Name", "", hint="Part of a name")
            self._state = gui.add_dropdown("State", (ANY, *states), visible=len(states) > 1)
            self._motion = gui.add_dropdown("Motion", ("",))
            self._count = gui.add_html("")
        for control in (self._text, self._state):
            self._when(control, lambda _: self._search())
        self._when(self._motion, self._choose)

    def _add_switches(self) -> None:
        for label, name in (("Contacts", "contacts"), ("Follow", "follow")):
            box = self._gui.add_checkbox(label, True)
            self._when(box, partial(setattr, self._viewport, name))
        self._when(self._gui.add_checkbox("Dark", False), self._set_theme)

    def _set_theme(self, dark: bool) -> None:
        self._gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium", dark_mode=dark)
        self._viewport.set_background(dark)

    def _add_keys(self) -> None:
        playback = self._playback
        keys: list[Any] = [
            ("Play or pause", "space", playback.toggle),
            ("Next motion", "N", lambda: playback.step(1)),
            ("Previous motion", "P", lambda: playback.step(-1)),
            ("A little back", "J", lambda: playback.seek(playback.shown_time - JUMP)),
            ("A little on", "L", lambda: playback.seek(playback.shown_time + JUMP)),
            ("From the start", "R", lambda: setattr(playback, "time", 0.0)),
        ]
        for label, key, action in keys:
            self._gui.add_command(label, hotkey=key).on_trigger(lambda _, action=action: self._post(action))

    def _clip_box(self, clip: Any) -> Any:
        key, hidden = (clip.kind, clip.number), self._playback.hidden
        box = self._gui.add_checkbox(clip_label(clip), key not in hidden)
        self._when(box, lambda shown: hidden.discard(key) if shown else hidden.add(key))
        return box

    def _when(self, control: Any, action: Callable[[Any], None]) -> None:
        """Call an action with the control's new value when a user changes it."""

        def changed(event: Any) -> None:
            if event.client_id is not None:
                value = event.target.value
                self._post(lambda: action(value))

        listen = control.on_click if hasattr(control, "on_click") else control.on_update
        listen(changed)

    def _search(self) -> None:
        state = self._state.value
        self._playback.search(self._text.value, "" if state == ANY else state)
        self._list()

    def _list(self) -> None:
        """List the matching motions, starting shortly before the open one."""
        playback = self._playback
        before = sum(index < playback.index for index in playback.found)
        first = max(0, min(before - LISTED // 4, len(playback.found) - LISTED))
        listed = sorted({playback.index, *playback.found[first : first + LISTED]})
        items = playback.playlist.items
        self._numbers = {f"{index + 1} · {shown_text(items[index].name, 80)}": index for index in listed}
        options = tuple(self._numbers)
        # Set the value first: viser changes a value missing from the list, and a duplicate in the list breaks the page.
        current = options[listed.index(playback.index)]
        if options != tuple(self._motion.options):
            self._motion.options = (current, *(label for label in self._motion.options if label != current))
            self._motion.value = current
            self._motion.options = options
        self._motion.value = current
        found = len(playback.found)
        of = f"{found} of {len(items)} motions found" if found < len(items) else f"{found} motions"
        self._count.content = f"<div style='margin:0 .9em .5em;font-size:.8em;opacity:.75'>{of}</div>"

    def _choose(self, label: str) -> None:
        index = self._numbers.get(label, self._playback.index)
        if index != self._playback.index:
            self._playback.open(index)

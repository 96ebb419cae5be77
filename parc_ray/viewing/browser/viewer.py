"""Viewer: serves a playback with viser. All browsers share one view."""

from __future__ import annotations

import errno
import io
import queue
import signal
import socket
import time
from contextlib import redirect_stdout
from types import FrameType
from typing import Any, Callable, Collection

import torch

from parc_ray.errors import InputError, MissingDependencyError
from parc_ray.viewing.browser.access import Access, access, guarded_server
from parc_ray.viewing.browser.panel import Action, Panel
from parc_ray.viewing.browser.viewport import Viewport
from parc_ray.viewing.scenes.playback import Playback
from parc_ray.viewing.scenes.playlist import Playlist

PORT = 8080
"""First port to try by default."""
PORTS = 100
FRAME = 1 / 30
"""s, between updates while playing."""
LONGEST_STEP = 0.25
"""s, maximum advance of a motion per update; the machine may have slept in between."""


class Viewer:
    """A served page. One thread plays and updates it; viser's threads only post actions."""

    def __init__(self, playlist: Playlist, host: str, port: int | None, allow_hosts: Collection[str] = ()):
        """port: None for any free port. allow_hosts: Additional host names that browsers may use for the viewer.

        Raises InputError if there is nothing to show or the port cannot be used.
        """
        self.playback = Playback(playlist)
        self._stopped = False
        self._actions: queue.Queue[Action] = queue.Queue()
        self.server = _start_server(host, port, access(host, allow_hosts))
        self.port = int(self.server.get_port())
        self._viewport = Viewport(self.server, playlist.geoms)
        self._panel = Panel(self.server, self.playback, self._viewport, self.post)
        self._open()
        self.server.on_client_connect(lambda _: self.post(_nothing))

    def run(self) -> None:
        """Play until `stop`."""
        drawn = time.monotonic()
        while not self._stopped:
            # Sleeps while nothing moves or no browser is connected.
            playing = self.playback.playing and bool(self.server.get_clients())
            acted = self._act(drawn + FRAME - time.monotonic() if playing else None)
            now = time.monotonic()
            if playing:
                self.playback.advance(min(now - drawn, LONGEST_STEP))
            drawn = now
            if playing or acted:
                self._show()

    def post(self, action: Action) -> None:
        """Hand an action to `run`, from any thread."""
        self._actions.put(action)

    def stop(self) -> None:
        """End `run`, from any thread."""
        self.post(lambda: setattr(self, "_stopped", True))

    def close(self) -> None:
        """Stop serving."""
        with redirect_stdout(io.StringIO()):
            self.server.stop()

    def _act(self, patience: float | None) -> bool:
        """Perform all posted actions; return True if any. Wait up to `patience` s for the first (None: forever)."""
        try:
            action = self._actions.get(timeout=None if patience is None else max(patience, 0.0))
        except queue.Empty:
            return False
        while True:
            action()
            try:
                action = self._actions.get_nowait()
            except queue.Empty:
                return True

    def _show(self) -> None:
        if self._opened != self.playback.opened:
            self._open()
        with self.server.atomic():
            self._viewport.show(self.playback)
            self._panel.show()

    def _open(self) -> None:
        self._opened = self.playback.opened
        with self.server.atomic():
            self._viewport.open(self.playback)
            self._panel.open()
            self._viewport.show(self.playback)
            self._panel.show()


def view(
    playlist: Playlist, host: str, port: int | None, say: Callable[[str], None], allow_hosts: Collection[str] = ()
) -> None:
    """Serve the viewer until Ctrl-C or SIGTERM. Raises InputError, see Viewer."""
    torch.set_num_threads(1)  # a character has only 15 bodies: more threads would just wait for each other
    viewer = Viewer(playlist, host, port, allow_hosts)
    address = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    tunnel = f"ssh -L {viewer.port}:{address}:{viewer.port} {socket.gethostname()}"
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        if port is None and viewer.port != PORT:
            say(f"port {PORT} is taken, so it is {viewer.port}")
        say(f"{playlist.title}: look at it on http://{address}:{viewer.port}")
        say(f"from another machine: {tunnel}, then http://127.0.0.1:{viewer.port} there")
        say("Ctrl-C ends it")
        viewer.run()
    except KeyboardInterrupt:
        pass
    finally:
        viewer.close()


def require_viser() -> None:
    """Raise MissingDependencyError if viser is not installed."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"the viewer needs viser ({error}): pip install 'parc-ray[view]'") from None


def _start_server(host: str, port: int | None, allowed: Access) -> Any:
    import viser

    chosen = _free_port(host, port)
    # viser prints a banner.
    with redirect_stdout(io.StringIO()), guarded_server(allowed):
        server = viser.ViserServer(host, chosen, verbose=False)
    if port not in (None, 0, server.get_port()):
        with redirect_stdout(io.StringIO()):
            server.stop()
        raise InputError(f"--port {port}: has just been taken; choose another one")
    # Any browser could request a tunnel through a public server; motions are private.
    setattr(server, "request_share_url", _no_tunnel)  # noqa: B010
    return server


def _free_port(host: str, port: int | None) -> int:
    """Return the given port, else a free one. Raises InputError if it is taken or the host is not local."""
    if port is not None and not 0 <= port < 2**16:
        raise InputError(f"--port {port}: ports go from 0 to 65535")
    for candidate in range(PORT, PORT + PORTS) if port is None else (port,):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as trial:
                # As the server does: a recently closed port counts as free.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
                return int(trial.getsockname()[1])
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise InputError(f"--host {host}: is no address of this machine; give one of its own") from None
            if port is not None:
                problem = f"--port {port}: cannot be used on {host}: {error.strerror}"
                raise InputError(f"{problem}; choose another one") from None
    raise InputError(f"--port: none from {PORT} to {PORT + PORTS - 1} is free on {host}; choose one")


def _no_tunnel(verbose: bool = True) -> None:
    return None


def _nothing() -> None:
    pass


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

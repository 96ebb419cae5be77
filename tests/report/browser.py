"""A real browser that opens pages like a user."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


class Browser:
    """Opens pages and keeps their messages and requests."""

    def __init__(self, chromium: Any):
        self._chromium = chromium

    @contextmanager
    def page(self, path: Path, scheme: str = "light", width: int = 1280, height: int = 800) -> Iterator[Any]:
        """Open a page without a network. It may request nothing but itself."""
        with self._context(scheme, width, height, offline=True) as (page, asked):
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=20_000)
            yield page
            assert [url for url in asked if url.split(":")[0] not in ("data", "blob")] == [path.as_uri()]

    @contextmanager
    def visit(self, address: str, width: int = 1280, height: int = 800) -> Iterator[Any]:
        """Open a page of a server. It may send requests to no other server."""
        with self._context("light", width, height, offline=False) as (page, asked):
            page.goto(address)
            yield page
            own = (address, address.replace("http", "ws", 1), "data:", f"blob:{address}")
            assert [url for url in asked if not url.startswith(own)] == []

    @contextmanager
    def _context(self, scheme: str, width: int, height: int, offline: bool) -> Iterator[tuple[Any, list[str]]]:
        """Yield a page and its requests. Fails after an error, or if a page of ours logs a message."""
        context = self._chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=offline
        )
        said: list[str] = []
        asked: list[str] = []
        page = context.new_page()
        # What others' pages say of themselves is no matter, as long as it is no error.
        page.on("console", lambda message: said.append(message.text) if offline or message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.set_default_timeout(20_000)
        try:
            yield page, asked
            assert not said, "\n".join(said)
        finally:
            context.close()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a browser. Skips the test without Chromium or Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield Browser(launched)
        launched.close()

"""A real browser that opens pages as a user does: from a file, without a network."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


class Browser:
    """Opens pages, and knows of each what it has said and asked for."""

    def __init__(self, chromium: Any):
        self._chromium = chromium

    @contextmanager
    def page(self, path: Path, scheme: str = "light", width: int = 1280, height: int = 800) -> Iterator[Any]:
        """A page that is ready. Fails if it has said anything on its console, or asked for anything but itself."""
        context = self._chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )
        said: List[str] = []
        asked: List[str] = []
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(20_000)
        try:
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=20_000)
            yield page
            assert said == []
            assert [url for url in asked if url.split(":")[0] not in ("data", "blob")] == [path.as_uri()]
        finally:
            context.close()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Skips the test where there is no Chromium, or nothing to drive it with."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield Browser(launched)
        launched.close()

"""Fixtures for tests of engines' packages."""

from __future__ import annotations

from importlib import metadata
from typing import Callable

import pytest


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Return a function that pretends that every package is installed in a version; None: that none is."""

    def pretend(version: str | None) -> None:
        def answer(name: str) -> str:
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", answer)

    return pretend

"""Viewing motions: scenes, characters, the browser viewer, videos."""

"""Paths of files bundled with the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

DEMO = _PACKAGE / "demo" / "files"
"""The demo's tracker: model.pt, agent_config.yaml, dm_env.yaml and humanoid.xml."""
HUMANOID = DEMO / "humanoid.xml"
"""PARC's humanoid (MJCF)."""
DEFAULT_CONFIG = _PACKAGE / "config" / "parc_4_phys_record_default.yaml"
"""PARC's phys_record.yaml for a $DATA_DIR."""

"""Detects a configuration file given in place of another one."""

from __future__ import annotations

from typing import Any, Mapping

PHYS_RECORD = "phys_record.yaml"
DATASET = "create_dataset_config.yaml"
ENVIRONMENT = "dm_env.yaml"
AGENT = "agent_config.yaml"
MIMICKIT_ENVIRONMENT = "env_config.yaml of MimicKit"
MIMICKIT_ENGINE = "engine_config.yaml of MimicKit"
MOTIONS = "motions.yaml"

TYPICAL_KEYS = {
    PHYS_RECORD: {"output_dir", "model_file"},
    DATASET: {"folder_paths"},
    ENVIRONMENT: {"env"},
    AGENT: {"agent_name", "model"},
    MIMICKIT_ENVIRONMENT: {"env_name", "char_file"},
    MIMICKIT_ENGINE: {"engine_name"},
    MOTIONS: {"motions"},
}
"""Keys unique to each kind of file."""
HINTS = {
    (AGENT, ENVIRONMENT): "env_file and agent_file seem swapped",
    (ENVIRONMENT, AGENT): "env_file and agent_file seem swapped",
    (PHYS_RECORD, DATASET): "give the file that its key 'create_dataset_config' names",
    (DATASET, PHYS_RECORD): "name it by 'create_dataset_config' in a phys_record.yaml",
    (MIMICKIT_ENVIRONMENT, ENVIRONMENT): "for trackers of MimicKit, set 'tracker: mimickit'",
    (ENVIRONMENT, MIMICKIT_ENVIRONMENT): "for trackers of PARC, set 'tracker: parc'",
    (MOTIONS, PHYS_RECORD): "name it by 'dataset_file' in a phys_record.yaml",
    (ENVIRONMENT, PHYS_RECORD): "name it by 'env_file' in a phys_record.yaml",
    (AGENT, PHYS_RECORD): "name it by 'agent_file' in a phys_record.yaml",
}


def file_kind(content: Mapping[str, Any]) -> str:
    """Return the kind of file that the content looks like; empty if unclear."""
    kinds = [kind for kind, keys in TYPICAL_KEYS.items() if keys <= content.keys()]
    return kinds[0] if len(kinds) == 1 else ""


def wrong_kind_hint(content: Mapping[str, Any], expected: str) -> str:
    """Return the message for a file that looks like another kind than the expected one; empty if it does not.

    >>> wrong_kind_hint({"folder_paths": ["motions"]}, PHYS_RECORD)[:51]
    'this looks like a create_dataset_config.yaml, where'
    """
    kind = file_kind(content)
    if not expected or not kind or kind == expected or TYPICAL_KEYS.get(expected, {""}) <= content.keys():
        return ""
    hint = HINTS.get((kind, expected))
    return f"this looks like {_a(kind)}, where {_a(expected)} is needed" + (f"; {hint}" if hint else "")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"

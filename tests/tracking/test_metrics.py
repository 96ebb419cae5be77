"""The list of metrics: what hangs on it follows it, and limits are kept."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import parc_ray
from parc_ray.config.record import AcceptanceConfig
from parc_ray.recording.reasons import acceptance_sentence
from parc_ray.tracking.metrics import BY_LIMIT, BY_NAME, METRICS, broken_limits
from tests.report.made_run import QUALITY

GOOD = dict(zip(BY_NAME, (0.05, 0.1, 0.06, 0.07, 0.2, 0.3, 0.8, 0.01, 0.05)))


@pytest.mark.parametrize(
    ("changes", "limits", "expected"),
    [
        ({}, {}, []),
        ({"contact_agreement": 0.25}, {}, ["min_contact_agreement: 0.250 < 0.4"]),
        ({"max_penetration": 0.1234}, {}, ["max_penetration: 0.123 > 0.1"]),
        ({"contact_agreement": 0.4, "max_penetration": 0.1}, {}, []),
        ({"root_error": 9.0, "body_error": 9.0}, {}, []),
        ({}, {"max_mean_root_error": 0.04}, ["max_mean_root_error: 0.050 > 0.04"]),
        ({}, {"max_mean_body_error": 0.02}, ["max_mean_body_error: 0.060 > 0.02"]),
        (
            {"contact_agreement": 0.0, "max_penetration": 0.5},
            {"max_mean_root_error": 0.01},
            ["min_contact_agreement: 0.000 < 0.4", "max_penetration: 0.500 > 0.1", "max_mean_root_error: 0.050 > 0.01"],
        ),
        ({"foot_skate": 0.2}, {"max_foot_skate": 0.15}, ["max_foot_skate: 0.200 > 0.15"]),
        ({"contact_agreement": math.nan}, {}, ["min_contact_agreement: nan < 0.4"]),
    ],
)
def test_broken_limits(changes, limits, expected):
    broken = broken_limits({**GOOD, **changes}, AcceptanceConfig(**limits))
    assert acceptance_sentence(broken) == "; ".join(expected)
    assert [limit.metric.limit for limit in broken] == [sentence.partition(":")[0] for sentence in expected]


def test_acceptance_none_accepts_anything():
    assert broken_limits({**dict.fromkeys(BY_NAME, 9.0), "root_error": math.nan}, None) == []


def test_every_acceptance_limit_is_of_one_figure():
    assert set(BY_LIMIT) == set(AcceptanceConfig.model_fields)
    assert len(BY_LIMIT) == sum(bool(metric.limit) for metric in METRICS)


def test_names_are_those_of_journals():
    assert list(BY_NAME) == list(QUALITY) and len(BY_NAME) == len(METRICS)


def test_the_list_loads_no_torch():
    command = "import sys, parc_ray.tracking.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_there_is_no_other_list():
    """Only what measures the metrics names them besides; not the report, nor its page's scripts."""
    package = Path(parc_ray.__file__).parent
    names = re.compile(rf"\b({'|'.join(set(BY_NAME) - set(BY_LIMIT))})\b")
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.suffix in (".py", ".js", ".html") and names.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"tracking/metrics.py", "tracking/meter.py"}

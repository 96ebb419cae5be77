"""Members of string enums are the strings that they were."""

from __future__ import annotations

import json
import pickle

import pytest

from parc_ray.recording.outcome import Outcome
from parc_ray.runs.motion_state import MotionState


@pytest.mark.parametrize("member", [*Outcome, *MotionState])
def test_members_are_their_values_everywhere(member):
    text = member.value
    assert member == text and type(member)(text) is member
    assert str(member) == f"{member}" == f"{member:s}" == f"{member}" == "".join([member]) == text
    assert repr(member) == repr(text) and f"{member:>12}" == f"{text:>12}"
    assert json.dumps({member: [member]}) == json.dumps({text: [text]})
    assert {member: 1}[text] == {text: 1}[member] == 1 and {member} == {text}
    assert pickle.loads(pickle.dumps(member)) is member

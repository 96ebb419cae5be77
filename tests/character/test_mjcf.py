"""Character files that are none, or want more than a character needs."""

from __future__ import annotations

import re

import pytest

from parc_ray.character.mjcf import Mjcf
from parc_ray.character.skeleton import parse_skeleton
from parc_ray.errors import InputError
from tests.reference import HUMANOID

TEXT = HUMANOID.read_text(encoding="utf-8")


def changed(old: str, new: str) -> str:
    assert re.search(old, TEXT), old
    return re.sub(old, new.replace("\\", "\\\\"), TEXT, count=1)


def torso(attribute: str) -> str:
    return changed('<body name="torso" pos="[^"]*"', f'<body name="torso" {attribute}')


def abdomen(attribute: str) -> str:
    return changed('(?<=name="abdomen_x")[^>]* range="[^"]*"', f' axis="1 0 0" {attribute}')


def bomb() -> str:
    entities = '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 9}">' for k in range(1, 9))
    return f"<!DOCTYPE x [{entities}]><mujoco><worldbody><body name='&a8;'/></worldbody></mujoco>"


def deep(depth: int) -> str:
    return f"<mujoco><worldbody>{'<body>' * depth}{'</body>' * depth}</worldbody></mujoco>"


def wide(count: int) -> str:
    bodies = "".join(f"<body name='b{k}'/>" for k in range(count))
    return f"<mujoco><worldbody><body name='root'><freejoint/>{bodies}</body></worldbody></mujoco>"


def deep_defaults(depth: int) -> str:
    return f"<mujoco>{'<default>' * depth}{'</default>' * depth}<worldbody><body/></worldbody></mujoco>"


BAD = {
    "entity bomb": (bomb(), "has a document type"),
    "external entity": ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><mujoco>&b;</mujoco>', "document type"),
    "include": (changed("<worldbody>", '<worldbody><include file="/etc/passwd"/>'), "has an <include>"),
    "depth": (deep(100_000), "more than 1000 bodies or 100 levels"),
    "depth of defaults": (deep_defaults(5000), "more than 1000 bodies or 100 levels"),
    "bodies": (wide(100_000), "more than 1000 bodies or 100 levels"),
    "nul": ("<mujoco>\0</mujoco>", "not valid XML"),
    "infinite position": (torso('pos="0 0 inf"'), "not finite"),
    "position that is none": (torso('pos="nan 0 0"'), "not finite"),
    "absurd position": (torso('pos="0 0 1e300"'), "absurdly large"),
    "two coordinates": (torso('pos="0 0"'), "2 numbers instead of 3"),
    "no rotation": (torso('quat="0 0 0 0"'), "has length 0"),
    "three numbers of four": (torso('quat="1 0 0"'), "3 numbers instead of 4"),
    "half a range": (abdomen('range="1"'), "1 numbers instead of 2"),
    "empty range": (abdomen('range=""'), "0 numbers instead of 2"),
    "gear that is none": (changed('gear="[^"]*"', 'gear="strong"'), "not a list of numbers"),
    "empty stiffness": (changed('stiffness="[^"]*"', 'stiffness=" "'), "0 numbers instead of 1"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD)
def test_is_refused_at_once_with_a_reason(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as error:
        parse_skeleton(text, "a.xml")
    assert str(error.value).startswith("a.xml: ")
    assert len(str(error.value)) < 500


def test_an_empty_gear_is_that_of_mujoco() -> None:
    parse_skeleton(changed('gear="[^"]*"', 'gear=""'), "a.xml")


def test_numbers_name_their_element() -> None:
    document = Mjcf("<mujoco><worldbody><body name='\x7f\u202e' pos='x'/></worldbody></mujoco>", "a.xml")
    with pytest.raises(InputError, match=r"a\.xml: <body name='.*'>: pos='x' is not a list of numbers") as error:
        document.numbers(document.root_body(), "pos")
    assert "\u202e" not in str(error.value)

"""JointMapping: assigns joints of a BVH file to bodies of the character.

A mapping file (YAML) has these keys; `facing`, `scale` and `rest` are rarely needed:

    up: y                    # the file's axis that points up, y or z; auto: along which head and feet lie apart
    facing: z                # direction of view in its rest pose: x, y, z, -x, -y or -z; with `up: auto`, z or -y
    scale: auto              # metres per unit; auto: from the lengths of arms and legs. Default: 1
    bodies:                  # body: joint; a body that is left out keeps still relative to its parent
      pelvis: Hips
      right_thigh: RightUpLeg
    rest:                    # rotation of a body in the file's rest pose from the character's, in degrees about the
      right_upper_arm: [90, 0, 0]    # character's x (ahead), y and z (up), x first. Default: from the bones' directions
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Sequence, Tuple, Union

from pydantic import Field
from typing_extensions import Annotated, Literal

from parc_ray.character.skeleton import Skeleton
from parc_ray.config.base import Strict
from parc_ray.config.loading import load_config
from parc_ray.errors import InputError, quote

Scale = Annotated[float, Field(gt=0)]


class JointMapping(Strict):
    """Joints of a BVH file by the bodies that they turn."""

    up: Literal["y", "z", "auto"] = "y"
    facing: Literal["x", "y", "z", "-x", "-y", "-z"] = "z"
    scale: Union[Scale, Literal["auto"]] = 1.0
    bodies: Dict[str, str]
    rest: Dict[str, Tuple[float, float, float]] = Field(default_factory=dict)


def _sides(**joints: str) -> dict[str, str]:
    """Return the joints of limbs of both sides."""
    return {f"{side}_{body}": side.title() + joint for side in ("right", "left") for body, joint in joints.items()}


_TRUNK = {"pelvis": "Hips", "torso": "Spine2", "head": "Head"}
_LIMBS = _sides(upper_arm="Arm", lower_arm="ForeArm", hand="Hand", thigh="UpLeg", shin="Leg", foot="Foot")
_LIMBS_BY_JOINT = _sides(upper_arm="Shoulder", lower_arm="Elbow", hand="Wrist", thigh="Hip", shin="Knee", foot="Ankle")
READY: dict[str, tuple[dict[str, str], ...]] = {
    "lafan1": ({**_TRUNK, **_LIMBS},),
    "mixamo": ({body: f"mixamorig:{joint}" for body, joint in {**_TRUNK, **_LIMBS}.items()},),
    "rokoko": ({**_TRUNK, **_LIMBS},),
    "cmu": ({**_TRUNK, "torso": "Spine1", **_LIMBS}, {**_TRUNK, "torso": "Chest2", **_LIMBS_BY_JOINT}),
    "xsens": ({**_TRUNK, "torso": "Chest4", **_LIMBS_BY_JOINT},),
}
"""Joints for the bodies of PARC's and MimicKit's humanoids, by a file's origin; CMU's files have two conversions."""


def find_mapping(
    wanted: str | None, joints: Sequence[str], skeleton: Skeleton, source: Path
) -> tuple[JointMapping, str, list[str]]:
    """Return the mapping for a file with these joints, its name for messages, and notes on how it was chosen.

    wanted: a mapping file or a key of READY; None tries the character's own names, then each built-in mapping.
    Raises InputError if nothing fits.
    """
    if wanted is None:
        return _matching(joints, skeleton, source)
    if wanted in READY:
        return _ready(READY[wanted], joints), f"--mapping {wanted}", []
    if Path(wanted).suffix not in (".yaml", ".yml"):
        raise InputError(f"--mapping {wanted}: is neither a YAML file nor one of {', '.join(READY)}")
    return load_config(Path(wanted), JointMapping, None), wanted, []


def _matching(joints: Sequence[str], skeleton: Skeleton, source: Path) -> tuple[JointMapping, str, list[str]]:
    own = {body: "_".join(body.split()) for body in skeleton.body_names}
    if all(joint in joints for joint in own.values()):
        bodies = dict.fromkeys(own, (0.0, 0.0, 0.0))
        return JointMapping(bodies=own, rest=bodies), "the character's own names", []
    for name, variants in READY.items():
        mapping = _ready(variants, joints)
        fits = all(joint in joints for joint in mapping.bodies.values())
        if fits and all(body in skeleton.body_names for body in mapping.bodies):
            return mapping, f"--mapping {name}", [f"joints matched by the ready mapping {name}"]
    raise InputError(
        f"{source}: its joints have neither the character's names nor those of a ready mapping ({', '.join(READY)}). "
        f"Write a file for --mapping; its joints: {', '.join(joints[:40])}"
    )


def _ready(variants: Sequence[dict[str, str]], joints: Sequence[str]) -> JointMapping:
    """Return the first variant whose joints are all present, else the first variant."""
    fitting = (bodies for bodies in variants if all(joint in joints for joint in bodies.values()))
    return JointMapping(up="auto", scale="auto", bodies=next(fitting, variants[0]))


def joint_indices(
    mapping: JointMapping, name: str, joints: Sequence[str], skeleton: Skeleton, source: Path
) -> dict[str, int]:
    """Return the index of the joint that turns each mapped body. Raises InputError that names the mapping's key."""
    for key, bodies in (("bodies", mapping.bodies), ("rest", mapping.rest)):
        for body in bodies:
            if body not in skeleton.body_names:
                raise InputError(
                    f"{name}: key '{key}.{body}': the character has no such body; it has: "
                    f"{', '.join(skeleton.body_names)}"
                )
    for body, joint in mapping.bodies.items():
        if joint not in joints:
            raise InputError(
                f"{name}: key 'bodies.{body}': {source} has no joint {quote(joint, 40)}; it has: "
                f"{', '.join(joints[:40])}"
            )
    if skeleton.body_names[0] not in mapping.bodies:
        raise InputError(f"{name}: key 'bodies' has no {skeleton.body_names[0]}: give the root a joint")
    return {body: joints.index(joint) for body, joint in mapping.bodies.items()}

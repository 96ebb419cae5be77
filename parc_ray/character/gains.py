"""Gains: the PD drive of each joint of a compiled character, from the joint itself or from its servo.

As in MuJoCo's documentation of <position>: force = kp (ctrl - length) - kv velocity, joint torque = force * gear,
length = joint angle * gear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np


@dataclass(frozen=True)
class Gains:
    """The drive of one hinge."""

    stiffness: float
    """N m / rad; 0 if undriven."""
    damping: float
    """N m s / rad."""
    torque_limit: float
    """N m; infinite without one."""
    from_servo: bool
    """True if the stiffness is the actuator's, False if the joint's."""
    actuated: bool
    """True if any actuator acts on it."""


def read_gains(model: mujoco.MjModel) -> list[Gains]:
    """Return the gains of each joint. A joint's own stiffness takes precedence over a servo's."""
    actuators: dict[int, list[int]] = {}
    for number in range(model.nu):
        actuators.setdefault(int(model.actuator_trnid[number, 0]), []).append(number)
    return [_gains(model, joint, actuators.get(joint, [])) for joint in range(model.njnt)]


def _gains(model: mujoco.MjModel, joint: int, actuators: list[int]) -> Gains:
    # Since MuJoCo 3.4, a joint may have several coefficients; the first is linear.
    stiffness = float(np.ravel(model.jnt_stiffness[joint])[0])
    damping = float(np.ravel(model.dof_damping[model.jnt_dofadr[joint]])[0])
    limits = [limit for number in actuators for limit in _force_limits(model, number)]
    if model.jnt_actfrclimited[joint]:
        limits.append(float(np.abs(model.jnt_actfrcrange[joint]).max()))
    if not limits:
        # As in PARC's characters, the gear of a motor without other limits is its torque limit.
        limits = [abs(float(model.actuator_gear[number, 0])) for number in actuators if not _is_affine(model, number)]
    from_servo = not stiffness and len(actuators) == 1 and _is_servo(model, actuators[0])
    if from_servo:
        gear = float(model.actuator_gear[actuators[0], 0])
        stiffness = float(model.actuator_gainprm[actuators[0], 0]) * gear * gear
        damping -= float(model.actuator_biasprm[actuators[0], 2]) * gear * gear
    return Gains(stiffness, damping, min(limits, default=math.inf), from_servo, bool(actuators))


def _is_servo(model: mujoco.MjModel, actuator: int) -> bool:
    """Return whether an actuator drives a joint to its control value, like <position>."""
    kp, bias = float(model.actuator_gainprm[actuator, 0]), model.actuator_biasprm[actuator]
    springs = kp > 0 and abs(bias[1] + kp) <= 1e-6 * kp and bias[0] == 0
    return bool(_is_affine(model, actuator) and springs and bias[2] <= 0)


def _is_affine(model: mujoco.MjModel, actuator: int) -> bool:
    """Return whether an actuator's force depends on its joint's state, as for servos and dampers."""
    return int(model.actuator_biastype[actuator]) == int(mujoco.mjtBias.mjBIAS_AFFINE)


def _force_limits(model: mujoco.MjModel, actuator: int) -> list[float]:
    """Return an actuator's maximum torque, N m, in a list; empty if unlimited."""
    gear = abs(float(model.actuator_gear[actuator, 0]))
    if model.actuator_forcelimited[actuator]:
        return [gear * float(np.abs(model.actuator_forcerange[actuator]).max())]
    if model.actuator_ctrllimited[actuator] and not _is_affine(model, actuator):
        gain = abs(float(model.actuator_gainprm[actuator, 0]))
        return [gear * gain * float(np.abs(model.actuator_ctrlrange[actuator]).max())]
    return []

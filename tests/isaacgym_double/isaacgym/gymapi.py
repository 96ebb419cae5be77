"""The names of isaacgym.gymapi that the double has; all of them are in isaacgym-stubs."""

from isaacgym import gymdeps as _gymdeps  # noqa: F401
from isaacgym._double import values as _values
from isaacgym._double.gym import Gym, acquire_gym

__all__ = ["Gym", "acquire_gym", *_values.PUBLIC]

globals().update(_values.PUBLIC)

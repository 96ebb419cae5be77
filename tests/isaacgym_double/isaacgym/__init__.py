"""A contract double of NVIDIA's Isaac Gym Preview 4, on MuJoCo, for tests. Not NVIDIA's software.

Put the folder that holds this package first on PYTHONPATH. It behaves like the real package where documentation,
the typed stubs (isaacgym-stubs) or published code say what that is, refuses what they do not allow, and refuses
what it does not model. Environment variables: see `_double/settings.py`.
"""

from isaacgym import gymdeps  # noqa: F401

"""Generated motions of a humanoid that walks over blocky ground."""

from parc_ray.motions.synthetic.generator import MotionSpec, demo_motions, generate_motion, generate_motions

__all__ = ["MotionSpec", "demo_motions", "generate_motion", "generate_motions"]

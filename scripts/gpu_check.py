"""The same as `parc-ray doctor --gpu`."""

import sys

from parc_ray.cli import app

app(["doctor", "--gpu", *sys.argv[1:]], prog_name="parc-ray")

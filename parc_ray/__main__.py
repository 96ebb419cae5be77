"""python -m parc_ray: the command parc-ray."""

from parc_ray.cli import main

main()

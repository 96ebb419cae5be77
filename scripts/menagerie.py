"""Prints which humanoids and quadrupeds of MuJoCo Menagerie parc_ray can simulate, as a table in Markdown.

pip install mujoco-menagerie
python scripts/menagerie.py             # downloads each robot
python scripts/menagerie.py CLONE       # reads a clone of github.com/google-deepmind/mujoco_menagerie
"""

from __future__ import annotations

import argparse
from pathlib import Path

from parc_ray.character.character import read_character
from parc_ray.character.decisions import describe, warnings
from parc_ray.errors import InputError

CATEGORIES = ("humanoid", "quadruped", "biped")


def main() -> None:
    """Print a row per robot."""
    import mujoco_menagerie  # type: ignore[import-not-found]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", nargs="?", type=Path, help="Folder of a clone. Default: download.")
    clone: Path | None = parser.parse_args().clone
    print("| robot | degrees of freedom | result |\n|---|---|---|")
    for category in CATEGORIES:
        for robot in mujoco_menagerie.robots(category):
            folder = clone / robot.name if clone else robot.path()
            path = folder / f"{robot.default_model}.xml"
            if path.exists():
                print(f"| {robot.display_name} | {_result(path)} |", flush=True)


def _result(path: Path) -> str:
    """Return the last two columns."""
    try:
        character = read_character(path)
    except InputError as error:
        return f" | refused: {str(error)[len(f'{path}: ') :].split(': nothing would drive it')[0]}"
    lines = [*describe(character.decisions), *warnings(character.decisions, path.name)]
    return f"{character.skeleton.dof_count} | accepted: {'; '.join(lines) or 'as it is'}"


if __name__ == "__main__":
    main()

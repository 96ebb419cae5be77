"""Draws what train_tracker has printed, as an SVG: python scripts/training_curve.py training.log > training.svg

Motions recorded whole at each save, and how far the actor's PD targets were from what it was taught.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import List, Tuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 56, 64, 34, 44
GREEN, GREY = "#2a7f3f", "#8a8a8a"
Points = List[Tuple[float, float]]


def read_log(text: str) -> tuple[Points, Points, int]:
    """Return points (M samples, motions recorded whole), points (M samples, rad), and the number of motions.

    Logs of resumed trainings may be concatenated.
    """
    recorded: Points = []
    errors: Points = []
    samples, before, motions = 0.0, 0.0, 0
    for line in text.splitlines():
        progress = re.match(r"([\d.]+) M samples", line)
        saved = re.match(r" +(\d+) of (\d+) motions recorded whole", line)
        if progress:
            if before + float(progress[1]) < samples:
                before = samples
            samples = before + float(progress[1])
            aim = re.search(r"aim off by ([\d.]+) rad", line)
            errors += [(samples, float(aim[1]))] if aim else []
        elif saved:
            recorded.append((samples, float(saved[1])))
            motions = max(motions, int(saved[2]))
    return recorded, errors, motions


def curve(recorded: Points, errors: Points, motions: int) -> str:
    """Return the SVG. Raises ValueError if nothing was saved."""
    if not recorded:
        raise ValueError("no line says how many motions were recorded whole")
    most = max(x for x, _ in recorded + errors)
    largest = 0.1 * -(-max([y for _, y in errors], default=0.1) // 0.1)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float, top: float) -> tuple[float, float]:
        return LEFT + x / most * (right - LEFT), bottom - y / top * (bottom - TOP)

    def line(points: Points, top: float, colour: str) -> str:
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y, top)) for x, y in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#333") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

    parts = [line(errors, largest, GREY), line(recorded, motions, GREEN)]
    parts += [text(LEFT - 8, place(0, y, motions)[1] + 4, f"{y}", "end", GREEN) for y in ticks(motions)]
    parts += [text(right + 8, place(0, y, largest)[1] + 4, f"{y:.2f}", "start", GREY)
              for y in (0.0, 0.5 * largest, largest)]  # fmt: skip
    parts += [text(place(x, 0, 1)[0], bottom + 18, f"{x}") for x in ticks(int(most))]
    parts.append(text(0.5 * (LEFT + right), HEIGHT - 8, "million control steps"))
    parts.append(text(LEFT, TOP - 14, f"of {motions} motions recorded whole", "start", GREEN))
    parts.append(text(right, TOP - 14, "PD targets off by, rad", "end", GREY))
    parts.append(f'<path d="M{LEFT},{TOP} V{bottom} H{right} V{TOP}" fill="none" stroke="#bbb"/>')
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])


def ticks(most: int) -> list[int]:
    """Return at most nine integers from 0 to `most`, evenly spaced."""
    return list(range(0, most + 1, max(1, -(-most // 8))))


def main() -> None:
    """Draw the log that the argument names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.stdout.write(curve(*read_log(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()

"""Population: copies of a character that track one motion in parallel; the best copies continue.

This is sequential Monte Carlo with truncation selection, the sample-simulate-select loop of SAMCON (Liu, Yin, van de
Panne, Shao, Xu, 2010) with a trained tracker as proposal. After every window, the copies farthest from the reference
become copies of the closest ones. Each lineage is one continuous simulation.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import numpy.typing as npt

from parc_ray.recording.attempt import Attempt
from parc_ray.recording.selection import parents, ranking
from parc_ray.tensors.arrays import DoubleArray, IndexArray

WINDOWS_PER_SECOND = 3
MEMORY = 0.9
"""Weight of the past in the distance that ranks copies, per control step."""

Verdict = npt.NDArray[np.int64]
"""Verdict of one env: whether its attempt is over, reason, body, control steps."""


def window_steps(control_freq: int) -> int:
    """Return the number of control steps between selections, the same for every engine and device."""
    return max(1, round(control_freq / WINDOWS_PER_SECOND))


class Population:
    """An attempt in several envs, from the motion's start to its end. Tracks on the host which copies live, and their
    ancestry. Frames stay in the envs that simulated them.
    """

    def __init__(self, attempt: Attempt, envs: Sequence[int], steps: int, window: int):
        """steps: control steps of the motion."""
        self.attempt, self.envs, self.steps, self.window = attempt, list(envs), steps, window
        self.step = 0
        """Control steps made at the last look."""
        self.env_steps = 0
        """Control steps summed over copies."""
        self.alive = np.ones(len(envs), dtype=np.bool_)
        self.last_death = (0, 0, 0, 0)
        """Copy, reason, body and control steps of the last copy to fail; the lowest copy in a tie."""
        self._parents: list[IndexArray] = []

    @property
    def living(self) -> list[int]:
        """Envs of the living copies."""
        return [env for env, alive in zip(self.envs, self.alive) if alive]

    @property
    def over(self) -> bool:
        """True if the motion has ended, or every copy has failed."""
        return self.step >= self.steps or not self.alive.any()

    @property
    def windows(self) -> int:
        """Number of windows begun."""
        return len(self._parents) + 1

    def look(self, verdicts: dict[int, Verdict]) -> None:
        """Apply the verdicts by env, after one or more control steps since the last look."""
        before = self.step
        for copy in np.flatnonzero(self.alive).tolist():
            _, reason, body, steps = map(int, verdicts[self.envs[copy]][:4])
            self.step = max(self.step, steps)
            self.env_steps += steps - before
            if reason:
                self.alive[copy] = False
                if steps > self.last_death[3]:
                    self.last_death = (copy, reason, body, steps)

    def select(self, distance: DoubleArray) -> list[int]:
        """Begin the next window; return the env that each copy continues. distance: [N] m, see MEMORY."""
        chosen = parents(ranking(distance, self.alive), len(self.envs))
        self._parents.append(chosen)
        self.alive[:] = True
        return [self.envs[copy] for copy in chosen]

    def candidates(self, distance: DoubleArray) -> list[int]:
        """Return the copies that reached the motion's end, best first."""
        return [int(copy) for copy in ranking(distance, self.alive)]

    def lineage(self, copy: int, steps: int) -> tuple[list[int], list[int]]:
        """Return the envs that simulated frames 0, 1, ..., steps of a copy, and those that observed them.

        A frame at the end of a window is simulated in one env and observed, before the next step, in another.
        """
        copies = [copy]
        for chosen in reversed(self._parents):
            copies.append(int(chosen[copies[-1]]))
        envs = [self.envs[ancestor] for ancestor in reversed(copies)]
        last = len(envs) - 1
        simulated = [envs[max(0, frame - 1) // self.window] for frame in range(steps + 1)]
        return simulated, [envs[min(last, frame // self.window)] for frame in range(steps + 1)]

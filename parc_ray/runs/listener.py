"""RunListener: interface for following a running run."""

from __future__ import annotations

from typing import Sequence

from typing_extensions import Protocol

from parc_ray.runs.activity import ActorWork, Progress
from parc_ray.runs.events import Event


class RunListener(Protocol):
    """Follows one run. The driver calls its listeners in order, in its own thread, the journal first.

    An exception ends the run, so a listener that the run can do without handles its own exceptions. Notices are not
    among these calls: they go to Python's logger `parc_ray`.

    >>> class Deaths(RunListener):
    ...     def events(self, events: Sequence[Event]) -> None:
    ...         print(*(event.reason for event in events if event.kind == "death"))
    """

    def events(self, events: Sequence[Event]) -> None:
        """A shard was assigned, an actor is ready or lost, attempts or motions have finished, ..."""
        return

    def work(self, work: ActorWork) -> None:
        """An actor has reported."""
        return

    def shard_over(self, shard: int) -> None:
        """No actor works on a shard any more."""
        return

    def progress(self, progress: Progress) -> None:
        """The run has advanced. Called several times a second."""
        return

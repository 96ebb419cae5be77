"""RunLogger: logs a run's progress and summary to TensorBoard or Weights & Biases, through their libraries.

TensorBoard's event files are in the folder `tensorboard` of the output directory. In Weights & Biases, every session of
a run is a run of the project parc_ray ($WANDB_PROJECT overrides it). All sessions form one group, named by the output
directory. Numbers are plotted over the control steps of all envs.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

from parc_ray.errors import MissingDependencyError, quote
from parc_ray.runs.activity import Progress
from parc_ray.runs.listener import RunListener

LOG_SECONDS = 1.0
LIBRARIES = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Library that each logger imports."""


def require_logger(name: str) -> None:
    """Raise MissingDependencyError if the library of a logger (`output.logger`) is missing."""
    if name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]) is None:
        raise MissingDependencyError(
            f"key 'output.logger' = {name!r}: {LIBRARIES[name]} is not installed: "
            'pip install "parc-ray[tracking]", or leave the key out'
        )


class RunLogger(RunListener):
    """Logs numbers of a run. An error in the library ends the log, never the run.

    logger = RunLogger("tensorboard", output_dir, config, tell)
    logger.log(120, {"recorded": 3}, "progress")
    logger.close()
    """

    def __init__(self, name: str, output_dir: Path, config: Mapping[str, Any], tell: Callable[[str], None]):
        """name: one of LIBRARIES, or none. config: of the run. tell: called with one line if the log ends early."""
        self._name, self._tell = name, tell
        self._log: _TensorBoard | _WeightsAndBiases | None = None
        self._last = time.monotonic()
        self._try(lambda: self._open(output_dir, config))

    def progress(self, progress: Progress) -> None:
        """See RunListener; logged every LOG_SECONDS."""
        now = time.monotonic()
        if now - self._last >= LOG_SECONDS:
            self._last = now
            self.log(progress.env_steps, progress.numbers(), "progress")

    def log(self, steps: int, values: Mapping[str, Any], group: str) -> None:
        """Log the numbers in values, including nested dicts, at `steps` control steps."""
        log = self._log
        if log is not None:
            self._try(lambda: log.write(steps, dict(_numbers(values, group))))

    def close(self) -> None:
        """Flush and close the log."""
        log, self._log = self._log, None
        if log is not None:
            self._try(log.close)

    def _open(self, output_dir: Path, config: Mapping[str, Any]) -> None:
        if self._name == "tensorboard":
            self._log = _TensorBoard(output_dir)
        elif self._name == "wandb":
            self._log = _WeightsAndBiases(output_dir, config)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._log = None
            self._tell(f"{self._name} logs no more of this run: {quote(error)}")


class _TensorBoard:
    def __init__(self, output_dir: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(output_dir / "tensorboard"))

    def write(self, steps: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, steps)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, output_dir: Path, config: Mapping[str, Any]):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "parc_ray"),
            name=output_dir.name,
            group=str(output_dir.absolute()),
            job_type="record",
            dir=str(output_dir),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write(self, steps: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=steps)

    def close(self) -> None:
        self._run.finish()


def _numbers(values: Mapping[str, Any], group: str) -> Iterator[tuple[str, float]]:
    """Yield numbers by name, `group/name`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{group}/{name}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{group}/{name}", float(value)

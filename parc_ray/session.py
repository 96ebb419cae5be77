"""A session: recording, its report, and a diagnosis where little was recorded; for the command line and programs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from rich.text import Text

from parc_ray.cluster.run import EndedRun
from parc_ray.cluster.run import record as run_recording
from parc_ray.config.loading import check_config, expand, find_data_dir, load_config
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError, UploadError
from parc_ray.report.diagnosis import diagnose
from parc_ray.report.page import write_report
from parc_ray.runs.exit_codes import INTERRUPTED
from parc_ray.runs.history import Run, read_run
from parc_ray.runs.upload import Upload
from parc_ray.terminal.interruption import Interruption
from parc_ray.terminal.progress import LINE_SECONDS
from parc_ray.terminal.screen import Screen, open_screen


def record(config: str | Path | Mapping[str, Any], *, overwrite: bool = False, quiet: bool = False) -> Run:
    """Record every motion of a dataset that the tracker can physically track, as `parc-ray record` does.

    config: a phys_record.yaml, or a mapping of its keys. A run in its output_dir is resumed.
    overwrite: delete that run first.
    quiet: print warnings and errors only.

    Return the finished run as read_run does. Motions may have crashed; its last session then has exit code 3. A Ray
    that the caller has started is used and left running; otherwise one is started and shut down. SIGINT and SIGTERM
    are handled until the run ends if it is called in the main thread.

    Raises InputError, before anything is written, on bad input; OutputError or LostRayError if the run had to stop;
    UploadError if copies are missing at its end; KeyboardInterrupt if it was interrupted. All recordings are kept;
    the same call resumes the run.

    >>> import parc_ray
    >>> run = parc_ray.record("phys_record.yaml", quiet=True)
    >>> [(motion.name, motion.state, len(motion.attempts)) for motion in run.motions]
    [('walk_0', 'recorded', 1)]
    """
    directory = find_data_dir(None)
    if isinstance(config, (str, Path)):
        checked = load_config(Path(config), RecordConfig, directory)
    else:
        checked = check_config(expand(dict(config), directory, "config"), RecordConfig, "config")
    ended = record_and_report(checked, directory, overwrite, open_screen(quiet))
    if ended.error is not None:
        raise ended.error
    if ended.exit_code == INTERRUPTED:
        raise KeyboardInterrupt
    return read_run(checked.output_dir)


def record_and_report(config: RecordConfig, data_dir: str | None, overwrite: bool, screen: Screen) -> EndedRun:
    """Record a dataset and write its report."""
    with Interruption() as interruption:
        ended = run_recording(config, data_dir, overwrite, screen, interruption)
        if ended.summary is not None:
            explain(config.output_dir, ended.summary, screen)
        if ended.wants_report and config.output.report:
            _write_report(config.output_dir, ended.exit_code != INTERRUPTED, screen)
        if ended.upload is not None:
            ended = _finish_upload(ended, ended.upload, interruption, screen)
    if ended.summary is not None and screen.events:
        screen.events.event("summary", **{**ended.summary, "exit_code": ended.exit_code})
    return ended


def explain(output_dir: Path, summary: Mapping[str, Any], screen: Screen) -> None:
    """Say why a run recorded less than half of the motions it attempted. Errors are only reported."""
    if 2 * summary["recorded"] >= summary["attempted"]:
        return
    try:
        diagnosis = diagnose(read_run(output_dir))
    except InputError as error:
        screen.alert(f"no diagnosis of why so little was recorded: {error}")
        return
    if diagnosis is not None:
        screen.say("", "Why so little was recorded:", *(f"- {line}" for line in diagnosis.lines()))


def _write_report(output_dir: Path, previews: bool, screen: Screen) -> None:
    """Write report.html. Errors are only reported: they do not affect the run."""
    try:
        with screen.console.status("writing the report"):
            path = write_report(output_dir, previews=previews)
        screen.say(f"report: {path}")
    except KeyboardInterrupt:
        screen.alert("interrupted before the report was written; parc-ray report writes it")
    except Exception as error:
        screen.alert(f"the report could not be written: {error or type(error).__name__}")


def _finish_upload(ended: EndedRun, upload: Upload, interruption: Interruption, screen: Screen) -> EndedRun:
    """Finish copying a run's files. Errors change its exit code, but not the run."""
    if ended.error is not None or ended.exit_code == INTERRUPTED:
        upload.hurry()
    interruption.gently = upload.hurry
    try:
        _show_upload(upload, screen)
        upload.require_complete()
        screen.say(f"copies: {upload.url}")
    except KeyboardInterrupt:
        screen.alert(f"interrupted while copying files to {upload.url}; run the same command to resume")
        return replace(ended, exit_code=ended.exit_code or INTERRUPTED)
    except UploadError as error:
        if ended.exit_code or upload.hurried:
            screen.alert(str(error))
            return replace(ended, exit_code=ended.exit_code or INTERRUPTED)
        screen.alert(f"error: {error}")
        return replace(ended, exit_code=error.exit_code, error=error)
    finally:
        interruption.gently = None
    return ended


def _show_upload(upload: Upload, screen: Screen) -> None:
    """Wait for the copies, and show how many are missing."""
    last_line = time.monotonic() - LINE_SECONDS
    with screen.console.status("") as status:
        for waiting in upload.finish():
            line = f"uploading {waiting} files to {upload.url}"
            status.update(Text(line))
            if not screen.console.is_terminal and time.monotonic() - last_line >= LINE_SECONDS:
                last_line = time.monotonic()
                screen.say(line)

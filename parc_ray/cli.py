"""Command line: the commands of parc-ray, and nothing else."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Sequence, Tuple

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

import parc_ray
from parc_ray.config.loading import check_config, find_data_dir, find_default_config, load_config
from parc_ray.config.mimickit_args import config_of_mimickit
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import config_of_args, parse_args
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import HUMANOID
from parc_ray.runs.exit_codes import INCONSISTENT
from parc_ray.terminal.screen import Screen, open_screen, say
from parc_ray.terminal.words import plural

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.demo.generator import MotionSpec
    from parc_ray.motions.dataset import Dataset
    from parc_ray.motions.importers import ImportOptions
    from parc_ray.motions.motion import Motion
    from parc_ray.planning.host import Host


def _plain_help(text: str) -> str:
    """Return a help text without the types, braces and backslashes that some versions of typer and click add."""
    text = re.sub(r"(?<=\S) <[\w\[\] ]+>(?=\s)", lambda match: " " * len(match.group()), text)
    text = re.sub(r"\{(\S+?)\}(?:\.\.\.)?", r"\1", text)
    return text.replace("\\[", "[").replace("[[", "[").replace("]]", "]")


class Command(TyperCommand):
    """A command with plain help."""

    def get_help(self, ctx: Any) -> str:
        """Return the help text."""
        return _plain_help(super().get_help(ctx))


class Group(TyperGroup):
    """A group of commands with plain help."""

    def get_help(self, ctx: Any) -> str:
        """Return the help text."""
        return _plain_help(super().get_help(ctx))


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
RECORD_CODES = """0 every motion was dealt with, rejected ones too; 2 bad input, nothing was written;
  3 some motions could not be attempted; 4 the output cannot be written; 5 the output contradicts itself;
  6 Ray no longer answers; 7 copies are missing; 130 interrupted. The same command resumes the run."""
OTHER_CODES = "0 done; 2 bad input; 4 the output cannot be written"
READ_CODES = "0 done; 2 bad input"


def _epilog(examples: Sequence[str], page: str, codes: str = OTHER_CODES) -> str:
    """Return the end of a help text: examples, exit codes, and the page that says more."""
    lines = "".join(f"\n  {example}" for example in examples)
    return f"\b\nExample{'s' * (len(examples) > 1)}:{lines}\n\n\b\nExit codes:\n  {codes}\n\nPage: {page}"


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP_OPTIONS,
    epilog="\b\nExample:\n  parc-ray record -h\n\nPage: README.md",
)
dataset_app = typer.Typer(cls=Group, help="Make datasets.", no_args_is_help=True, rich_markup_mode=None)
tracker_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
"""scripts/run_tracker.py"""
app.add_typer(dataset_app, name="dataset")

CONFIG_ARGUMENT = typer.Argument(
    None,
    metavar="CONFIG",
    show_default=False,
    help="PARC's phys_record YAML. Default: parc_4_phys_record_default.yaml in configs or data/configs; with a "
    "$DATA_DIR, the bundled one.",
)
CONFIG = typer.Option(None, "--config", metavar="FILE", help="CONFIG, in PARC's way.")
DATA_DIR = typer.Option(None, "--data-dir", metavar="FOLDER", help="Value of $DATA_DIR in all YAML files.")
QUIET = typer.Option(False, "--quiet", help="Print warnings and errors only, on standard error.")
JSON = typer.Option(False, "--json", help="Print events as JSON lines; everything else goes to standard error.")
ARG_FILE = typer.Option(
    None,
    "--arg-file",
    metavar="FILE",
    help="MimicKit's argument file, in place of a configuration; CONFIG may add other keys.",
)
MODEL_FILE = typer.Option(None, "--model-file", metavar="FILE", help="With --arg-file: the checkpoint.")
OUTPUT = typer.Option(None, "--output", metavar="FOLDER", help="With --arg-file: folder for everything the run writes.")
OVERWRITE = typer.Option(False, "--overwrite", help="Delete the run that is in output_dir, and start anew.")
REPLACE = typer.Option(False, "--overwrite", help="Replace existing files.")
CHARACTER = typer.Option(
    None, "--character", metavar="FILE", help="The character's MJCF. Default: that of the run, else PARC's humanoid."
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"parc-ray {parc_ray.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
) -> None:
    """Record physically tracked motions with PARC trackers."""


@app.command(
    cls=Command,
    epilog=_epilog(
        ["parc-ray init --tracker p3_tracker --motions p2_motions --output-dir p4_phys_record"],
        "configs/README.md",
    ),
)
def init(
    tracker: Optional[Path] = typer.Option(
        None,
        "--tracker",
        metavar="FOLDER",
        help="Folder of a trained tracker: model.pt, dm_env.yaml and agent_config.yaml; of MimicKit's: model.pt, "
        "env_config.yaml, engine_config.yaml and agent_config.yaml.",
    ),
    motions: Optional[List[Path]] = typer.Option(
        None,
        "--motions",
        metavar="PATH",
        show_default=False,
        help="A folder of motions, a motions.yaml or a motion file. Several folders: repeat the option.",
    ),
    output_dir: Optional[Path] = typer.Option(
        None, "--output-dir", metavar="FOLDER", help="Folder for everything the run writes. Default: recorded."
    ),
    character: Optional[Path] = typer.Option(
        None, "--character", metavar="FILE", help="The character's MJCF. Default: that of the tracker's environment."
    ),
    folder: Path = typer.Option(
        Path(),
        "--folder",
        metavar="FOLDER",
        show_default=False,
        help="Folder for the YAML files. Default: this one.",
    ),
    overwrite: bool = REPLACE,
) -> None:
    """Write a commented phys_record.yaml, and a create_dataset_config.yaml, for a tracker and its motions.

    On a terminal, asks for what the options do not say.
    """
    from parc_ray.config.starter import starter_files
    from parc_ray.files.writing import make_folder, write_file_atomic

    tracker = tracker or _ask("--tracker", "Folder of the tracker (model.pt and its YAML files)")
    motions = motions or [_ask("--motions", "Folder of motions, or a motions.yaml")]
    output_dir = output_dir or Path("recorded")
    texts = starter_files(tracker, motions, output_dir, folder, character)
    _require_free(list(texts), overwrite)
    make_folder(folder)
    console = Console()
    for path, text in texts.items():
        write_file_atomic(path, text.encode("utf-8"))
        say(console, f"{path}: written")
    say(console, f"Next: parc-ray check {next(iter(texts))}")


def _ask(option: str, question: str) -> Path:
    """Ask a question and return the answer. Raises InputError if nobody can answer."""
    if not sys.stdin.isatty():
        raise InputError(f"{option} is missing; see parc-ray init -h")
    return Path(typer.prompt(question)).expanduser()


def _require_free(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise InputError if a file exists and may not be overwritten."""
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        others = f" and {plural(len(taken) - 1, 'other')}" if len(taken) > 1 else ""
        exist = "exist" if others else "exists"
        raise InputError(f"{taken[0]}{others} already {exist}; choose another folder, or pass --overwrite")


@app.command(
    cls=Command,
    epilog=_epilog(
        [
            "parc-ray record phys_record.yaml",
            "parc-ray record phys_record.yaml --recover",
            "parc-ray record --arg-file args/ADD.txt --model-file model.pt --output out",
        ],
        "parc_ray/runs/README.md",
        RECORD_CODES,
    ),
)
def record(
    given: Optional[Path] = CONFIG_ARGUMENT,
    config: Optional[Path] = CONFIG,
    arg_file: Optional[Path] = ARG_FILE,
    model_file: Optional[Path] = MODEL_FILE,
    output: Optional[Path] = OUTPUT,
    data_dir: Optional[str] = DATA_DIR,
    recover: bool = typer.Option(
        False,
        "--recover",
        help="Set recovery: true: explore to track motions that the tracker loses alone; also those of a finished run.",
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """Record every motion of a dataset that the tracker can physically track, or resume such a run."""
    screen = open_screen(quiet, json)
    config = _one_config(given, config)
    load = _configuration(config, arg_file, model_file, output)
    raise typer.Exit(_run(screen, data_dir, overwrite, partial(_load_with_recovery, load) if recover else load))


def _load_with_recovery(load: Callable[[Optional[str]], RecordConfig], data_dir: Optional[str]) -> RecordConfig:
    """Return the configuration of `load`, with recovery. Raises InputError if recovery cannot be enabled."""
    config = load(data_dir)
    if config.recovery:
        return config
    values = {**config.model_dump(), "acceptance": config.acceptance or "none", "recovery": True}
    return check_config(values, RecordConfig, "--recover")


def _one_config(given: Optional[Path], option: Optional[Path]) -> Optional[Path]:
    """Return the configuration given as an argument or an option. Raises InputError if both are given."""
    if given and option and given != option:
        raise InputError(f"two configurations: {given} and --config {option}; give one")
    return given or option


def _configuration(
    config: Optional[Path], arg_file: Optional[Path], model_file: Optional[Path], output: Optional[Path]
) -> Callable[[Optional[str]], RecordConfig]:
    """Return a function from the value of $DATA_DIR to the configuration that a command names."""
    if arg_file is not None:
        return partial(_load_arg_file, arg_file, model_file, output, config)
    if model_file or output:
        raise InputError("--model-file and --output belong to --arg-file; a configuration has keys for them")
    return partial(_load, config)


def _load_arg_file(
    arg_file: Path, model_file: Optional[Path], output: Optional[Path], config: Optional[Path], data_dir: Optional[str]
) -> RecordConfig:
    """Return the run of MimicKit's argument file. Raises InputError if it names a missing file or engine."""
    from parc_ray.planning.names import require_names

    loaded = config_of_mimickit(arg_file, model_file, output, config, data_dir)
    require_names(loaded, str(arg_file), data_dir)
    return loaded


def _load(given: Optional[Path], data_dir: Optional[str]) -> RecordConfig:
    """Return the configuration of a run. Raises InputError if it names a missing file or engine."""
    from parc_ray.planning.names import require_names

    file = given or find_default_config(data_dir)
    config = load_config(file, RecordConfig, data_dir)
    require_names(config, str(file), data_dir)
    return config


@app.command(cls=Command, epilog=_epilog(["parc-ray demo"], "parc_ray/demo/README.md", RECORD_CODES))
def demo(
    output: Path = typer.Option(
        Path("output"),
        "--output",
        "-o",
        metavar="FOLDER",
        show_default=False,
        help="Folder for the motions (demo_motions) and the run (demo). Default: output.",
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """Generate 48 motions and record them with a bundled tracker: a complete run that needs no data."""
    screen = open_screen(quiet, json)

    def prepare(data_dir: Optional[str]) -> RecordConfig:
        from parc_ray.character.skeleton import load_skeleton
        from parc_ray.demo.configuration import write_configuration
        from parc_ray.demo.generator import DEMO_MOTIONS, demo_motions

        motions = output / "demo_motions"
        generated = demo_motions(load_skeleton(HUMANOID))
        _write_motions(motions, generated, DEMO_MOTIONS, screen.console)
        return load_config(write_configuration(motions, output / "demo"), RecordConfig, data_dir)

    raise typer.Exit(_run(screen, None, overwrite, prepare))


def _run(screen: Screen, data_dir: Optional[str], overwrite: bool, load: Callable[..., RecordConfig]) -> int:
    """Record the configuration that `load` returns for the value of $DATA_DIR; return the exit code."""
    with screen.explain_errors():
        directory = find_data_dir(data_dir)
        config = load(directory)
        from parc_ray.session import record_and_report  # takes seconds: not before a mistyped key is found

        return record_and_report(config, directory, overwrite, screen).exit_code


@app.command(
    cls=Command, epilog=_epilog(["parc-ray check phys_record.yaml"], "parc_ray/simulators/README.md", READ_CODES)
)
def check(
    given: Optional[Path] = CONFIG_ARGUMENT,
    config: Optional[Path] = CONFIG,
    arg_file: Optional[Path] = ARG_FILE,
    model_file: Optional[Path] = MODEL_FILE,
    output_dir: Optional[Path] = OUTPUT,
    data_dir: Optional[str] = DATA_DIR,
    overwrite: bool = typer.Option(False, "--overwrite", help="Check a new run in place of the one in output_dir."),
) -> None:
    """Check all inputs of a run and print its plan, without simulating or writing anything.

    With ray.address or $RAY_ADDRESS, the plan is for that cluster, and its engine is tried out there.
    """
    directory, config = find_data_dir(data_dir), _one_config(given, config)
    loaded = _configuration(config, arg_file, model_file, output_dir)(directory)
    from parc_ray.planning.preparation import plan_anew, prepare
    from parc_ray.runs.output import OutputDirectory
    from parc_ray.terminal.plan_table import plan_lines

    console = Console()
    output = OutputDirectory(loaded.output_dir, loaded.output)
    with _host_to_check(loaded) as host:
        run = prepare(loaded, directory, overwrite, output, host, console)
        finished = run.plan is None
        plan = run.plan or plan_anew(run, host, console)
    source = arg_file or config or find_default_config(directory)
    where = f"the cluster at {loaded.ray.cluster}" if loaded.ray.cluster else "this machine"
    say(console, *plan.placement.notices)
    if finished:
        say(console, f"{loaded.output_dir}: nothing is left to do; the plan is that of record --overwrite")
    say(console, f"{source}: plan for {where}", *plan_lines(run, plan))
    _print_set_aside(run.inputs.dataset, console)


@contextmanager
def _host_to_check(config: RecordConfig) -> Iterator[Host]:
    """Yield the host of a run: this machine, or a cluster, from which this process disconnects at the end."""
    if config.ray.cluster is None:
        from parc_ray.planning.host import ThisMachine

        yield ThisMachine()
        return
    from parc_ray.cluster.connection import ray_session
    from parc_ray.cluster.host import RayHost

    with ray_session():
        yield RayHost(config, thorough=True)


RUN = typer.Argument(..., metavar="RUN", show_default=False, help="The output_dir of a run, at work or ended.")


@app.command(
    cls=Command,
    epilog=_epilog(
        ["parc-ray doctor", "parc-ray doctor --gpu --device cuda:1"],
        "parc_ray/doctor/README.md",
        "0 nothing failed; 1 something failed, or no engine can be loaded; 2 bad input",
    ),
)
def doctor(
    start: bool = typer.Option(False, "--try", help="Start every engine that is installed. A first start compiles."),
    gpu: bool = typer.Option(False, "--gpu", help="Check and measure every engine on a GPU, in at most eight minutes."),
    compile_for: List[str] = typer.Option(
        [], "--compile", metavar="ARCH", help="Compile MuJoCo Warp's kernels for a GPU that is not here: sm_90."
    ),
    device: str = typer.Option("cuda:0", "--device", metavar="DEVICE", help="With --gpu: cuda:N, or cpu."),
    engines: str = typer.Option("", "--engines", metavar="NAMES", help="With --gpu: only A,B. Default: all here."),
    parts: str = typer.Option("", "--parts", metavar="NAMES", help="With --gpu: start, demo, speed, conformance, ray."),
    envs: str = typer.Option("", "--envs", metavar="COUNTS", help="With --gpu: numbers of envs, as 64,1024."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as one JSON document instead."),
) -> None:
    """Show what this machine has and which engines work. Attach the output to a bug report."""
    from parc_ray.doctor.checkup import Checkup, run_checkup
    from parc_ray.doctor.gpu import read_gpu_check

    check = read_gpu_check(device, engines, parts, envs) if gpu else None
    console = Console(stderr=as_json)
    findings = run_checkup(Checkup(start, check, compile_for), lambda line: say(console, line))
    if as_json:
        print(findings.to_json())
    raise typer.Exit(0 if findings.healthy else 1)


@app.command(cls=Command, epilog=_epilog(["parc-ray report output/demo"], "parc_ray/report/README.md"))
def report(
    output_dir: Path = RUN,
    character: Optional[Path] = typer.Option(
        None, "--character", metavar="FILE", help="The character's MJCF, for the 3-D previews. Default: the run's."
    ),
) -> None:
    """Write report.html, one page that shows what happened in a run, into its output directory."""
    from parc_ray.character.character import read_character
    from parc_ray.report.page import write_report

    text = None if character is None else read_character(character, driven=False).text
    Console().print(f"{write_report(output_dir, text)}", highlight=False, soft_wrap=True)


@app.command(
    cls=Command,
    epilog=_epilog(
        ["parc-ray compare output/before output/after", "parc-ray compare output/before output/after --json"],
        "parc_ray/report/README.md",
        READ_CODES,
    ),
)
def compare(
    baseline: Path = typer.Argument(
        ..., metavar="A", show_default=False, help="The output_dir of a run: the baseline."
    ),
    candidate: Path = typer.Argument(
        ..., metavar="B", show_default=False, help="The output_dir of the run to compare with it."
    ),
    everything: bool = typer.Option(False, "--all", help="Show long lists whole."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as one JSON document instead."),
) -> None:
    """Compare two runs of the same motions: motions won and lost by B against A, and their metrics."""
    from parc_ray.report.comparison import compare_runs
    from parc_ray.report.comparison_text import plain, print_comparison
    from parc_ray.runs.history import read_run

    comparison = compare_runs(read_run(baseline), read_run(candidate))
    if as_json:
        print(json.dumps(plain(comparison), indent=2, allow_nan=False))
        return
    console = Console()
    print_comparison(comparison, console if console.is_terminal else Console(width=100), everything)


@app.command(
    cls=Command,
    epilog=_epilog(
        ["parc-ray verify output/demo"],
        "parc_ray/runs/README.md",
        "0 nothing is damaged or missing; 2 bad input; 4 a file cannot be read; 5 recordings are damaged or missing",
    ),
)
def verify(
    output_dir: Path = RUN,
    as_json: bool = typer.Option(False, "--json", help="Print the result as a JSON document instead."),
) -> None:
    """Compare the recordings of a run with the checksums in its journal. Changes nothing."""
    from parc_ray.runs.history import read_run
    from parc_ray.runs.verification import verify_run

    found = verify_run(read_run(output_dir))
    if as_json:
        print(json.dumps({name: list(map(str, paths)) for name, paths in vars(found).items()}, indent=2))
    else:
        say(Console(), *found.lines())
    raise typer.Exit(0 if found.passed else INCONSISTENT)


@app.command(cls=Command, epilog=_epilog(["parc-ray view output/demo"], "parc_ray/viewing/README.md", READ_CODES))
def view(
    path: Path = typer.Argument(
        ...,
        metavar="PATH",
        show_default=False,
        help="The output_dir of a run, a folder of motion files, or one of them.",
    ),
    character: Optional[Path] = CHARACTER,
    host: str = typer.Option(
        "127.0.0.1",
        "--host",
        metavar="ADDRESS",
        show_default=False,
        help="Address to listen on; 0.0.0.0: all addresses of this machine. Default: 127.0.0.1.",
    ),
    port: Optional[int] = typer.Option(
        None, "--port", metavar="N", help="Port to listen on. Default: 8080, or the next free one."
    ),
    allow_host: Optional[List[str]] = typer.Option(
        None,
        "--allow-host",
        metavar="NAME",
        show_default=False,
        help="Another host name by which browsers reach the viewer, such as a proxy's. Repeat for several.",
    ),
) -> None:
    """Look at motions in the browser: recorded and reference, on their terrain."""
    from parc_ray.viewing.browser.viewer import require_viser
    from parc_ray.viewing.browser.viewer import view as show
    from parc_ray.viewing.scenes.playlist import open_playlist

    require_viser()
    console = Console()
    show(open_playlist(path, character), host, port, partial(say, console), allow_host or ())


@app.command(
    cls=Command,
    epilog=_epilog(
        ["parc-ray render MOTION.pkl -o walk.mp4", "parc-ray render MOTION.pkl -o walk.png --camera fixed"],
        "parc_ray/viewing/README.md",
    ),
)
def render(
    file: Path = typer.Argument(
        ...,
        metavar="MOTION",
        show_default=False,
        help="A motion file. A recording in its run's output_dir is drawn with its reference.",
    ),
    output: Path = typer.Option(
        ..., "--output", "-o", metavar="FILE", help="A file that ends in .mp4, .gif or .png (poses in a row)."
    ),
    size: Optional[Tuple[int, int]] = typer.Option(
        None, metavar="WIDTH HEIGHT", help="Pixels. Default: 1280 720; .gif: 640 360; poses in a row: 400 480 each."
    ),
    fps: Optional[float] = typer.Option(None, metavar="N", help="Frames per second. Default: 30; .gif: 25."),
    start: Optional[float] = typer.Option(
        None, "--from", metavar="SECONDS", help="Start, on the reference's clock. Default: its beginning."
    ),
    end: Optional[float] = typer.Option(
        None, "--to", metavar="SECONDS", help="End, on the reference's clock. Default: its end."
    ),
    speed: float = typer.Option(1.0, metavar="FACTOR", show_default=False, help="0.5 is slow motion. Default: 1."),
    camera: str = typer.Option(
        "follow",
        metavar="NAME",
        show_default=False,
        help="follow: follow the character; fixed: show the whole path (.png: all poses in one picture). Default: "
        "follow.",
    ),
    no_reference: bool = typer.Option(False, "--no-reference", help="Leave out the reference."),
    no_contacts: bool = typer.Option(False, "--no-contacts", help="Do not colour bodies in contact."),
    attempts: Optional[bool] = typer.Option(
        None, "--attempts/--no-attempts", help="Draw kept failed attempts. Default: where nothing was recorded."
    ),
    poses: int = typer.Option(8, metavar="N", show_default=False, help="Number of poses in a .png. Default: 8."),
    character: Optional[Path] = CHARACTER,
    overwrite: bool = REPLACE,
) -> None:
    """Render a motion as a video, an animation or a picture, without a display."""
    from parc_ray.viewing.render.rendering import RenderOptions
    from parc_ray.viewing.render.rendering import render as render_motion

    options = RenderOptions(
        file=file,
        output=output,
        size=size,
        fps=fps,
        start=start,
        end=end,
        speed=speed,
        camera=camera,
        reference=not no_reference,
        contacts=not no_contacts,
        attempts=attempts,
        poses=poses,
        character=character,
        overwrite=overwrite,
    )
    render_motion(options, Console())


@app.command(
    cls=Command, epilog=_epilog(["parc-ray export output/demo --to bvh -o elsewhere"], "parc_ray/exporting/README.md")
)
def export(
    path: Path = typer.Argument(
        ...,
        metavar="PATH",
        show_default=False,
        help="The output_dir of a run, a folder of motion files, or one of them.",
    ),
    to: str = typer.Option(
        ...,
        "--to",
        metavar="FORMAT",
        help="bvh, glb (glTF), csv, npz (MuJoCo's qpos and qvel), mimickit; for robots robot-csv, robot-csv-wxyz, "
        "tracking-npz (mjlab), tracking-npz-isaaclab.",
    ),
    output: Path = typer.Option(..., "--output", "-o", metavar="FOLDER", help="Folder for the files."),
    failures: bool = typer.Option(
        False, "--failures", help="Include the failed attempts that the run has kept (record.keep_failures)."
    ),
    character: Optional[Path] = CHARACTER,
    overwrite: bool = REPLACE,
) -> None:
    """Write recordings, or other motions, in formats of other programs."""
    from rich.progress import track

    from parc_ray.exporting import plan_export

    plan = plan_export(path, to, output, failures, character, overwrite)
    console, written = Console(), 0
    for file, target in track(
        plan.targets, output.name, console=console, transient=True, disable=not console.is_terminal
    ):
        try:
            notes = plan.write(file, target)
            say(console, *(f"note: {file}: {note}" for note in notes))
            written += 1
        except InputError as error:
            if len(plan.targets) == 1:
                raise
            say(console, f"left out: {error}")
    if not written:
        raise InputError(f"{path}: nothing could be exported, for the reasons above")
    say(console, f"{output}: {plural(written, 'motion')}")


@dataset_app.command(
    "accepted",
    cls=Command,
    epilog=_epilog(
        ["parc-ray dataset accepted output/demo -o trackable.yaml --include recovered"], "parc_ray/runs/README.md"
    ),
)
def dataset_accepted(
    output_dir: Path = RUN,
    output: Path = typer.Option(..., "--output", "-o", metavar="FILE", help="The motions.yaml to write."),
    include: Optional[str] = typer.Option(
        None, "--include", metavar="KIND", help="recovered: also motions that only recovery could track."
    ),
    overwrite: bool = REPLACE,
) -> None:
    """Write a motions.yaml of the input motions that a run recorded whole, with their weights."""
    from parc_ray.motions.dataset import write_dataset_file
    from parc_ray.runs.ledger import read_ledger
    from parc_ray.runs.output import JOURNAL
    from parc_ray.runs.trackable import accepted_motions

    if include not in (None, "recovered"):
        raise InputError(f"--include {include}: must be recovered, or left out")
    ledger = read_ledger(output_dir / JOURNAL)
    if ledger is None:
        raise InputError(f"{output_dir}: holds no run; give the output_dir of a run")
    _require_free([output], overwrite)
    accepted = accepted_motions(ledger.planned.values(), ledger.outcomes, include == "recovered")
    if not accepted:
        raise InputError(f"{output_dir}: no motion was recorded whole, so there is nothing to list")
    write_dataset_file(accepted, output)
    say(Console(), f"{output}: {plural(len(accepted), 'motion')} of {len(ledger.planned)}")


@dataset_app.command(
    "create",
    cls=Command,
    epilog=_epilog(["parc-ray dataset create create_dataset_config.yaml"], "parc_ray/motions/README.md"),
)
def dataset_create(
    given: Optional[Path] = typer.Argument(
        None,
        metavar="CONFIG",
        show_default=False,
        help="PARC's create_dataset_config YAML: folder_paths, the folders of motions; save_path, the motions.yaml to "
        "write; char_filepath, the character's MJCF.",
    ),
    config: Optional[Path] = CONFIG,
    data_dir: Optional[str] = DATA_DIR,
) -> None:
    """Write a motions.yaml of all motions in some folders, weighted so that every class has the same share.

    The first-level folders inside a listed one are the classes. Motions are read and checked, and never changed.
    """
    from parc_ray.character.character import read_character
    from parc_ray.config.dataset import DatasetConfig
    from parc_ray.files.writing import make_folder
    from parc_ray.motions.dataset import write_dataset
    from parc_ray.motions.scanning import create_dataset, require_folders

    file = _one_config(given, config)
    if file is None:
        raise InputError("no configuration: give a create_dataset_config.yaml")
    loaded = load_config(file, DatasetConfig, find_data_dir(data_dir))
    require_folders(loaded, file)
    try:
        skeleton = read_character(loaded.char_filepath, driven=False).skeleton
    except InputError as error:
        raise InputError(
            f"{file}: key 'char_filepath': {error}; it is relative to the current folder (the default: PARC's root)"
        ) from None
    dataset = create_dataset(loaded, skeleton)
    make_folder(loaded.save_path.parent)
    write_dataset(dataset, loaded.save_path)
    console = Console()
    _print_set_aside(dataset, console)
    say(console, f"{loaded.save_path}: {plural(len(dataset.entries), 'motion')}")


@dataset_app.command(
    "generate",
    cls=Command,
    epilog=_epilog(["parc-ray dataset generate motions --count 100 --difficulty 0 0.5"], "parc_ray/demo/README.md"),
)
def dataset_generate(
    folder: Path = typer.Argument(..., metavar="FOLDER", show_default=False, help="Folder for the motion files."),
    character: Path = typer.Option(
        HUMANOID,
        "--character",
        metavar="FILE",
        show_default=False,
        help="The character's MJCF. Default: PARC's humanoid.",
    ),
    count: int = typer.Option(
        0, min=0, metavar="N", show_default=False, help="Number of motions. Default: the demo's 48."
    ),
    seed: int = typer.Option(
        0, metavar="N", show_default=False, help="The same seed makes the same motions. Default: 0."
    ),
    difficulty: Optional[Tuple[float, float]] = typer.Option(
        None, metavar="LOW HIGH", help="0 to 1: height of blocks, speed and turning; with --count. Default: 0 1."
    ),
    seconds: Optional[Tuple[float, float]] = typer.Option(
        None, metavar="LOW HIGH", help="Length of a motion; with --count. Default: 2 10."
    ),
    overwrite: bool = REPLACE,
) -> None:
    """Generate synthetic motions: the demo's, or any number, for instance for benchmarks."""
    if not count and (difficulty or seconds):
        raise InputError("--difficulty and --seconds need --count: the demo's motions have their own")
    from parc_ray.character.skeleton import load_skeleton
    from parc_ray.demo.generator import DEMO_MOTIONS, MotionSpec, demo_motions, generate_motions

    skeleton = load_skeleton(character)
    motions: Iterable[Motion]
    if count:
        difficulty, seconds = difficulty or (0.0, 1.0), seconds or (2.0, 10.0)
        _check_bounds("difficulty", difficulty, [MotionSpec("idle", 0, difficulty=d) for d in difficulty], skeleton)
        _check_bounds("seconds", seconds, [MotionSpec("idle", 0, seconds=s) for s in seconds], skeleton)
        motions = generate_motions(count, seed, skeleton, seconds, difficulty)
    else:
        motions, count = demo_motions(skeleton, seed), DEMO_MOTIONS
    _require_free(sorted(folder.glob("*.pkl")), overwrite)
    _write_motions(folder, motions, count, Console())


@dataset_app.command(
    "import",
    cls=Command,
    epilog=_epilog(["parc-ray dataset import walk.bvh --mapping joints.yaml -o motions"], "parc_ray/motions/README.md"),
)
def dataset_import(
    sources: List[Path] = typer.Argument(
        ..., metavar="SOURCE...", show_default=False, help="Clips, or folders of them."
    ),
    output: Path = typer.Option(
        ..., "--output", "-o", metavar="FOLDER", help="Folder for the motion files and their motions.yaml."
    ),
    character: Path = typer.Option(
        HUMANOID,
        "--character",
        metavar="FILE",
        show_default=False,
        help="The character's MJCF. Default: PARC's humanoid.",
    ),
    form: Optional[str] = typer.Option(
        None,
        "--format",
        metavar="NAME",
        help="deepmimic (.txt, .json), mimickit, gmr, phc (PHC, PBHC, ASAP; .pkl), protomotions, bvh, "
        "robot-csv (.csv), tracking-npz, amass (.npz). Default: recognized by the content.",
    ),
    terrain: Optional[Path] = typer.Option(
        None, metavar="FILE", help="A motion file whose terrain lies under the clips. Default: level ground."
    ),
    mapping: Optional[str] = typer.Option(
        None,
        metavar="FILE",
        help="YAML that maps the character's bodies to the joints of a .bvh, or lafan1, mixamo, cmu, rokoko or xsens. "
        "Default: by the joints' names.",
    ),
    fps: Optional[float] = typer.Option(
        None, min=1e-3, max=1e4, metavar="N", help="Frames per second, for files without, such as .csv."
    ),
    wxyz: bool = typer.Option(False, "--wxyz", help="Root quaternions of a .csv begin with w."),
    joint_order: str = typer.Option(
        "mjcf",
        metavar="ORDER",
        show_default=False,
        help="Order of a robot's joint angles: breadth-first (Isaac Lab) or a file of joint names. Default: MJCF.",
    ),
    degrees: bool = typer.Option(False, "--degrees", help="A robot's joint angles are in degrees."),
    loop: int = typer.Option(
        1, min=1, max=1000, metavar="N", show_default=False, help="Times that a clip is played in a row. Default: 1."
    ),
    speed: float = typer.Option(
        1.0, min=0.01, max=100.0, metavar="FACTOR", show_default=False, help="2 is twice as fast. Default: 1."
    ),
    overwrite: bool = REPLACE,
) -> None:
    """Import motion capture and robot motions: motions of 30 fps, feet on the ground, contacts labelled.

    Writes a motions.yaml beside them.
    """
    import torch

    from parc_ray.character.character import read_character
    from parc_ray.character.surface import surface_points
    from parc_ray.config.dataset import DatasetConfig
    from parc_ray.motions.dataset import write_dataset
    from parc_ray.motions.importers import ImportOptions
    from parc_ray.motions.importers.clip import ReadOptions
    from parc_ray.motions.motion_file import read_motion
    from parc_ray.motions.scanning import create_dataset

    own = read_character(character, driven=False)
    skeleton = own.skeleton
    surface = surface_points(own.text, str(character), torch.device("cpu"))
    ground = None if terrain is None else read_motion(terrain, skeleton).terrain
    read = ReadOptions(skeleton, mapping, fps, joint_order, wxyz, degrees)
    console = Console()
    options = ImportOptions(read, surface, ground, form, loop, speed)
    motions = _import_clips(sources, options, console)
    _require_free([output / f"{motion.name}.pkl" for motion in motions], overwrite)
    _write_motions(output, motions, len(motions), console)
    dataset_file = output / "motions.yaml"
    dataset = DatasetConfig(folder_paths=[output.absolute()], save_path=dataset_file, min_num_frames=0)
    write_dataset(create_dataset(dataset, skeleton), dataset_file)
    say(console, f"{dataset_file}: every motion in {output}")


@tracker_app.command(cls=Command, context_settings={"ignore_unknown_options": True, **HELP_OPTIONS})
def run_tracker(
    arguments: List[str] = typer.Argument(
        None,
        metavar="--KEY VALUE...",
        show_default=False,
        help="PARC's arguments: --mode record, and --arg_file FILE (the record_args.txt of an output_dir, PARC's own, "
        "too), or its keys: --env_config (a record_env.yaml), --agent_config, --model_file, --device. Arguments "
        "override the file; other keys have no effect.",
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """PARC's run_tracker, for recording alone: resume the run of a record_args.txt, or repeat it (--overwrite)."""
    screen = open_screen(quiet, json)
    load = lambda data_dir: config_of_args(parse_args(arguments or []), data_dir)  # noqa: E731
    raise typer.Exit(_run(screen, None, overwrite, load))


def _import_clips(sources: List[Path], options: ImportOptions, console: Console) -> List[Motion]:
    """Return the motions of all clips, without files of a folder that cannot be imported.

    Raises InputError if a file given by name cannot be imported, or no file can.
    """
    from parc_ray.motions.importers import clips_in, import_clips

    motions: Dict[str, Motion] = {}
    for source in sources:
        for path in clips_in(source) if source.is_dir() else [source]:
            try:
                imported = list(import_clips(path, options))
            except InputError as error:
                if path is source:
                    raise
                say(console, f"left out: {error}")
                continue
            for motion in imported:
                if motion.name in motions:
                    raise InputError(
                        f"{path}: another clip is also named {motion.name}: rename one, or import it apart"
                    )
                motions[motion.name] = motion
            for note in dict.fromkeys(note for motion in imported for note in motion.notes):
                say(console, f"note: {path}: {note}")
    if not motions:
        raise InputError(f"{', '.join(map(str, sources))}: no clip could be imported, for the reasons above")
    return list(motions.values())


def _write_motions(folder: Path, motions: Iterable[Motion], count: int, console: Console) -> None:
    """Write motion files into a folder, with progress."""
    from rich.progress import track

    from parc_ray.files.writing import make_folder, write_file_atomic
    from parc_ray.motions.motion_file import motion_file_bytes
    from parc_ray.terminal.progress import LINE_SECONDS

    make_folder(folder)
    last_line = time.monotonic()
    tracked = track(motions, folder.name, count, console=console, transient=True, disable=not console.is_terminal)
    for done, motion in enumerate(tracked):
        if not console.is_terminal and time.monotonic() - last_line >= LINE_SECONDS:
            last_line = time.monotonic()
            say(console, f"{folder}: {done}/{count} motions")
        write_file_atomic(folder / f"{motion.name}.pkl", motion_file_bytes(motion))
    say(console, f"{folder}: {plural(count, 'motion')}")


def _check_bounds(name: str, bounds: Tuple[float, float], ends: List[MotionSpec], skeleton: Skeleton) -> None:
    """Raise InputError for bounds that a motion could exceed, before any motion is generated."""
    from parc_ray.demo.generator import check_spec

    option = f"--{name} {bounds[0]:g} {bounds[1]:g}"
    if bounds[1] < bounds[0]:
        raise InputError(f"{option}: give the lower value first")
    for spec in ends:
        try:
            check_spec(spec, skeleton)
        except InputError as error:
            raise InputError(f"{option}: {error}") from None


def _print_set_aside(dataset: Dataset, console: Console) -> None:
    for kind, motions in (("invalid", dataset.invalid), ("excluded", dataset.excluded)):
        say(console, *(f"{kind}: {motion.path}: {motion.reason}" for motion in motions))


def _fail(error: ParcRayError) -> NoReturn:
    say(Console(stderr=True), f"error: {error}")
    sys.exit(error.exit_code)


def run_command(function: typer.Typer, arguments: Optional[List[str]] = None) -> NoReturn:
    """Run a command line. A ParcRayError ends it with one message and its exit code."""
    try:
        function(arguments, standalone_mode=True)
    except ParcRayError as error:
        _fail(error)
    finally:
        # Ctrl-C while Python and Ray clean up would end in tracebacks.
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0)


def main() -> NoReturn:
    """Run the console script parc-ray."""
    run_command(app)

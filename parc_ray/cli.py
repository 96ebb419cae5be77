"""Command line: parc-ray record | check | report | compare | view | render | export | dataset | demo."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Sequence, Tuple

import typer
from rich.console import Console

import parc_ray
from parc_ray.config.loading import find_data_dir, find_default_config, load_config
from parc_ray.config.mimickit_args import config_of_mimickit
from parc_ray.config.record import RecordConfig
from parc_ray.config.record_args import config_of_args, parse_args
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import HUMANOID
from parc_ray.terminal.screen import Screen, open_screen, say

if TYPE_CHECKING:
    from parc_ray.character.skeleton import Skeleton
    from parc_ray.demo.generator import MotionSpec
    from parc_ray.motions.dataset import Dataset
    from parc_ray.motions.importers import Import
    from parc_ray.motions.motion import Motion
    from parc_ray.planning.host import Host

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
dataset_app = typer.Typer(help="Make datasets.", no_args_is_help=True)
tracker_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""scripts/run_tracker.py"""
app.add_typer(dataset_app, name="dataset")

MIB = 2**20
CONFIG = typer.Option(
    None,
    "--config",
    help="PARC's phys_record YAML. Default: parc_4_phys_record_default.yaml in configs or data/configs, else the "
    "bundled one.",
)
DATA_DIR = typer.Option(None, "--data-dir", help="Value of $DATA_DIR in all YAML files.")
QUIET = typer.Option(False, "--quiet", help="Say only, on standard error, what went wrong or is left out.")
JSON = typer.Option(False, "--json", help="Print events as JSON lines; all else goes to standard error.")
ARG_FILE = typer.Option(
    None, "--arg-file", help="MimicKit's argument file, in place of a configuration; --config may add other keys."
)
MODEL_FILE = typer.Option(None, "--model-file", help="With --arg-file: the checkpoint.")
OUTPUT = typer.Option(None, "--output", help="With --arg-file: folder for everything the run writes.")
OVERWRITE = typer.Option(False, "--overwrite", help="Delete what an earlier run left in output_dir.")


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


@app.command()
def record(
    config: Optional[Path] = CONFIG,
    arg_file: Optional[Path] = ARG_FILE,
    model_file: Optional[Path] = MODEL_FILE,
    output: Optional[Path] = OUTPUT,
    data_dir: Optional[str] = DATA_DIR,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """Record every motion of a dataset that the tracker can physically track."""
    screen = open_screen(quiet, json)
    raise typer.Exit(_run(screen, data_dir, overwrite, _configuration(config, arg_file, model_file, output)))


def _configuration(
    config: Optional[Path], arg_file: Optional[Path], model_file: Optional[Path], output: Optional[Path]
) -> Callable[[Optional[str]], RecordConfig]:
    """What makes the configuration that a command names, of the value of $DATA_DIR."""
    if arg_file is not None:
        return partial(config_of_mimickit, arg_file, model_file, output, config)
    if model_file or output:
        raise InputError("--model-file and --output belong to --arg-file; a configuration has keys for them")
    return partial(_load, config or find_default_config())


def _load(file: Path, data_dir: Optional[str]) -> RecordConfig:
    """The configuration of a run; that what it names is there is checked. Raises InputError."""
    from parc_ray.planning.names import require_names

    config = load_config(file, RecordConfig, data_dir)
    require_names(config, str(file))
    return config


@app.command()
def demo(
    output: Path = typer.Option(
        Path("output"), "--output", "-o", help="Motions go to demo_motions in this folder, the run to demo."
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """Generate 48 motions and record them with a bundled tracker: a whole run, without any data."""
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
    """Record what `load` makes of the value of $DATA_DIR; returns the exit code."""
    with screen.explaining():
        directory = find_data_dir(data_dir)
        config = load(directory)
        from parc_ray.session import record_and_report  # takes seconds: not before a mistyped key is found

        return record_and_report(config, directory, overwrite, screen).exit_code


@app.command()
def check(
    config: Optional[Path] = CONFIG,
    arg_file: Optional[Path] = ARG_FILE,
    model_file: Optional[Path] = MODEL_FILE,
    output_dir: Optional[Path] = OUTPUT,
    data_dir: Optional[str] = DATA_DIR,
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Check what record --overwrite would do: a new run, whatever is in output_dir."
    ),
) -> None:
    """Check all inputs of a run and print its plan, as record would, without simulating or writing anything.

    Where ray.address or $RAY_ADDRESS names a cluster, that is asked what it has, and an engine is tried out there.
    """
    directory = find_data_dir(data_dir)
    loaded = _configuration(config, arg_file, model_file, output_dir)(directory)
    from parc_ray.planning.plan import bytes_per_env
    from parc_ray.planning.preparation import prepare
    from parc_ray.runs.output import OutputDirectory

    console = Console()
    output = OutputDirectory(loaded.output_dir, loaded.output)
    with _host_to_check(loaded) as host:
        run = prepare(loaded, directory, overwrite, output, host, console)
    inputs, plan, trial = run.inputs, run.plan, run.trial
    if plan is None:
        console.print(f"{loaded.output_dir}: nothing is left to do", highlight=False)
        return
    dataset, placement, engine = inputs.dataset, plan.placement, inputs.files.engine
    source = arg_file or config or find_default_config()
    rows = {
        "motions": f"{len(dataset.entries)} ({len(dataset.invalid)} invalid, {len(dataset.excluded)} excluded)",
        **({"done by an earlier run": str(len(dataset.entries) - len(run.remaining))} if run.goes_on else {}),
        "seconds of motion": f"{plan.seconds:.1f}",
        "simulator": engine.name,
        "engine": f"{engine.title} {trial.version}, Python {trial.python}, torch {trial.torch}",
        **trial.devices,
        "actors": f"{placement.actors} on {placement.device}, {placement.cpus} CPUs and {placement.gpus:g} GPUs each",
        "shards": f"{len(plan.shards)}, of {_range([len(shard) for shard in plan.shards])} motions",
        "envs": f"{_range(plan.envs)} per actor",
        "memory": f"about {plan.actor_bytes / MIB:.0f} MiB per actor, {bytes_per_env(inputs) / MIB:.1f} MiB per env",
        "output": str(inputs.files.config.output_dir),
        **({"copies": run.upload.url} if run.upload else {}),
    }
    width = max(map(len, rows))
    say(console, *placement.notices)
    where = f"the cluster at {loaded.ray.cluster}" if loaded.ray.cluster else "this machine"
    say(console, f"{source}: plan for {where}", *(f"  {name:{width}}  {value}" for name, value in rows.items()))
    _print_set_aside(dataset, console)


@contextmanager
def _host_to_check(config: RecordConfig) -> Iterator[Host]:
    """Where a run would work: this machine, or a cluster, which is left again."""
    if config.ray.cluster is None:
        from parc_ray.planning.host import ThisMachine

        yield ThisMachine()
        return
    import ray

    from parc_ray.cluster.host import RayHost

    try:
        yield RayHost(config, thorough=True)
    finally:
        ray.shutdown()


def _range(counts: Sequence[int]) -> str:
    """The counts in a few words.

    >>> _range([24, 24]), _range([24, 25, 24])
    ('24', '24 to 25')
    """
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


@app.command()
def report(
    output_dir: Path = typer.Argument(..., help="The output_dir of a run, at work or ended."),
    character: Optional[Path] = typer.Option(
        None, help="The character's MJCF, for the 3-D previews. Default: where the run found it."
    ),
) -> None:
    """Write report.html, one page that shows what happened in a run, into its output directory."""
    from parc_ray.files.reading import read_text
    from parc_ray.report.page import write_report

    text = None if character is None else read_text(character)
    Console().print(f"{write_report(output_dir, text)}", highlight=False, soft_wrap=True)


@app.command()
def compare(
    baseline: Path = typer.Argument(..., metavar="A", help="The output_dir of a run: the baseline."),
    candidate: Path = typer.Argument(..., metavar="B", help="The output_dir of another: what is compared with it."),
    everything: bool = typer.Option(False, "--all", help="Show long lists whole."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as one JSON document instead."),
) -> None:
    """Compare two runs of the same motions: what B has won and lost against A, and how its figures differ."""
    from parc_ray.report.comparison import compare_runs
    from parc_ray.report.comparison_text import plain, print_comparison
    from parc_ray.runs.history import read_run

    comparison = compare_runs(read_run(baseline), read_run(candidate))
    if as_json:
        print(json.dumps(plain(comparison), indent=2, allow_nan=False))
        return
    console = Console()
    print_comparison(comparison, console if console.is_terminal else Console(width=100), everything)


@app.command()
def view(
    path: Path = typer.Argument(..., help="A motion file, a folder of them, or the output_dir of a run."),
    character: Optional[Path] = typer.Option(
        None, help="The character's MJCF. Default: that of the run, else PARC's humanoid."
    ),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; 0.0.0.0: all of this machine's."),
    port: Optional[int] = typer.Option(None, help="Port to listen on. Default: 8080, or the next that is free."),
) -> None:
    """Look at motions in the browser: recorded and reference, on their terrain."""
    from parc_ray.viewing.browser.viewer import require_viser
    from parc_ray.viewing.browser.viewer import view as show
    from parc_ray.viewing.scenes.playlist import open_playlist

    require_viser()
    console = Console()
    show(open_playlist(path, character), host, port, partial(say, console))


@app.command()
def render(
    file: Path = typer.Argument(..., help="A motion file. What a run has recorded is shown with its reference."),
    output: Path = typer.Option(..., "--output", "-o", help="A file that ends in .mp4, .gif or .png (poses in a row)."),
    size: Optional[Tuple[int, int]] = typer.Option(
        None, metavar="WIDTH HEIGHT", help="Pixels. Default: 1280 720; .gif: 640 360; poses in a row: 400 480 each."
    ),
    fps: Optional[float] = typer.Option(None, help="Frames per second. Default: 30; .gif: 25."),
    start: Optional[float] = typer.Option(None, "--from", help="s, on the reference's clock. Default: all."),
    end: Optional[float] = typer.Option(None, "--to", help="s, on the reference's clock."),
    speed: float = typer.Option(1.0, help="0.5: slow motion."),
    camera: str = typer.Option(
        "follow", help="follow the character, or fixed, with the whole path in sight (.png: all poses in one picture)."
    ),
    reference: bool = typer.Option(True, " /--no-reference", show_default=False, help="Leave out the reference."),
    contacts: bool = typer.Option(
        True, " /--no-contacts", show_default=False, help="Bodies in contact look like others."
    ),
    attempts: Optional[bool] = typer.Option(
        None, "--attempts/--no-attempts", help="Kept attempts that failed. Default: where nothing was recorded."
    ),
    poses: int = typer.Option(8, help="Number of poses in a .png."),
    character: Optional[Path] = typer.Option(
        None, help="The character's MJCF. Default: the run's, else PARC's humanoid."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the output if it exists."),
) -> None:
    """Render a motion as a video, an animation or a picture, without a display."""
    from parc_ray.viewing.render.rendering import RenderOptions
    from parc_ray.viewing.render.rendering import render as render_motion

    options = RenderOptions(
        file, output, size, fps, start, end, speed, camera, reference, contacts, attempts, poses, character, overwrite
    )
    render_motion(options, Console())


@app.command()
def export(
    path: Path = typer.Argument(..., help="The output_dir of a run, a folder of motion files, or a motion file."),
    to: str = typer.Option(..., "--to", help="bvh, glb (glTF), csv, npz (MuJoCo's qpos and qvel), or mimickit."),
    output: Path = typer.Option(..., "--output", "-o", metavar="FOLDER", help="Where the files go."),
    failures: bool = typer.Option(
        False, "--failures", help="The attempts of a run that failed and were kept (record.keep_failures), too."
    ),
    character: Optional[Path] = typer.Option(
        None, help="The character's MJCF. Default: the run's, else PARC's humanoid."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that are there."),
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
            plan.write(file, target)
            written += 1
        except InputError as error:
            if len(plan.targets) == 1:
                raise
            say(console, f"left out: {error}")
    if not written:
        raise InputError(f"{path}: nothing of it could be exported, for the reasons above")
    say(console, f"{output}: {written} motions")


@dataset_app.command("create")
def dataset_create(
    config: Path = typer.Option(
        ...,
        "--config",
        help="PARC's create_dataset_config YAML: folder_paths, where motions are searched; save_path, the motions.yaml "
        "to write; char_filepath, the character's MJCF.",
    ),
    data_dir: Optional[str] = DATA_DIR,
) -> None:
    """Write a motions.yaml: all motions in some folders, weighted so that every class of motions has the same share.

    A folder inside a listed one is a class. Motions are read and checked, and stay as they are.
    """
    from parc_ray.character.skeleton import load_skeleton
    from parc_ray.config.dataset import DatasetConfig
    from parc_ray.files.writing import make_folder
    from parc_ray.motions.dataset import write_dataset
    from parc_ray.motions.scanning import create_dataset, require_folders

    directory = find_data_dir(data_dir)
    loaded = load_config(config, DatasetConfig, directory)
    require_folders(loaded, config)
    try:
        skeleton = load_skeleton(loaded.char_filepath)
    except InputError as error:
        raise InputError(
            f"{config}: key 'char_filepath': {error}; it is relative to the current folder (the default: PARC's root)"
        ) from None
    dataset = create_dataset(loaded, skeleton)
    make_folder(loaded.save_path.parent)
    write_dataset(dataset, loaded.save_path)
    console = Console()
    _print_set_aside(dataset, console)
    say(console, f"{loaded.save_path}: {len(dataset.entries)} motions")


@dataset_app.command("generate")
def dataset_generate(
    folder: Path = typer.Argument(..., help="Where the motion files go."),
    character: Path = typer.Option(
        HUMANOID, show_default=False, help="The character's MJCF. Default: PARC's humanoid."
    ),
    count: int = typer.Option(0, min=0, help="Number of motions; 0: the demo's motions."),
    seed: int = typer.Option(0, help="Same seed, same motions."),
    difficulty: Optional[Tuple[float, float]] = typer.Option(
        None, metavar="LOW HIGH", help="0 to 1: height of blocks, speed and turning; with --count. Default: 0 1."
    ),
    seconds: Optional[Tuple[float, float]] = typer.Option(
        None, metavar="LOW HIGH", help="Length of a motion; with --count. Default: 2 10."
    ),
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
    _write_motions(folder, motions, count, Console())


@dataset_app.command("import")
def dataset_import(
    sources: List[Path] = typer.Argument(
        ..., metavar="SOURCE...", help="Clips, or folders of them: DeepMimic .txt/.json, MimicKit .pkl, .bvh."
    ),
    output: Path = typer.Option(..., "--output", "-o", metavar="FOLDER", help="Where the motion files go."),
    character: Path = typer.Option(
        HUMANOID, show_default=False, help="The character's MJCF. Default: PARC's humanoid."
    ),
    terrain: Optional[Path] = typer.Option(
        None, metavar="FILE", help="A motion file whose terrain is under the clips. Default: level ground."
    ),
    mapping: Optional[Path] = typer.Option(
        None, metavar="FILE", help="YAML that says which joints of a .bvh are which bodies of the character."
    ),
    loop: int = typer.Option(1, min=1, max=1000, help="How often a clip is played in a row."),
    speed: float = typer.Option(1.0, min=0.01, max=100.0, help="Times the clip's pace."),
) -> None:
    """Import motion capture: clips become motions of 30 fps, feet on the ground, contacts labelled."""
    import torch

    from parc_ray.character.skeleton import load_skeleton
    from parc_ray.character.surface import surface_points
    from parc_ray.files.reading import read_text
    from parc_ray.motions.importers import Import
    from parc_ray.motions.motion_file import read_motion

    skeleton = load_skeleton(character)
    surface = surface_points(read_text(character), str(character), torch.device("cpu"))
    ground = None if terrain is None else read_motion(terrain, skeleton).terrain
    console = Console()
    motions = _imported(sources, Import(skeleton, surface, ground, mapping, loop, speed), console)
    _write_motions(output, motions, len(motions), console)


@tracker_app.command(context_settings={"ignore_unknown_options": True})
def run_tracker(
    arguments: List[str] = typer.Argument(
        None,
        metavar="--KEY VALUE...",
        help="PARC's arguments: --mode record, and --arg_file FILE (the record_args.txt of an output_dir, PARC's own, "
        "too), or its keys one by one: --env_config (a record_env.yaml), --agent_config, --model_file, --device. What "
        "is given here comes before the file's. Other keys have no effect.",
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    json: bool = JSON,
) -> None:
    """PARC's run_tracker, for recording alone: go on with the run of a record_args.txt, or repeat it (--overwrite)."""
    screen = open_screen(quiet, json)
    raise typer.Exit(_run(screen, None, overwrite, lambda found: config_of_args(parse_args(arguments or []), found)))


def _imported(sources: List[Path], how: Import, console: Console) -> List[Motion]:
    """The motions of clips, and of all that can be imported from folders. Raises InputError where nothing can."""
    from parc_ray.motions.importers import clips_in, import_clip

    motions: Dict[str, Motion] = {}
    for source in sources:
        for path in clips_in(source) if source.is_dir() else [source]:
            try:
                motion = import_clip(path, how)
            except InputError as error:
                if path is source:
                    raise
                console.print(f"left out: {error}", highlight=False, markup=False, soft_wrap=True)
                continue
            if motion.name in motions:
                raise InputError(f"{path}: another clip is named {path.stem}, too: rename one, or import it elsewhere")
            motions[motion.name] = motion
    if not motions:
        raise InputError(f"{', '.join(map(str, sources))}: no clip could be imported, for the reasons above")
    return list(motions.values())


def _write_motions(folder: Path, motions: Iterable[Motion], count: int, console: Console) -> None:
    from rich.progress import track

    from parc_ray.files.writing import make_folder, write_file_atomic
    from parc_ray.motions.motion_file import motion_file_bytes
    from parc_ray.terminal.progress import LINE_SECONDS

    make_folder(folder)
    told = time.monotonic()
    shown = track(motions, folder.name, count, console=console, transient=True, disable=not console.is_terminal)
    for done, motion in enumerate(shown):
        if not console.is_terminal and time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            say(console, f"{folder}: {done}/{count} motions")
        write_file_atomic(folder / f"{motion.name}.pkl", motion_file_bytes(motion))
    say(console, f"{folder}: {count} motions")


def _check_bounds(name: str, bounds: Tuple[float, float], ends: List[MotionSpec], skeleton: Skeleton) -> None:
    """Raises InputError before the first motion is made, not at the first that happens to be out of bounds."""
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


def guarded(function: typer.Typer, arguments: Optional[List[str]] = None) -> NoReturn:
    """Run a command line; bad input, or what cannot be written, ends it with one message and its exit code."""
    try:
        function(arguments, standalone_mode=True)
    except ParcRayError as error:
        _fail(error)
    sys.exit(0)


def main() -> NoReturn:
    """Console script parc-ray."""
    guarded(app)

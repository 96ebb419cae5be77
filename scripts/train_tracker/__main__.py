"""Train a tracker on the motions of a dataset and write it in PARC's format: python scripts/train_tracker --help

For a few dozen motions or a few hundred easy ones. PARC's stage 3 is the real trainer; this script made the bundled
trackers. Environment, observations, termination, simulator and acceptance are the recorder's own. The reward is PARC's,
and so are the names and meanings of the hyperparameters in agent_config.yaml.

1. With --search, sampling finds controls for each motion (Liu et al. 2010, "Sampling-based contact-rich motion
   control"), and a linear-quadratic regulator about them gives feedback gains. Together they are a motion's lesson.
2. PARC's action is a PD target. The actor is first trained, supervised, on states that it visits itself, to imitate the
   lesson; without a lesson, to predict the reference at the drives' lag. The critic learns the value.
   A training that starts from another one's tracker (--start-from) does this only with --search.
3. PPO starts from both, if samples are left for it.

The same arguments give the same checkpoint on the same machine, even if the training was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs in a clone that is not installed
# Threads that spin while waiting would take the cores of the simulation threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from parc_ray.character.character import read_character
from parc_ray.config.record import RetryConfig
from parc_ray.errors import InputError, ParcRayError
from parc_ray.files.bundled import DEMO, HUMANOID
from parc_ray.files.reading import read_bytes
from parc_ray.files.writing import write_file_atomic
from parc_ray.motions.motion import Motion
from parc_ray.motions.motion_file import read_motion
from parc_ray.motions.scanning import load_dataset
from train_tracker.ppo import Progress, Training
from train_tracker.search import lessons
from train_tracker.tracker import CONFIG_FILES, build, count_recorded_whole, evaluate, is_recorded_whole


def read_dataset(path: Path, character: Path) -> list[Motion]:
    """Return all motions of a dataset file or folder. Raises InputError if there are none, or one is unusable."""
    skeleton = read_character(character).skeleton
    if path.is_dir():
        files = sorted(path.glob("*.pkl"))
        if not files:
            raise InputError(f"{path}: has no motion files (.pkl)")
        return [read_motion(file, skeleton) for file in files]
    dataset = load_dataset(path, skeleton)
    for motion in dataset.invalid:
        raise InputError(f"{path}: {motion.path}: {motion.reason}")
    return [read_motion(Path(entry.path), skeleton) for entry in dataset.entries]


def save(training: Training, content: bytes, options: argparse.Namespace, best: bool) -> None:
    """Write the tracker (content), its configuration files and the state for resuming; best: also write best.pt."""
    options.output.mkdir(parents=True, exist_ok=True)
    for name in CONFIG_FILES:
        if not (options.output / name).exists() or not (options.output / name).samefile(options.config / name):
            write_file_atomic(options.output / name, read_bytes(options.config / name))
    write_file_atomic(options.output / "model.pt", content)
    if best:
        write_file_atomic(options.output / "best.pt", content)
    write_file_atomic(options.output / "training.pt", training.state())


def train(options: argparse.Namespace) -> None:
    """Train until the samples or the minutes are used up."""
    began = last = time.monotonic()
    motions = read_dataset(options.dataset, options.character)
    held_out = read_dataset(options.held_out, options.character) if options.held_out else motions
    training = Training(options, motions)
    if options.search:
        training.learn_lessons(lessons(options, motions, training.checkpoint()))
    if options.start_from:
        training.start_from(read_bytes(options.start_from))
    if options.resume:
        training.restore(read_bytes(options.output / "training.pt"))
    print(
        f"{len(motions)} motions, {len(training.envs)} characters, hidden layers in "
        f"{'bfloat16' if training.network.in_bfloat16 else 'float32'}, ready after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    while training.iteration < training.iterations:
        training.iterate()
        done = training.iteration == training.iterations
        if training.iteration % options.print_every == 0 or done:
            now = time.monotonic()
            print(progress_line(training, now - last, now - began), flush=True)
            training.progress, last = Progress(), now
        if training.iteration % options.save_every == 0 or done:
            content = training.checkpoint()
            recorder = build(held_out, content, options, options.config, retry=RetryConfig(max_retries=0))
            results = evaluate(recorder)
            recorded = count_recorded_whole(results)
            best = recorded >= training.most_recorded
            training.most_recorded = max(training.most_recorded, recorded)
            save(training, content, options, best)
            others = [result.attempt for result in results if not is_recorded_whole(result)]
            missed = [f"{attempt.motion} {attempt.seconds:.1f} s" for attempt in others]
            few = f", not {', '.join(missed)}" if 0 < len(missed) <= 20 else ""
            print(f"  {recorded} of {len(held_out)} motions recorded whole{few}", flush=True)
            if options.minutes and last - began > 60 * options.minutes:
                break


def progress_line(training: Training, seconds: float, elapsed: float) -> str:
    """Return the line for the iterations since the last one."""
    progress = training.progress
    count, attempts, judged = progress.iterations, max(progress.attempts, 1), max(progress.judged, 1)
    aim = f"aim off by {progress.imitation_error / count:.3f} rad, " if progress.imitation_error else ""
    return (
        f"{training.samples / 1e6:.2f} M samples, {progress.samples / seconds:.0f}/s: {aim}"
        f"reward {progress.reward / count:.3f}, success {100 * (1 - progress.failures / judged):.0f} %, "
        f"attempt {progress.samples / attempts * float(training.environment.timestep):.2f} s, "
        f"KL {progress.kl / count:.3f} at rate {training.actor_rate:.1e}, "
        f"value error {progress.value_error / count:.2f}, {elapsed / 60:.1f} min"
    )


def report(options: argparse.Namespace) -> None:
    """Print the result of every motion of the dataset, with the tracker in the output folder and retries."""
    motions = read_dataset(options.dataset, options.character)
    results = evaluate(build(motions, read_bytes(options.output / "model.pt"), options, options.output))
    width = max(len(motion.name) for motion in motions)
    for motion, result in zip(motions, results):
        print(
            f"{motion.name:{width}}  {result.attempt.outcome:8}  from {result.attempt.start_fraction:4.2f}  "
            f"{result.attempt.seconds:5.2f} of {motion.length - result.attempt.start_time:5.2f} s  "
            f"root error {result.attempt.quality['root_error']:.3f} m  {result.attempt.reason}",
            flush=True,
        )
    print(f"{count_recorded_whole(results)} of {len(motions)} motions recorded whole")


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="train_tracker", description="Train a tracker on the motions of a dataset.")
    parser.add_argument("--dataset", type=Path, required=True, help="motions.yaml, or a folder of motions, to train on")
    parser.add_argument("--output", type=Path, required=True, help="folder of model.pt and its configuration files")
    parser.add_argument("--config", type=Path, default=DEMO, help="folder of agent_config.yaml and dm_env.yaml")
    parser.add_argument("--character", type=Path, default=HUMANOID, help="MJCF")
    parser.add_argument("--simulator", default="mujoco", help="the engine, as in phys_record.yaml")
    parser.add_argument("--samples", type=int, default=13_500_000, help="control steps to learn from")
    parser.add_argument("--minutes", type=float, help="stop at the first save after this time")
    parser.add_argument(
        "--search", type=int, metavar="N", help="find controls for every motion first, N samples a time"
    )
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="begin with the networks of a model.pt")
    parser.add_argument("--resume", action="store_true", help="go on from training.pt in the output folder")
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the tracker in the output folder")
    parser.add_argument("--held-out", type=Path, help="motions to evaluate on while training; default: --dataset")
    parser.add_argument("--num-envs", type=int, default=512, help="characters at a time")
    parser.add_argument("--print-every", type=int, default=10, help="iterations")
    parser.add_argument("--save-every", type=int, default=50, help="iterations")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Train or evaluate."""
    options = parse_options(sys.argv[1:])
    try:
        if options.evaluate:
            report(options)
        else:
            train(options)
    except ParcRayError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

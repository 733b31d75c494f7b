"""Run an experiment on a picture: `python scripts/train.py configs/photo16.py photo.png`.

Any number in the config can be set on the command line: `--steps 200 --losses.eye.weight 2`; the kind of a codec, of a
loss or of a dither is the config file's to choose. Written to runs/<config>-<picture>/: config.py, which repeats the
run, run.json, metrics.jsonl with a line for each snapshot, checkpoints, and in the end the result and metrics.json.

    python scripts/train.py --resume runs/photo16-photo

continues a run that was killed at any moment, and ends with the bytes of one that was not. On SIGTERM a run saves what
it has and ends with status 143; after Ctrl-C, which writes the best so far, it can be resumed as well. The checkpoints
of a finished run are removed.

Gradient descent shares out the picture's rows among all devices of the machine. With `--distributed auto` also among
those of several: the same command on each, started by SLURM, by Open MPI or on TPUs; anywhere else `--distributed
HOST:PORT,PROCESSES,PROCESS`, such as 10.0.0.1:1234,2,0 on the first of two. After each snapshot they agree on what any
of them has been asked: SIGTERM or Ctrl-C to one is to all. The first process writes the run's folder, from which all
read when it is resumed, by as many processes as one likes; the others end when descent does, and it hardens alone.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from train_config import constructors, load, source_of
from train_hosts import Lone, LostError, joined
from train_run import PROG, Log, Manifest, Saver, Terminated, Termination, clear, manifest_of, need_tensorboard
from tyro.conf import AvoidSubcommands, FlagCreatePairsOff, Positional, arg

from diffquant.arguments import check_memory, fitted
from diffquant.console import (
    INTERRUPTED,
    UsageError,
    complain,
    interruptible,
    parse,
    progress,
    table,
    use_compilation_cache,
)
from diffquant.decoding import format_of
from diffquant.files import write_atomically
from diffquant.image import ImageError, Picture, parse_color, read

if TYPE_CHECKING:
    import jax

    from diffquant.config import Config
    from diffquant.runner import Result
    from diffquant.training import State

USAGE = (
    f"usage: {PROG} CONFIG IMAGE [--out FOLDER] [overrides], or {PROG} --resume FOLDER; "
    f"on several machines: --distributed auto; to list the overrides: {PROG} CONFIG --help"
)
TERMINATED = 143  # 128 + SIGTERM, as shells have it
LOST = 1
SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}  # the others are named by their format


def main(arguments: list[str]) -> int:
    """0 if all went well, 2 after one clear line if not, 130 if interrupted: then the best so far is written. 143 after
    SIGTERM. 1 if another process was lost.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    termination = Termination()
    try:
        with joined(arguments) as (hosts, arguments), termination.installed():
            termination.waits = not hosts.alone  # they would wait for this one
            if not arguments:
                raise UsageError(f"found no config; {USAGE}")
            if arguments[0] == "--resume":
                return resume(arguments[1:], termination, hosts)
            return begin(Path(arguments[0]), arguments[1:], termination, hosts)
    except LostError as error:
        complain(error, prog=PROG)
        return LOST
    except (UsageError, ImageError, OSError, FloatingPointError) as error:
        complain(error, prog=PROG)
        return 2
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted; nothing written", file=sys.stderr)
        return INTERRUPTED
    except Terminated as stop:
        if said := stop.args[0] if stop.args else "nothing written":
            print(f"{PROG}: terminated; {said}", file=sys.stderr)
        return TERMINATED


def begin(path: Path, arguments: list[str], termination: Termination, hosts: Lone) -> int:
    """Run the config at `path` as the other `arguments` say."""
    default = load(path)
    from diffquant.checkpoints import Checkpoints, Fingerprint
    from diffquant.config import Config

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Run:
        image: Positional[Path]
        """The picture: PNG, JPEG, WebP, TIFF, GIF or BMP."""
        out: Path | None = None
        """Folder to write to; by default runs/<config>-<picture>. A run that is there is replaced."""
        background: str = "white"
        """What transparent pixels are laid on."""
        memory: str = ""
        """What the process may take, such as 2GiB, 700MiB or 50% of what there is."""
        checkpoint_every: int | None = None
        """Steps between checkpoints; by default about every 30 seconds, or less often where they take long."""
        pictures_every: int | None = None
        """Steps between pictures of the choices as they stand, in pictures/; by default none are made."""
        tensorboard: bool = False
        """Write events for TensorBoard, in tensorboard/. Needs tensorboardX."""
        devices: int | None = None
        """How many of this machine's devices share out the picture's rows; by default all."""
        config: Annotated[Config, arg(name="")] = default

    asked = parse(Run, arguments, prog=PROG, config=(AvoidSubcommands, FlagCreatePairsOff), registry=constructors())
    for option in ("checkpoint_every", "pictures_every"):
        if (steps := getattr(asked, option)) is not None and steps < 1:
            raise UsageError(f"--{option.replace('_', '-')}: found {steps}, expected at least 1")
    check_memory(asked.memory)
    if asked.tensorboard:
        need_tensorboard()
    picture = picture_at(asked.image, asked.background)
    config = fitted(asked.config, picture, asked.memory, prog=PROG)
    devices = hosts.devices(asked.devices)
    folder = hosts.place(asked.out or Path("runs") / f"{path.stem}-{asked.image.stem}")
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"--out: found {there}, expected a folder that can be written to")
    fingerprint = Fingerprint.of(config, picture.srgb8)
    manifest = Manifest(
        image=str(asked.image.absolute()),
        background=asked.background,
        fingerprint=dataclasses.asdict(fingerprint),
        checkpoint_every=asked.checkpoint_every,
        pictures_every=asked.pictures_every,
        tensorboard=asked.tensorboard,
        devices=asked.devices,
    )
    checkpoints = Checkpoints(folder / "checkpoints", fingerprint)
    hosts.ready()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").exists():
        clear(folder)
        checkpoints.clear()
        (folder / "run.json").unlink()  # last: until then what is there is a run that can be resumed from its start
    write_atomically(folder / "config.py", source_of(config).encode())
    manifest.write(folder)
    return work(folder, manifest, config, picture, checkpoints, None, termination, hosts, devices)


def resume(arguments: list[str], termination: Termination, hosts: Lone) -> int:
    """Continue the run in the folder that the arguments name."""
    if len(arguments) != 1:
        raise UsageError(f"--resume: found {len(arguments)} arguments, expected one: the folder of a run")
    folder = Path(arguments[0])
    manifest = manifest_of(folder)
    if manifest.finished:
        print(f"{folder}: finished")
        if (folder / "checkpoints").exists():  # killed while they were being removed
            from diffquant.checkpoints import Checkpoints, Fingerprint

            Checkpoints(folder / "checkpoints", Fingerprint(**manifest.fingerprint)).clear()
        return 0
    if manifest.tensorboard:
        need_tensorboard()
    config = load(folder / "config.py")
    from diffquant.checkpoints import CheckpointError, Checkpoints, Fingerprint

    picture = picture_at(Path(manifest.image), manifest.background)
    fingerprint = Fingerprint.of(config, picture.srgb8)
    checkpoints = Checkpoints(folder / "checkpoints", fingerprint)
    try:
        fingerprint.check(manifest.fingerprint, str(folder / "run.json"))
        start, notices = checkpoints.latest()
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    for notice in notices:
        print(f"{PROG}: {notice}; continuing from the one before", file=sys.stderr)
    checkpoints = Checkpoints(hosts.place(folder) / "checkpoints", fingerprint)
    devices = hosts.devices(manifest.devices)
    hosts.ready()
    return work(hosts.place(folder), manifest, config, picture, checkpoints, start, termination, hosts, devices)


def picture_at(path: Path, background: str) -> Picture:
    """The picture, its notices printed."""
    try:
        color = parse_color(background)
    except ValueError as error:
        raise UsageError(f"--background: {error}") from None
    picture = read(path, background=color)
    for notice in picture.notices:
        print(f"{PROG}: {notice}", file=sys.stderr)
    return picture


def work(
    folder: Path,
    manifest: Manifest,
    config: "Config",
    picture: Picture,
    checkpoints: Any,
    start: "State | None",
    termination: Termination,
    hosts: Lone,
    devices: "Sequence[jax.Device]",
) -> int:
    """Run from `start` to the end, and leave in `folder` what comes of it."""
    from diffquant.pipelines.goals import UnreachableError
    from diffquant.report import to_json
    from diffquant.training import PlanError, StateError

    use_compilation_cache()
    step = 0 if start is None else start.step
    log = Log(folder, manifest, step)
    relaxing = config.steps > 0 and not (start is not None and start.over)
    saver = Saver(checkpoints, manifest.checkpoint_every, step, termination, hosts, relaxing=relaxing)
    saver.heed()
    try:
        result = run(picture, config, start, log, saver, devices)
        termination.check()
    except UnreachableError as error:
        raise UsageError(f"--pipeline.goal: {error}") from None
    except (PlanError, StateError, FloatingPointError) as error:  # in all processes alike
        hosts.part()
        found = f"--resume: {checkpoints.folder}: {error}" if isinstance(error, StateError) else str(error)
        raise UsageError(found) from None
    except Terminated:
        saver.part()
        said = f"saved at step {saver.saved}; {PROG} --resume {folder} continues" if hosts.first else ""
        raise Terminated(said) from None
    finally:
        log.close()
    if result is None:
        return INTERRUPTED if saver.stop() else 0
    kind = format_of(result.data)
    target = folder / f"result{SUFFIXES.get(str(kind), f'.{kind}'.lower())}"
    write_atomically(target, result.data)
    write_atomically(folder / "metrics.json", (to_json(result.report.as_dict()) + "\n").encode())
    table(target, result.report)
    if saver.stop():
        print(f"{PROG}: interrupted; {target} is the best so far", file=sys.stderr)
        return INTERRUPTED
    dataclasses.replace(manifest, finished=True).write(folder)
    checkpoints.clear()
    return 0


def run(
    picture: Picture,
    config: "Config",
    start: "State | None",
    log: Log,
    saver: Saver,
    devices: "Sequence[jax.Device]",
) -> "Result | None":
    """The result; None in a process that leaves it to the first one.

    A first Ctrl-C ends the run with the best so far, a second at once.
    """
    from diffquant.runner import finish, stages

    with interruptible() as saver.interrupted, progress(picture.name) as show:
        artifact = None
        for stage in stages(picture, config, stop=saver.stop, start=start, devices=devices):
            show(stage.name, stage.share)
            if stage.snapshot is not None:
                log.write(stage)
                saver.see(stage.snapshot)
            if stage.name == "alone":
                saver.part()
            saver.heed()
            artifact = stage.artifact
        if artifact is None:
            return None
        return finish(picture, artifact, started=log.started, names=config.pipeline.figures)


def end(status: int) -> None:
    """Leave at once: JAX would wait for processes that are lost."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read our output may have gone
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    end(main(sys.argv[1:]))

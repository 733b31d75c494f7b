"""`diffquant animate`."""

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from diffquant.animation.clip import Clip, sources_from
from diffquant.arguments import check_seed, color_from
from diffquant.console import INTERRUPTED, UsageError, interruptible, progress, rows, use_compilation_cache
from diffquant.export.names import FrameDither
from diffquant.files import open_atomically

if TYPE_CHECKING:
    from diffquant.animation.animate import Animation
    from diffquant.animation.report import ClipReport


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animate:
    """Write an animated GIF of a video, of an animated picture, or of a picture for each frame."""

    inputs: Positional[tuple[Path, ...]]
    """A GIF, WebP or APNG, a video, or a folder or list of pictures."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The GIF to write."""
    colors: Annotated[int, arg(aliases=["-n"])] = 256
    """Size of the colour tables, 2 to 256; one entry is transparent."""
    palettes: Literal["clip", "scene"] = "clip"
    """One palette for the whole clip, or one for each scene."""
    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Time against quality."""
    dither: FrameDither = "steady"
    """From frame to frame so that nothing flickers, or a classical dither of each frame by itself."""
    price: float | None = None
    """What a pixel pays for changing, in squared OkLab distance: more makes smaller files, that follow less closely."""
    fps: float | None = None
    """At most so many frames in a second; for separate pictures, so many (10 unless told)."""
    width: int | None = None
    """Scale to so many pixels."""
    loop: int | None = None
    """0: for ever; n: n times after the first; -1: play once. The input's own unless told."""
    background: str = "white"
    """What half transparent pixels are laid on."""
    seed: int = 0
    """Of everything random. Same clip, options and seed: same bytes."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """One file."""
        if not self.inputs:
            raise UsageError("found no input; expected a clip; see diffquant animate --help")
        if self.output.suffix.lower() != ".gif":
            raise UsageError(f"--output: found {self.output}, expected a name ending in .gif")
        if not self.output.parent.is_dir():
            raise UsageError(f"--output: found no folder {self.output.parent}, expected one that exists")
        if not 2 <= self.colors <= 256:
            raise UsageError(f"--colors: found {self.colors}, expected 2 to 256")
        if self.price is not None and not 0 <= self.price < 1:
            raise UsageError(f"--price: found {self.price:g}, expected 0 to 1")
        if self.loop is not None and not -1 <= self.loop <= 65535:
            raise UsageError(f"--loop: found {self.loop}, expected -1 to 65535")
        check_seed(self.seed)
        background = color_from(self.background, "--background")
        missing = next((path for path in self.inputs if not path.exists()), None)
        if missing is not None:
            raise FileNotFoundError(2, os.strerror(2), os.fspath(missing))
        sources = sources_from(self.inputs)
        try:
            clip = Clip(sources=sources, fps=self.fps, width=self.width, background=background)
        except ValueError as error:
            raise UsageError(f"--{error}") from None
        if self.output.exists() and any(os.path.samefile(path, self.output) for path in sources):
            raise UsageError(f"--output: found the input {self.output} itself, expected another file")
        for _ in zip(range(2), clip.frames(), strict=False):  # mistakes are answered before JAX is imported
            pass
        use_compilation_cache()
        return self._run(clip, self._settings())

    def _settings(self) -> "Animation":
        from diffquant.animation.animate import Animation
        from diffquant.animation.steady import Steady

        loop = "keep" if self.loop is None else None if self.loop < 0 else self.loop
        steady = Steady() if self.price is None else Steady(price=self.price)
        return Animation(
            colors=self.colors,
            palettes=self.palettes,
            preset=self.preset,
            dither=self.dither,
            steady=steady,
            loop=loop,  # type: ignore[arg-type]
            seed=self.seed,
        )

    def _run(self, clip: Clip, settings: "Animation") -> int:
        from diffquant.animation.animate import animate
        from diffquant.animation.report import report_of_file
        from diffquant.report import to_json

        started = time.perf_counter()
        places: list[int] = []
        with progress(clip.name) as show, interruptible() as interrupted:
            with open_atomically(self.output) as file:
                for step in animate(clip, settings, file, stop=lambda: bool(interrupted)):
                    show(step.name, step.share)
                    if step.place is not None:
                        places.append(step.place)
            elapsed = time.perf_counter() - started
            report = report_of_file(clip, self.output, places, elapsed, show)
        if self.json:
            print(to_json({"input": clip.name, "output": str(self.output)} | report.as_dict()))
        else:
            _table(self.output, report)
        if not interrupted:
            return 0
        print(f"diffquant: interrupted; {self.output} holds the first {len(places)} frames", file=sys.stderr)
        return INTERRUPTED


def _table(path: Path, report: "ClipReport") -> None:
    from diffquant.metrics import METRICS

    blurred = METRICS["oklab_mse_blur"]
    lines = {
        "frames": f"{report.frames} in {report.seconds:.2f} s, {report.written} written",
        "bytes": f"{report.size:,}",
        blurred.label: blurred.format(report.metrics["oklab_mse_blur"]),
        "flicker, OkLab MSE": blurred.format(report.metrics["flicker"]),
    }
    if report.elapsed is not None:
        lines["seconds"] = f"{report.elapsed:.1f}"
    rows(path, lines)

"""Reading clips a frame at a time: animated pictures, videos, or a picture for each frame."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import Bool, UInt8
from PIL import ImageSequence

from diffquant.animation import video
from diffquant.image import Color, ImageError, read

SHORTEST = 2  # hundredths of a second: what is shorter, browsers play at a tenth of a second
STILLS = 10.0  # frames in a second of separate pictures, unless told


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One frame: sRGB codes, which pixels show, and for how many hundredths of a second."""

    srgb8: UInt8[np.ndarray, "h w 3"]
    opaque: Bool[np.ndarray, "h w"] | None  # None: everywhere
    delay: int


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where frames come from. Each call of `frames` reads them anew.

    `fps` drops frames until no more are left in a second; separate pictures take it as their rate. `width` scales.
    """

    sources: tuple[Path, ...]
    fps: float | None = None
    width: int | None = None  # pixels; the height follows
    background: Color = (255, 255, 255)  # under what is half transparent

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources: found none, expected a file at least")
        if self.fps is not None and not 0 < self.fps <= 100:
            raise ValueError(f"fps: found {self.fps:g}, expected more than 0 and at most 100")
        if self.width is not None and not 1 <= self.width <= 65535:
            raise ValueError(f"width: found {self.width}, expected 1 to 65535, as a GIF has")

    @property
    def name(self) -> str:
        """For messages."""
        first = str(self.sources[0])
        return first if len(self.sources) == 1 else f"{first} and {len(self.sources) - 1} more"

    def frames(self) -> Iterator[Frame]:
        """All frames, of one size.

        Raises:
            ImageError: a file cannot be read, there is one frame only, or sizes differ. The line names the file.
        """
        size: tuple[int, ...] | None = None
        count = 0
        for source, frame in self._timed():
            if size is not None and frame.srgb8.shape != size:
                (h, w), (rows, columns) = frame.srgb8.shape[:2], size[:2]
                raise ImageError(source, f"found {w}x{h} pixels", f"{columns}x{rows} as in the first frame")
            size = frame.srgb8.shape
            count += 1
            yield frame
        if count < 2:
            raise ImageError(self.name, "found one frame" if count else "found no frames", "a clip of two or more")

    def estimate(self) -> int | None:
        """How many frames to expect, if that is known beforehand."""
        if len(self.sources) > 1:
            return len(self.sources)
        if (animated := _animated(self.sources[0])) is not None:
            with animated as image:
                try:
                    return getattr(image, "n_frames", 1)
                except Exception:  # `frames` says what is wrong with the file
                    return None
        rate, seconds = video.probe(self.sources[0])
        return round(seconds * min(rate, self.fps or rate, 100 / SHORTEST)) or None

    def loops(self) -> int | None:
        """As a GIF's Netscape block has it: 0 for ever, n to play n + 1 times, None to play once."""
        if len(self.sources) == 1 and (animated := _animated(self.sources[0])) is not None:
            with animated as image:
                return image.info.get("loop") if image.format == "GIF" else 0
        return 0

    def _timed(self) -> Iterator[tuple[str, Frame]]:
        """Frames and the files that they are from; those that would show for too short a time are dropped."""
        if len(self.sources) > 1:
            rate = self.fps or STILLS
            timed = ((i / rate, (i + 1) / rate, *self._still(path)) for i, path in enumerate(self.sources))
            yield from self._thinned(timed, None)
        elif (animated := _animated(self.sources[0])) is not None:
            yield from self._animation(animated)
        else:
            yield from self._thinned(self._video(self.sources[0]), self.fps)

    def _thinned(
        self, timed: Iterator[tuple[float, float, str, np.ndarray, np.ndarray | None]], fps: float | None
    ) -> Iterator[tuple[str, Frame]]:
        """Starts and ends in seconds become hundredths, `SHORTEST` at least, so that no error adds up."""
        grid = max(SHORTEST, 100 / fps if fps else 0)
        held: tuple[str, np.ndarray, np.ndarray | None] | None = None
        shown, due, end = 0, 0.0, 0.0
        for start, end, name, srgb8, opaque in timed:  # noqa: B007
            if held is not None:
                if 100 * start < due - 0.5:  # half a hundredth of slack: 1/3 and 0.333 are the same rate
                    continue
                delay = max(round(100 * start) - shown, SHORTEST)
                yield held[0], Frame(srgb8=held[1], opaque=held[2], delay=delay)
                shown += delay
            held = (name, srgb8, opaque)
            due = grid * (math.floor((100 * start + 0.5) / grid) + 1)
        if held is not None:
            yield held[0], Frame(srgb8=held[1], opaque=held[2], delay=max(round(100 * end) - shown, SHORTEST))

    def _still(self, path: Path) -> tuple[str, np.ndarray, np.ndarray | None]:
        pixels = read(path, background=self.background).srgb8
        with PIL.Image.open(path) as image:
            upright = PIL.ImageOps.exif_transpose(image) if image.has_transparency_data else None
            opaque = None if upright is None else np.asarray(upright.convert("RGBA"))[..., 3] >= 128
        return str(path), *self._scaled(pixels, opaque)

    def _animation(self, image: PIL.Image.Image) -> Iterator[tuple[str, Frame]]:
        """A GIF's delays as they are in the file, unless `fps` asks for fewer frames."""
        name = str(self.sources[0])

        def composed() -> Iterator[tuple[float, np.ndarray, np.ndarray | None]]:
            with image:
                for still in ImageSequence.Iterator(image):
                    still.load()  # only then a WebP's duration is known
                    milliseconds = float(still.info.get("duration", 0))
                    yield milliseconds, *self._scaled(*_laid(still, self.background))

        try:
            if self.fps is None and image.format == "GIF":
                for milliseconds, srgb8, opaque in composed():
                    yield name, Frame(srgb8=srgb8, opaque=opaque, delay=round(milliseconds / 10))
                return

            def timed() -> Iterator[tuple[float, float, str, np.ndarray, np.ndarray | None]]:
                start = 0.0
                for milliseconds, srgb8, opaque in composed():
                    seconds = (milliseconds if milliseconds > 10 else 100) / 1000  # as browsers play it
                    yield start, start + seconds, name, srgb8, opaque
                    start += seconds

            yield from self._thinned(timed(), self.fps)
        except Exception as error:  # decoders raise anything: SyntaxError, struct.error, IndexError, ...
            raise ImageError(name, f"cannot be decoded: {error}", "a complete file") from None

    def _video(self, path: Path) -> Iterator[tuple[float, float, str, np.ndarray, np.ndarray | None]]:
        rate, _ = video.probe(path)
        for i, srgb8 in enumerate(video.frames(path, rate)):
            yield i / rate, (i + 1) / rate, str(path), *self._scaled(srgb8, None)

    def _scaled(self, srgb8: np.ndarray, opaque: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        h, w = srgb8.shape[:2]
        if self.width is None or self.width == w:
            return srgb8, opaque
        size = (self.width, max(round(h * self.width / w), 1))
        scaled = np.asarray(PIL.Image.fromarray(srgb8).resize(size, PIL.Image.Resampling.LANCZOS))
        if opaque is not None:
            opaque = np.asarray(PIL.Image.fromarray(opaque.astype(np.uint8) * 255).resize(size)) >= 128
        return scaled, opaque


def sources_from(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files of a clip: as they are given, or the pictures of one folder, numbers in their names in order.

    Raises:
        ImageError: the folder holds no files.
    """
    if len(paths) != 1 or not paths[0].is_dir():
        return tuple(paths)
    files = [path for path in paths[0].iterdir() if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise ImageError(str(paths[0]), "found an empty folder", "a picture for each frame")
    return tuple(
        sorted(files, key=lambda path: [(len(n), n) for n in re.split(r"(?<=\D)(?=\d)|(?<=\d)(?=\D)", path.name)])
    )


def _laid(image: PIL.Image.Image, background: Color) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes on the background where they are half transparent, and what is opaque at least by half."""
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB")), None
    full = image.convert("RGBA")
    opaque = np.asarray(full)[..., 3] >= 128
    under = PIL.Image.new("RGBA", full.size, (*background, 255))
    return np.asarray(PIL.Image.alpha_composite(under, full).convert("RGB")), None if opaque.all() else opaque


def _animated(path: Path) -> PIL.Image.Image | None:
    """The open picture, or None if it must be a video."""
    try:
        return PIL.Image.open(path)
    except PIL.UnidentifiedImageError:
        return None
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from None

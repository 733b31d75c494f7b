"""A first pass over a clip: where its scenes begin, and a sample of each from which to make a palette."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8, UInt32

from diffquant.animation.clip import Frame
from diffquant.palette.histogram import codes_from_colors

MOST_FRAMES = 16  # kept of a scene
MOST_BYTES = 64 << 20
BLOCKS = 32  # in a row and in a column: what scenes are compared by
CUT = 0.12  # mean difference of these blocks, of 1
UNLIKE = 0.4  # share of the blocks' colours that a scene does not have in common with the next


@dataclasses.dataclass
class Scene:
    """Frames from `start` on that share a palette: some of them, evenly spread, and all colours if they are few."""

    start: int
    most_colors: int
    samples: list[UInt8[np.ndarray, "h w 3"]] = dataclasses.field(default_factory=list)
    colors: UInt32[np.ndarray, " n"] | None = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint32))
    frames: int = 0
    _stride: int = 1

    def add(self, frame: Frame) -> None:
        """Colours are counted where the frame is opaque."""
        if self.colors is not None:
            here = codes_from_colors(frame.srgb8)
            found = np.union1d(self.colors, here if frame.opaque is None else here[frame.opaque])
            self.colors = found if len(found) <= self.most_colors else None
        if self.frames % self._stride == 0:
            self.samples.append(frame.srgb8)
            most = max(min(MOST_FRAMES, MOST_BYTES // frame.srgb8.nbytes), 1)
            if len(self.samples) > most:
                self.samples = self.samples[::2]
                self._stride *= 2
        self.frames += 1


def survey(frames: Iterable[Frame], most_colors: int, *, cuts: bool) -> Iterator[Scene]:
    """The scene under way after each frame; a new one begins where the picture and its colours change at once."""
    scene = Scene(0, most_colors)
    last: Float32[np.ndarray, "m n 3"] | None = None
    for number, frame in enumerate(frames):
        blocks = _blocks(frame.srgb8) if cuts else None
        if last is not None and blocks is not None and is_cut(last, blocks):
            scene = Scene(number, most_colors)
        last = blocks
        scene.add(frame)
        yield scene


def is_cut(last: Float32[np.ndarray, "m n 3"], blocks: Float32[np.ndarray, "m n 3"]) -> bool:
    """Whether a frame begins a new scene, by the mean colours of blocks of it and of the frame before, in [0, 1]."""
    if np.abs(blocks - last).mean() < CUT:
        return False
    counts = [np.histogramdd(x.reshape(-1, 3), bins=6, range=[(0, 1)] * 3)[0] for x in (last, blocks)]
    return float(np.abs(counts[0] - counts[1]).sum() / 2 / counts[0].sum()) > UNLIKE


def _blocks(pixels: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "m n 3"]:
    sums = pixels.astype(np.float32) / 255
    for axis in (0, 1):
        edges = np.linspace(0, sums.shape[axis], min(BLOCKS, sums.shape[axis]), endpoint=False).astype(int)
        widths = np.diff([*edges, sums.shape[axis]])
        sums = np.add.reduceat(sums, edges, axis=axis) / np.expand_dims(widths, tuple({0, 1, 2} - {axis})).astype(
            np.float32
        )
    return sums

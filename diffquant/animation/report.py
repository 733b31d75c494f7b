"""What is measured on the frames that a decoder shows."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, UInt8
from PIL import ImageSequence

from diffquant.animation.clip import Clip
from diffquant.color import linear_from_srgb8, oklab_from_linear
from diffquant.metrics import measure

SHOWN = ("oklab_mse_blur",)  # metrics of each frame by itself


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipReport:
    """Measured on the decoded file, against the clip as it was read. Metrics are means over the frames."""

    frames: int  # of the clip
    written: int  # of the file: fewer, where frames were alike
    seconds: float  # that the clip takes to play
    size: int  # bytes
    metrics: dict[str, float]
    elapsed: float | None = None  # seconds from the clip to the bytes

    def as_dict(self) -> dict[str, float]:
        """Flat, for JSON and tables."""
        own = {"frames": self.frames, "written": self.written, "plays": self.seconds, "bytes": self.size}
        return own | self.metrics | ({} if self.elapsed is None else {"seconds": self.elapsed})


class Judge:
    """Takes pairs of frames, the clip's and the file's, one after another."""

    def __init__(self, names: Sequence[str] = SHOWN) -> None:
        self._names = names
        self._sums = dict.fromkeys(names, 0.0)
        self._last: tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "3 h w"]] | None = None
        self._flicker, self._still, self._count = 0.0, 0, 0

    def add(
        self,
        reference: UInt8[np.ndarray, "h w 3"],
        decoded: UInt8[np.ndarray, "h w 3"],
        opaque: Bool[np.ndarray, "h w"] | None = None,
    ) -> None:
        """One pair. Where the clip is transparent, it counts as shown rightly."""
        shown = decoded if opaque is None else np.where(opaque[..., None], decoded, reference)
        for name, value in measure(reference, shown, self._names).items():
            self._sums[name] += value
        oklab = np.asarray(oklab_from_linear(linear_from_srgb8(np.ascontiguousarray(np.moveaxis(shown, -1, 0)))))
        if self._last is not None:
            still = (reference == self._last[0]).all(axis=2)
            self._flicker += float((((oklab - self._last[1]) ** 2).sum(axis=0) * still).sum())
            self._still += int(still.sum())
        self._last = (reference, oklab)
        self._count += 1

    def metrics(self) -> dict[str, float]:
        """Means over the frames; `flicker`: mean squared OkLab change of what is shown, where the clip stands still."""
        means = {name: total / max(self._count, 1) for name, total in self._sums.items()}
        return means | {"flicker": self._flicker / self._still if self._still else 0.0}


def decoded_frames(image: PIL.Image.Image) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """Delays in hundredths of a second, and frames as Pillow composes them; what is transparent is black."""
    for frame in ImageSequence.Iterator(image):
        yield round(frame.info.get("duration", 0) / 10), np.asarray(frame.convert("RGB"))


def report_of_file(
    clip: Clip,
    path: Path,
    places: Sequence[int],
    elapsed: float | None = None,
    show: Callable[[str, float], None] = lambda task, share: None,
) -> ClipReport:
    """Measure the GIF at `path`, whose frames `places` show the first frames of `clip`."""
    judge = Judge()
    delays: list[int] = []
    with PIL.Image.open(path) as image:
        written = enumerate(decoded_frames(image))
        number, (delay, pixels) = next(written)
        delays.append(delay)
        for done, (frame, place) in enumerate(zip(clip.frames(), places, strict=False), 1):
            while number < place:
                number, (delay, pixels) = next(written)
                delays.append(delay)
            judge.add(frame.srgb8, pixels, frame.opaque)
            show("measure", done / len(places))
    size = path.stat().st_size
    return ClipReport(
        frames=len(places),
        written=len(delays),
        seconds=sum(delays) / 100,
        size=size,
        metrics=judge.metrics(),
        elapsed=elapsed,
    )

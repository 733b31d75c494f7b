"""`diffquant jpeg`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from diffquant.arguments import check_seed, color_from, target_from
from diffquant.console import UsageError, batch, jobs_of, run
from diffquant.image import ImageError, Metadata, Picture, read
from diffquant.jpeg.geometry import LARGEST

if TYPE_CHECKING:
    from diffquant.runner import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jpeg:
    """Write a JPEG tuned to its picture, of a quality, of at most N bytes, or with the score that is asked for."""

    inputs: Positional[tuple[Path, ...]]
    """Pictures: PNG, JPEG, WebP, TIFF, GIF or BMP."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The JPEG to write; for several inputs a folder, ending in /."""
    quality: Annotated[float | None, arg(aliases=["-q"])] = None
    """1 to 100, on libjpeg's scale; 75 unless --bytes or --target says what is wanted."""
    bytes: int | None = None
    """The most that the file may have; it will have 99 % of them or more."""
    target: str = ""
    """What a metric is to be, such as ssimulacra2=70: psnr, ssim, ms_ssim, ssimulacra2, butteraugli_3norm, ..."""
    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Time against quality."""
    subsampling: Literal["auto", "444", "422", "420"] = "auto"
    """Rows and columns of colour: all, half the columns, half of both."""
    loss: Literal["perceptual", "ssimulacra2", "butteraugli", "blur", "psnr"] | None = None
    """What choices are judged by; perceptual is SSIMULACRA2 with Butteraugli. None: blur if fast, else perceptual."""
    keep: tuple[Metadata, ...] = ()
    """What of the picture goes into the file: its EXIF data, its ICC profile. Without that, colours become sRGB."""
    background: str = "white"
    """What transparent pixels are laid on."""
    seed: int = 0
    """Of everything random. Same picture, options and seed: same bytes."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """Every input to its output; a bad one is reported and the next one taken."""
        given = {"--quality": self.quality is not None, "--bytes": self.bytes is not None, "--target": self.target}
        options = [option for option, found in given.items() if found]
        if len(options) > 1:
            raise UsageError(f"{options[1]}: found it beside {options[0]}; expected at most one of {', '.join(given)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality: found {self.quality:g}, expected 1 to 100")
        if self.bytes is not None and self.bytes < 1:
            raise UsageError(f"--bytes: found {self.bytes}, expected at least 1")
        target = target_from(self.target) if self.target else None
        check_seed(self.seed)
        background = color_from(self.background, "--background")

        def load(path: Path) -> Picture:
            picture = read(path, background=background, keep=self.keep)
            h, w = picture.srgb8.shape[:2]
            if max(h, w) > LARGEST:
                raise ImageError(str(path), f"{w} x {h} pixels", f"at most {LARGEST} a side, as a JPEG has")
            return picture

        def make(picture: Picture, started: float) -> tuple["Result", bool]:
            from diffquant.api import jpeg_recipe
            from diffquant.pipelines.goals import UnreachableError

            try:
                config = jpeg_recipe(
                    picture,
                    quality=75.0 if self.quality is None else self.quality,
                    bytes=self.bytes,
                    target=target,
                    preset=self.preset,
                    subsampling=self.subsampling,
                    loss=self.loss,
                    seed=self.seed,
                )
                return run(picture, config, started=started)
            except UnreachableError as error:
                raise UsageError(f"{picture.name}: {options[0]}: {error}") from None

        return batch(jobs_of(self.inputs, self.output, (".jpg", ".jpeg")), load, make, as_json=self.json)

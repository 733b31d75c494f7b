"""Two colours, black and white, by this project and by the classics: `python scripts/halftone_study.py`.

Flat greys, a grey ramp and a photograph, each in linear light, by Floyd-Steinberg, a blue-noise mask, direct binary
search with the same model of the eye, and the presets. Tables go to stdout as Markdown, pictures to --out:

    fields.png   the flat greys, enlarged
    spectra.png  how their noise is spread over frequencies, and over directions
    ramp.png     the ramp, whole, and enlarged where it is dark, grey and light
    photo.png    the photograph, at most 512 pixels a side, and its middle enlarged; each result whole beside it

About eight minutes on 2 CPU cores.
"""

import dataclasses
import functools
import io
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import halftones
import numpy as np
from halftones import EyeModel, Light, Pattern, Spectrum
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from tyro.conf import Positional

from diffquant import color
from diffquant.config import Config
from diffquant.console import INTERRUPTED, UsageError, complain, parse, use_compilation_cache
from diffquant.files import write_atomically
from diffquant.image import ImageError, Picture, read
from diffquant.losses import BlurError
from diffquant.metrics import METRICS, measure
from diffquant.presets import Preset, palette_config
from diffquant.runner import stages

PROG = "halftone_study.py"
ROOT = Path(__file__).parent.parent
BLACK_AND_WHITE = ((0, 0, 0), (255, 255, 255))
COARSE = BlurError(sigmas=(1.0, 2.0), weights=(0.4, 1.0))  # blind to single dots: for one more search
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB
SHOWN = ("oklab_mse_blur", "scielab", "ssimulacra2")  # metrics of the photograph
BANDS = 8  # of the ramp, in the table
ZOOM, DETAIL = 4, 64  # what is enlarged: squares of so many pixels
GAP, LABEL = 8, 24  # pixels
Method = Callable[[Picture, Light], Pattern]
Codes = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Compare this project's black and white with the classics of halftoning."""

    photo: Positional[Path] = ROOT / "tests" / "images" / "parrots.png"
    """A picture; it is turned grey."""
    out: Path = Path("runs/halftones")
    """Folder of pictures."""
    preset: tuple[Preset, ...] = ("fast", "balanced", "best")
    """Which of ours."""
    levels: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2)
    """Flat greys, in linear light, between 0 and 1."""
    side: int = 256
    """Of the flat greys, in pixels; the ramp is twice as wide and a quarter as high."""

    def check(self) -> None:
        """Raise a UsageError if this cannot be done."""
        if not self.levels or not all(0.01 <= level <= 0.99 for level in self.levels):
            raise UsageError(f"--levels: found {self.levels}, expected numbers from 0.01 to 0.99")
        if not 32 <= self.side <= 1024:
            raise UsageError(f"--side: found {self.side}, expected 32 to 1024")
        if not self.preset:
            raise UsageError(f"--preset: found none, expected some of {', '.join(get_args(Preset))}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a method made of a picture."""

    method: str
    pattern: Pattern
    eye: float  # the eye's loss: BlurError
    quadratic: (
        float  # its quadratic form, exact for the picture's threshold, which the presets and the searches descend
    )
    settled: float  # the same, after a search with toggles and swaps has gone on from there
    seconds: float


def methods(presets: tuple[Preset, ...]) -> dict[str, Method]:
    """By name, the classics first."""

    def search(
        _: Picture, light: Light, *, model: Callable[[Light], EyeModel] = model_of, swaps: bool = True
    ) -> Pattern:
        return halftones.direct_binary_search(model(light), halftones.white_noise(light), swaps=swaps)

    def coarse(light: Light) -> EyeModel:
        return EyeModel(light, COARSE)

    classics: dict[str, Method] = {
        "white noise": lambda _, light: halftones.white_noise(light),
        "Floyd-Steinberg": lambda _, light: halftones.floyd_steinberg(light),
        "blue-noise mask": lambda _, light: halftones.blue_noise(light),
        "DBS, toggles": functools.partial(search, swaps=False),
        "DBS, toggles and swaps": search,
        "DBS, 1 and 2 pixels": functools.partial(search, model=coarse),
    }
    return classics | {
        f"diffquant, {preset}": functools.partial(ours, preset=preset) for preset in dict.fromkeys(presets)
    }


def eye() -> BlurError:
    """The presets' own for two colours."""
    losses = _config("balanced").losses.values()
    return next(loss for loss in losses if isinstance(loss, BlurError))


def model_of(light: Light) -> EyeModel:
    """What the presets descend: the eye's quadratic form, exact for the picture's threshold."""
    return EyeModel(light, eye(), halftones.threshold(light))


def _config(preset: Preset) -> Config:
    return palette_config(preset, colors=2, pinned=BLACK_AND_WHITE)


def ours(picture: Picture, light: Light, *, preset: Preset) -> Pattern:
    """By a preset as it is, black and white pinned."""
    artifact: Any = None
    for stage in stages(picture, _config(preset)):
        artifact = stage.artifact
    return artifact.palette[artifact.indices][:, :, 0] > 127


def outcomes(name: str, picture: Picture, presets: tuple[Preset, ...]) -> list[Outcome]:
    """Every method on one grey picture. Ours runs twice, so that the seconds are without compiling."""
    light = picture.linear()[0]
    model = model_of(light)
    found = []
    for method, function in methods(presets).items():
        _say(f"{name}: {method}")
        if method.startswith("diffquant"):
            function(picture, light)
        started = time.perf_counter()
        pattern = function(picture, light)
        seconds = time.perf_counter() - started
        settled = halftones.direct_binary_search(model, pattern)
        found.append(
            Outcome(
                method=method,
                pattern=pattern,
                eye=halftones.seen(light, pattern, eye()),
                quadratic=model.loss(pattern),
                settled=model.loss(settled),
                seconds=seconds,
            )
        )
    return found


def study(options: Options) -> int:
    """Flat greys, ramp, photograph."""
    options.check()
    photo = grey(read(options.photo))
    use_compilation_cache()
    options.out.mkdir(parents=True, exist_ok=True)
    side = options.side
    fields = {}
    for level in options.levels:
        light = np.full((side, side), level)
        fields[level] = outcomes(f"grey {level:g}", read(halftones.srgb(light)), options.preset)
    spectra = {level: [halftones.spectrum(o.pattern, level) for o in found] for level, found in fields.items()}
    for level, found in fields.items():
        _field_table(level, found, spectra[level])
    _write(options.out / "fields.png", fields_sheet(fields))
    write_atomically(options.out / "spectra.png", curves(fields, spectra))

    light = np.repeat(np.linspace(0, 1, 2 * side)[None], side // 4, axis=0)
    found = outcomes("ramp", read(halftones.srgb(light)), options.preset)
    _ramp_table(light, found)
    _write(options.out / "ramp.png", ramp_sheet(light, found))

    found = outcomes("photo", photo, options.preset)
    _photo_table(photo.srgb8, found)
    for one in found:
        name = one.method.replace(", ", "-").replace(" ", "-").lower()
        _write(options.out / f"photo-{name}.png", Image.fromarray(one.pattern))
    _write(options.out / "photo.png", photo_sheet(photo.srgb8, found))
    return 0


def grey(picture: Picture) -> Picture:
    """Its luminance, in 8 bits."""
    light = np.tensordot(LUMINANCE, picture.linear(), 1)
    return read(color.srgb8_from_linear(light))


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def _head(title: str, *columns: str) -> None:
    print(f"\n{title}\n")
    _row("method", *columns)
    _row("---", *("---:" for _ in columns))


def _costs(one: Outcome) -> tuple[str, ...]:
    return f"{1e4 * one.eye:.3f}", f"{1e4 * one.quadratic:.3f}", f"{1e4 * one.settled:.3f}", f"{one.seconds:.2f}"


COSTS = ("eye, e-4", "its form, e-4", "after a search", "seconds")


def _field_table(level: float, found: list[Outcome], spectra: list[Spectrum]) -> None:
    frequency = halftones.principal_frequency(level)
    title = f"Grey {level:g}, principal frequency {frequency:.3f} cycles a pixel"
    _head(title, "mean light, error", f"noise below {frequency / 2:.3f}", "anisotropy, dB", *COSTS)
    for one, spectrum in zip(found, spectra, strict=True):
        error, share = one.pattern.mean() - level, spectrum.low_share
        _row(one.method, f"{error:+.4f}", f"{share:.2%}", f"{_directional(spectrum):.1f}", *_costs(one))


def _directional(spectrum: Spectrum) -> float:
    """Mean over the frequencies that every direction has."""
    return float(spectrum.anisotropy[spectrum.frequency <= 0.5].mean())


def _ramp_table(light: Light, found: list[Outcome]) -> None:
    edges = np.linspace(0, light.shape[1], BANDS + 1).astype(int)
    bands = [slice(a, b) for a, b in itertools.pairwise(edges)]
    _head("Ramp: error of the mean light, by level", *(f"{light[:, band].mean():.2f}" for band in bands), *COSTS)
    for one in found:
        errors = ((one.pattern[:, band] - light[:, band]).mean() for band in bands)
        _row(one.method, *(f"{error:+.4f}" for error in errors), *_costs(one))


def _photo_table(reference: Codes, found: list[Outcome]) -> None:
    _head("Photograph", *(METRICS[name].label for name in SHOWN), *COSTS)
    for one in found:
        scores = measure(reference, halftones.codes(one.pattern), SHOWN)
        _row(one.method, *(METRICS[name].format(value) for name, value in scores.items()), *_costs(one))


def _sheet(rows: list[tuple[str, list[Codes]]]) -> Image.Image:
    """Labelled rows of pictures."""
    font = ImageFont.load_default(size=16)
    width = max(sum(p.shape[1] + GAP for p in pictures) for _, pictures in rows) + GAP
    height = sum(LABEL + max(p.shape[0] for p in pictures) + GAP for _, pictures in rows)
    canvas = Image.new("RGB", (width, height), (214, 222, 235))
    draw, top = ImageDraw.Draw(canvas), 0
    for label, pictures in rows:
        draw.text((GAP, top + 2), label, fill="black", font=font)
        left = GAP
        for picture in pictures:
            canvas.paste(Image.fromarray(picture), (left, top + LABEL))
            left += picture.shape[1] + GAP
        top += LABEL + max(p.shape[0] for p in pictures) + GAP
    return canvas


def _enlarged(picture: Codes, top: int, left: int) -> Codes:
    return picture[top : top + DETAIL, left : left + DETAIL].repeat(ZOOM, 0).repeat(ZOOM, 1)


def fields_sheet(fields: dict[float, list[Outcome]]) -> Image.Image:
    """A row for each method: the middle of each field, as it is and enlarged."""
    rows: list[tuple[str, list[Codes]]] = []
    for found in zip(*fields.values(), strict=True):
        pictures = [halftones.codes(one.pattern) for one in found]
        corner = (len(pictures[0]) - DETAIL) // 2
        shown = [p for picture in pictures for p in (_middle(picture), _enlarged(picture, corner, corner))]
        rows.append((f"{found[0].method}: {', '.join(f'{level:g}' for level in fields)}", shown))
    return _sheet(rows)


def _middle(picture: Codes) -> Codes:
    side = ZOOM * DETAIL
    start = max(len(picture) - side, 0) // 2
    return picture[start : start + side, start : start + side]


def ramp_sheet(light: Light, found: list[Outcome]) -> Image.Image:
    """All the ramps as they are, then each enlarged where it is dark, grey and light."""
    original = np.repeat(color.srgb8_from_linear(light)[:, :, None], 3, axis=2)
    ramps = [("original", original), *((one.method, halftones.codes(one.pattern)) for one in found)]
    lefts = [round(share * (light.shape[1] - DETAIL)) for share in (0.02, 0.25, 0.5, 0.98)]
    details = [(name, [_enlarged(ramp, 0, left) for left in lefts]) for name, ramp in ramps[1:]]
    return _sheet([(name, [ramp]) for name, ramp in ramps] + details)


def photo_sheet(reference: Codes, found: list[Outcome]) -> Image.Image:
    """Each result as it is, at most 512 pixels of it a side, beside its middle enlarged."""
    pictures = [("original", reference), *((one.method, halftones.codes(one.pattern)) for one in found)]
    top, left = (max(size - DETAIL, 0) // 2 for size in reference.shape[:2])
    return _sheet([(name, [p[:512, :512], _enlarged(p, top, left)]) for name, p in pictures])


def curves(fields: dict[float, list[Outcome]], spectra: dict[float, list[Spectrum]]) -> bytes:
    """A column for each level: power over anisotropy. A PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(fields), 8), layout="constrained")
    axes = figure.subplots(2, len(fields), squeeze=False, sharex=True, sharey="row")
    for (level, found), (power, direction) in zip(fields.items(), axes.T, strict=True):
        for one, spectrum in zip(found, spectra[level], strict=True):
            power.plot(spectrum.frequency, 10 * np.log10(np.maximum(spectrum.power, 1e-12)), label=one.method)
            direction.plot(spectrum.frequency, spectrum.anisotropy)
        for axis in (power, direction):
            axis.axvline(halftones.principal_frequency(level), color="grey", linestyle=":")
        power.set(title=f"grey {level:g}", ylim=(-45, 15))
        direction.set(xlabel="cycles a pixel (dots: principal frequency)", ylim=(-20, 20))
    axes[0, 0].set_ylabel("power, dB of white noise")
    axes[1, 0].set_ylabel("anisotropy, dB")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _write(path: Path, image: Image.Image) -> None:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    write_atomically(path, stream.getvalue())


def _say(line: str) -> None:
    print(f"{PROG}: {line}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    try:
        return study(parse(Options, arguments, prog=PROG))
    except (UsageError, ImageError, OSError, FloatingPointError) as error:
        complain(error, prog=PROG)
        return 2
    except KeyboardInterrupt:
        _say("interrupted; not all is written")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Repeat the experiments of "Differentiable dithering" on free pictures: `python scripts/reproduce_article.py`.

Draws one contact sheet: every result pixel for pixel, and a corner of it four times as large. Beside it lie the
results, and the two drawn pictures for `scripts/train.py`. About a minute on 2 CPU cores.
"""

import dataclasses
import io
import runpy
import sys
import time
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from diffquant.config import Config
from diffquant.console import INTERRUPTED, UsageError, complain, parse, run, use_compilation_cache
from diffquant.files import write_atomically
from diffquant.image import read

PROG = "reproduce_article.py"
ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "tests" / "images" / "parrots.png"
CORNER = (352, 76)  # x, y: what the sheet shows of the photograph
WIDTH, HEIGHT = 256, 168  # of a panel, and of the drawn pictures
ZOOM = 4
DETAIL = {"photo": (84, 18), "gradient": (96, 63), "purple": (118, 63)}  # x, y in the panel: what is enlarged
COLUMNS = 4
GAP, LABEL = 8, 26  # pixels
Pixels = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture of the sheet, and what is done to it, if anything."""

    label: str
    picture: str
    name: str  # of the file
    config: Config | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Repeat the experiments of the article, and draw them as one contact sheet."""

    out: Path = Path("runs/article/contact_sheet.png")
    """The sheet; the results are written beside it."""


def panels() -> list[Panel]:
    """What the sheet shows, row by row."""

    def load(name: str) -> Config:
        return runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["config"]

    def panel(label: str, picture: str, name: str) -> Panel:
        return Panel(label=label, picture=picture, name=name, config=load(name))

    purple = load("article_purple")
    mixture = dataclasses.replace(purple, losses={"image": purple.losses["image"]})
    return [
        Panel(label="photograph", picture="photo", name="photo"),
        panel("16 colours, no variance term", "photo", "article_no_variance"),
        panel("16 colours, variance 0.25", "photo", "article_16"),
        panel("16 colours, variance 1", "photo", "article_flat"),
        panel("8 colours, variance 0.25", "photo", "article_8"),
        panel("black and white", "photo", "article_bw"),
        Panel(label="gradient", picture="gradient", name="gradient"),
        panel("4 colours, variance 0.25", "gradient", "article_gradient"),
        Panel(label="red, purple, blue", picture="purple", name="purple"),
        Panel(label="3 colours, no variance term", picture="purple", name="article_mixture", config=mixture),
        panel("3 colours, variance 0.25", "purple", "article_purple"),
        panel("ours: 16 colours, photo16.py", "photo", "photo16"),
    ]


def gradient() -> Pixels:
    """From blue to orange, from left to right."""
    share = np.linspace(0, 1, WIDTH)[None, :, None]
    row = (1 - share) * np.array([20, 60, 150]) + share * np.array([250, 190, 90])
    return np.rint(np.repeat(row, HEIGHT, axis=0)).astype(np.uint8)


def purple() -> Pixels:
    """Red, the mean of red's and blue's light, and blue; blurred where they meet."""
    from diffquant.color import linear_from_srgb8, srgb8_from_linear

    red, blue = linear_from_srgb8(np.array([[230, 20, 30], [25, 40, 220]], np.uint8))
    x = np.linspace(0, 1, WIDTH)[None, :, None]
    share = (np.clip((x - 1 / 3) / 0.06 + 0.5, 0, 1) + np.clip((x - 2 / 3) / 0.06 + 0.5, 0, 1)) / 2
    return srgb8_from_linear(np.repeat((1 - share) * red + share * blue, HEIGHT, axis=0))


def sheet(shown: list[tuple[Panel, Pixels]]) -> Image.Image:
    """Labelled panels, each over its enlarged detail."""
    font = ImageFont.load_default(size=16)
    rows = -(-len(shown) // COLUMNS)
    height = LABEL + 2 * HEIGHT + GAP
    canvas = Image.new("RGB", (COLUMNS * (WIDTH + GAP) + GAP, rows * (height + GAP) + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (panel, pixels) in enumerate(shown):
        left, top = GAP + i % COLUMNS * (WIDTH + GAP), GAP + i // COLUMNS * (height + GAP)
        x, y = CORNER if panel.picture == "photo" else (0, 0)
        whole = Image.fromarray(pixels[y : y + HEIGHT, x : x + WIDTH])
        x, y = DETAIL[panel.picture]
        detail = whole.crop((x, y, x + WIDTH // ZOOM, y + HEIGHT // ZOOM))
        draw.text((left, top), panel.label, fill="black", font=font)
        canvas.paste(whole, (left, top + LABEL))
        canvas.paste(detail.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST), (left, top + LABEL + HEIGHT + GAP // 2))
    return canvas


def png(image: Image.Image) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def reproduce(options: Options) -> int:
    """Run everything, then draw the sheet."""
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"--out: found {options.out}, expected a name ending in .png")
    use_compilation_cache()
    pictures = {"photo": read(PHOTO), "gradient": read(gradient()), "purple": read(purple())}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in ("gradient", "purple"):
        write_atomically(options.out.with_name(f"{name}.png"), png(Image.fromarray(pictures[name].srgb8)))
    shown, begun, todo = [], time.perf_counter(), panels()
    for number, panel in enumerate(todo, 1):
        picture = dataclasses.replace(pictures[panel.picture], name=f"{number}/{len(todo)} {panel.name}")
        pixels = picture.srgb8
        if panel.config is not None:
            result, interrupted = run(picture, panel.config, started=time.perf_counter())
            if interrupted:
                raise KeyboardInterrupt
            write_atomically(options.out.with_name(f"{panel.name}.png"), result.data)
            print(f"{picture.name}: {result.report.seconds:.1f} s")
            pixels = result.image
        shown.append((panel, pixels))
    data = png(sheet(shown))
    write_atomically(options.out, data)
    print(f"{options.out}: {len(data) / 1000:.0f} kB after {time.perf_counter() - begun:.0f} s")
    return 0


def main(arguments: list[str]) -> int:
    """0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    try:
        return reproduce(parse(Options, arguments, prog=PROG))
    except (UsageError, OSError, FloatingPointError) as error:
        complain(error, prog=PROG)
        return 2
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted; no sheet written", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Rate and quality of JPEG encoders: curves, Bjøntegaard deltas between them, Markdown."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from benchmark_rows import Columns, Values, markdown

from diffquant.metrics import METRICS
from diffquant.metrics.bjontegaard import axis, bd_rate

OURS = "diffquant-jpeg-"  # and the preset: the name of an encoder
METRIC_NAMES = ("psnr", "ms_ssim", "ssimulacra2", "butteraugli_3norm")
COLUMNS = (*METRIC_NAMES, "bytes", "seconds")
WITHIN = {"ssimulacra2": (50.0, 85.0)}  # from medium quality to where differences cannot be seen any more

Sizes = Mapping[str, int]  # image -> pixels
Curve = dict[str, Values]  # setting -> metric, bytes or seconds -> value
Curves = dict[str, dict[str, Curve]]  # encoder -> image -> curve


class Point(NamedTuple):
    """One file: who made it, of what, how. A setting is whatever the encoder calls quality."""

    encoder: str
    image: str
    setting: str


Table = dict[Point, Values]

CSV = Columns(keys=Point._fields, key=Point, names=COLUMNS)  # of results, and of other encoders' files


class Deltas(NamedTuple):
    """Rate of one encoder at another's quality, per cent: of each image and metric a number, or why there is none."""

    test: str
    reference: str
    cells: dict[tuple[str, str], float | str]  # image, metric

    def mean(self, metric: str, images: Sequence[str]) -> str:
        """Over the images that have a number, and how many those are if not all."""
        found = [value for image in images if not isinstance(value := self.cells[image, metric], str)]
        if not found:
            return "–"
        return percent(statistics.fmean(found)) + (f" ({len(found)})" if len(found) < len(images) else "")


def curves_of(table: Table, images: Iterable[str]) -> Curves:
    """The points of these images. NaN is no score: a small picture does not have every metric."""
    wanted = set(images)
    curves: Curves = {}
    for (encoder, image, setting), values in table.items():
        if image in wanted:
            scores = {name: value for name, value in values.items() if not math.isnan(value)}
            curves.setdefault(encoder, {}).setdefault(image, {})[setting] = scores
    return curves


def deltas(curves: Curves, test: str, reference: str, images: Sequence[str]) -> Deltas:
    """`test` against `reference`."""
    cells: dict[tuple[str, str], float | str] = {}
    for image in images:
        theirs, own = curves[reference].get(image, {}), curves[test].get(image, {})
        cells |= {(image, name): _delta(theirs, own, name) for name in METRIC_NAMES}
    return Deltas(test, reference, cells)


def _delta(reference: Curve, test: Curve, name: str) -> float | str:
    low, high = WITHIN.get(name, (None, None))
    try:
        return bd_rate(_points(reference, name), _points(test, name), low=low, high=high)
    except ValueError as error:
        return str(error)


def _points(curve: Curve, name: str) -> np.ndarray:
    """Bytes, and the metric on an axis that grows with quality."""
    points = np.array([(v["bytes"], v[name]) for v in curve.values() if "bytes" in v and name in v]).reshape(-1, 2)
    return np.stack([points[:, 0], axis(name, points[:, 1])], -1)


def mean_curve(curves: Mapping[str, Curve], images: Sequence[str], sizes: Sizes) -> list[Values]:
    """Means over `images` at each setting that all of them have, by rate: bpp, and whatever else all of them have.

    The mean of bits per pixel (bpp) is geometric: on a logarithmic axis, the middle of the pictures' points.
    """
    shared = [setting for setting in curves[images[0]] if all(setting in curves[image] for image in images)]
    points = []
    for setting in shared:
        there = [curves[image][setting] for image in images]
        values = {name: statistics.fmean(v[name] for v in there) for name in COLUMNS if all(name in v for v in there)}
        if "bytes" in values:
            bits = [8 * v["bytes"] / sizes[image] for image, v in zip(images, there, strict=True)]
            points.append(values | {"bpp": statistics.geometric_mean(bits)})
    return sorted(points, key=lambda point: point["bpp"])


def tables(curves: Curves, tests: Sequence[str], references: Sequence[str], sizes: Sizes) -> str:
    """Markdown: for each of `tests` its own points, then its rates against each of `references`: means, pictures."""
    parts = []
    for test in tests:
        images = [image for image in sizes if image in curves[test]]
        parts += [f"## {test}, {len(images)} image{'s' * (len(images) != 1)}", _own(curves[test], images, sizes)]
        found = [deltas(curves, test, reference, images) for reference in references if reference != test]
        if found:
            header = ["against", *map(_title, METRIC_NAMES)]
            rows = [[each.reference, *(each.mean(name, images) for name in METRIC_NAMES)] for each in found]
            parts += [f"Rate at equal quality, per cent of theirs (BD-rate): {test}", markdown(header, rows)]
        parts += [part for each in found for part in _pictures(each, images)]
    return "\n\n".join(parts) + "\n"


def _own(curves: Mapping[str, Curve], images: Sequence[str], sizes: Sizes) -> str:
    """Means at each setting."""
    names = ["bpp", *COLUMNS]
    rows = []
    for point in mean_curve(curves, images, sizes):
        cells = {"bpp": f"{point['bpp']:.3f}", "bytes": f"{point['bytes']:,.0f}"}
        cells |= {name: f"{point[name]:.4g}" for name in METRIC_NAMES if name in point}
        cells |= {"seconds": f"{point['seconds']:.2f}"} if "seconds" in point else {}
        rows.append([cells.get(name, "–") for name in names])
    titles = ["bits per pixel", *(METRICS[name].label if name in METRICS else name for name in COLUMNS)]
    return markdown(titles, rows, left=0)


def _pictures(found: Deltas, images: Sequence[str]) -> list[str]:
    """A row for each picture and one of means; then why there are gaps."""
    cells = {at: "–" if isinstance(value, str) else percent(value) for at, value in found.cells.items()}
    rows = [[image, *(cells[image, name] for name in METRIC_NAMES)] for image in images]
    rows.append(["mean", *(found.mean(name, images) for name in METRIC_NAMES)])
    title = f"### {found.test} against {found.reference}"
    parts = [title, markdown(["picture", *map(_title, METRIC_NAMES)], rows)]
    gaps = [f"- {at[0]}, {METRICS[at[1]].label}: {why}" for at, why in found.cells.items() if isinstance(why, str)]
    return [*parts, "\n".join(gaps)] if gaps else parts


def _title(name: str) -> str:
    low, high = WITHIN.get(name, (math.nan, math.nan))
    return METRICS[name].label + ("" if math.isnan(low) else f" {low:g} to {high:g}")


def percent(value: float) -> str:
    """With its sign."""
    return f"{value:+.1f} %"

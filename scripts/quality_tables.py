"""Scores of several methods on the same pictures: read from CSV, printed as Markdown."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmark_rows import Columns, Values, markdown

from diffquant.metrics import METRICS

# Whether higher is better, of metrics that a file of peers may hold without `METRICS` knowing them.
ELSEWHERE = {"dssim": False}
COSTS = ("bytes", "seconds")  # shown, but no ranking: what is small or fast may look bad
ALIASES = {"png_bytes_oxipng": "bytes", "cpu_s": "seconds"}  # what files of peers call them

OURS = "diffquant-"  # and the preset: the name of a method

Scores = dict[str, dict[str, Values]]  # method -> image -> metric or cost -> value
Means = dict[str, Values]  # method -> metric or cost -> value


class Case(NamedTuple):
    """A picture, who quantized it, and to how many colours."""

    image: str
    method: str
    k: int


Table = dict[Case, Values]


def columns(method: str = "method") -> Columns[Case]:
    """Of a CSV: image, k, and the method by what the file calls it; metrics and costs."""

    def case(image: str, name: str, k: str) -> Case:
        return Case(image, name, int(k))

    keys, names = ("image", method, "k"), (*METRICS, *ELSEWHERE, *COSTS)
    return Columns(keys=keys, key=case, names=names, costs=COSTS, rare=tuple(ELSEWHERE), aliases=ALIASES)


def scores_of(table: Table, k: int) -> Scores:
    """Scores at `k` colours. NaN is no score: a small picture does not have every metric."""
    scores: Scores = {}
    for case, values in table.items():
        if case.k == k:
            there = {name: value for name, value in values.items() if not math.isnan(value)}
            scores.setdefault(case.method, {})[case.image] = there
    return scores


def means_of(scores: Scores, images: Sequence[str]) -> Means:
    """For each method that has all `images`: means over them of whatever it has for all of them."""
    complete = {method: [on[i] for i in images] for method, on in scores.items() if all(i in on for i in images)}
    return {
        method: {name: statistics.fmean(v[name] for v in on) for name in on[0] if all(name in v for v in on)}
        for method, on in complete.items()
    }


def tables(k: int, own: Scores, peers: Scores, images: Sequence[str]) -> str:
    """Markdown: means over `images` of all methods that have them all, then ours against the best peer."""
    ours, theirs = means_of(own, images), means_of(peers, images)
    names = [name for name in METRICS if _have(ours, name) and (_have(theirs, name) or not theirs)]
    means = {**ours, **dict(sorted(theirs.items()))}
    costs = [name for name in COSTS if _have(means, name)]
    parts = [f"## {heading(k, images)}", means_table(means, names, costs)]
    if partial := sorted(peers.keys() - theirs.keys()):
        parts.append(f"Left out, since they lack some of these images: {', '.join(partial)}.")
    if theirs:
        parts.append(_duel(ours, theirs, own, peers, names, images))
        unmeasured = [name for name in ELSEWHERE if name not in METRICS and _have(theirs, name)]
        parts.append(_elsewhere(theirs, unmeasured))
    return "\n\n".join(filter(None, parts)) + "\n"


def heading(k: int, images: Sequence[str]) -> str:
    """How many colours, how many images."""
    return f"{k} colour{'s' * (k != 1)}, {len(images)} image{'s' * (len(images) != 1)}"


def title(name: str) -> str:
    """A metric's label and unit, and whether higher is better."""
    label = " ".join(filter(None, (METRICS[name].label, METRICS[name].unit))) if name in METRICS else name
    return f"{label} {'↑' if _higher(name) else '↓'}"


def means_table(means: Means, names: Sequence[str], costs: Sequence[str]) -> str:
    """Markdown: a row for each method, a column for each metric and cost; the best value of each metric in bold."""
    best = {name: means[_best(_column(means, name), name)][name] for name in names}

    def cell(values: Values, name: str) -> str:
        if name not in values:
            return "–"
        text = _cell(name, values[name])
        return f"**{text}**" if values[name] == best.get(name) else text

    rows = [[method, *(cell(values, name) for name in (*names, *costs))] for method, values in means.items()]
    return markdown(["method", *map(title, names), *costs], rows)


def _have(means: Means, name: str) -> bool:
    return any(name in values for values in means.values())


def _higher(name: str) -> bool:
    return METRICS[name].higher_is_better if name in METRICS else ELSEWHERE[name]


def _beats(value: float, other: float, name: str) -> bool:
    return value > other if _higher(name) else value < other


def _best(values: dict[str, float], name: str) -> str:
    """Whose value of the metric `name` is best; the first of equals."""
    return (max if _higher(name) else min)(values, key=values.__getitem__)


def _column(means: Means, name: str) -> dict[str, float]:
    return {method: values[name] for method, values in means.items() if name in values}


def _cell(name: str, value: float) -> str:
    return {"bytes": f"{value:,.0f}", "seconds": f"{value:.2f}"}.get(name, f"{value:.4g}")


def _duel(
    ours: Means,
    theirs: Means,
    own: Scores,
    peers: Scores,
    names: Sequence[str],
    images: Sequence[str],
) -> str:
    """Each of ours against the peer of the best mean; and on how many images it is ahead of all peers there."""
    rows = []
    for method, values in ours.items():
        for name in filter(values.__contains__, names):
            column = _column(theirs, name)
            rival = _best(column, name)
            ahead = sum(all(_beats(own[method][i][name], peers[p][i][name], name) for p in column) for i in images)
            ratio = values[name] / column[rival] if column[rival] > 0 else math.nan
            rows.append(
                [
                    method,
                    title(name),
                    _cell(name, values[name]),
                    _cell(name, column[rival]),
                    rival,
                    "–" if math.isnan(ratio) else f"{ratio:.3f}",
                    f"{ahead} of {len(images)}",
                ]
            )
    return markdown(["ours", "metric", "mean", "best peer's", "best peer", "ratio", "images ahead"], rows, left=2)


def _elsewhere(theirs: Means, names: Sequence[str]) -> str:
    """The best peers by metrics that are not measured here."""
    best = [(name, _best(_column(theirs, name), name)) for name in names]
    rows = [[title(name), _cell(name, theirs[peer][name]), peer] for name, peer in best]
    return markdown(["not measured on ours", "best peer's", "best peer"], rows) if rows else ""

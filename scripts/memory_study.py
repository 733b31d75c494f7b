"""Estimates of memory held against what is taken: `python scripts/memory_study.py photo.png --out runs/memory`.

A case is a size and the options of `diffquant quantize`, or after the size a config for `train.py` and its options:

    "3840x2160 -n 256 --memory 1.2GiB"    "900x450 configs/photo256_topk.py --steps 20"

Each runs in a process of its own, with nothing compiled beforehand, on the picture scaled to that size. To --out:

    results.json  a row for each case
    table.md      the same for readers, also on stdout

The estimate is the printed plan's; a case without --memory gets one that nothing exceeds. Measured is the most that the
process has held at a time (ru_maxrss).
"""

import dataclasses
import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import PIL.Image
from benchmark_rows import markdown
from benchmarks import completed, status_of
from processes import measured
from tyro.conf import Positional

from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.image import ImageError, read
from diffquant.memory.size import bytes_from

PROG = "memory_study"
PLENTY = "1000GiB"
CASES = (
    *("384x256 -n 256 --preset fast", "768x512 -n 2 --preset fast", "768x512 -n 16", "768x512 -n 256"),
    *("384x256 -n 16 --preset best", "1280x832 -n 256 --preset fast", "2560x1536 -n 256 --preset fast"),
    *("1280x832 -n 256 --preset fast --memory 700MiB", "3840x2160 -n 256"),
    *("768x512 -n 16 --preset fast --dither none", "384x256 -n 256 --preset fast --dither blue-noise"),
    *("384x256 -n 256 --preset fast --dither blue-noise --memory 800MiB", "2560x1536 --dither floyd-steinberg"),
    *("900x450 configs/photo256_topk.py --steps 20", "384x256 configs/photo16_network.py --steps 10"),
)
PLAN = re.compile(r"plan: (?P<plan>.*), about (?P<estimate>\S+ \w+) of (?P<budget>\S+ \w+)")


class Task(NamedTuple):
    """A case, and the picture that it starts from."""

    source: Path
    case: str


def row_of(task: Task) -> dict[str, Any]:
    """Run a case: what it planned, estimated and took.

    Raises:
        UsageError: the command failed; its last line.
    """
    words = shlex.split(task.case)[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = folder / "picture.png"
        with PIL.Image.open(task.source) as image:
            image.convert("RGB").resize(_size_of(task.case)).save(picture)
        command = _command(words, picture, folder)
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        started = time.perf_counter()
        status, peak, said = measured(command, environment)
        found = PLAN.search(said)
        if status or found is None:
            raise UsageError(f"--cases: {task.case}: {said.strip().splitlines()[-1] if said.strip() else 'no plan'}")
    return {
        "case": task.case,
        "plan": found["plan"],
        "estimate_mib": bytes_from(found["estimate"]) / 2**20,
        "measured_mib": peak,
        "seconds": time.perf_counter() - started,
    }


def _size_of(case: str) -> tuple[int, int]:
    found = re.match(r"(\d+)x(\d+)\b", case)
    if found is None or 0 in (size := (int(found[1]), int(found[2]))):
        raise UsageError(f"--cases: found {case!r}, expected a size such as 768x512, then options")
    return size


def _command(words: list[str], picture: Path, folder: Path) -> list[str]:
    budget = [] if "--memory" in words else ["--memory", PLENTY]
    if words and words[0].endswith(".py"):
        train = str(Path(__file__).with_name("train.py"))
        return [sys.executable, train, words[0], str(picture), "--out", str(folder / "run"), *words[1:], *budget]
    output = str(folder / "output.png")
    return [sys.executable, "-m", "diffquant", "quantize", str(picture), "-o", output, *words, *budget]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Hold estimates of memory against what is taken. A Markdown table goes to stdout."""

    image: Positional[Path]
    """The picture to scale."""
    cases: tuple[str, ...] = CASES
    """Each a size and options."""
    out: Path = Path("runs/memory")
    """Folder of results."""

    def run(self) -> int:
        """Rows, then the table. A picture that cannot be read ends it before it starts."""
        try:
            read(self.image)
        except ImageError as error:
            raise UsageError(str(error)) from None
        for case in self.cases:
            _size_of(case)
        self.out.mkdir(parents=True, exist_ok=True)
        rows = []
        for row in completed(row_of, [Task(self.image, case) for case in self.cases], 1):
            rows.append(row)
            write_atomically(self.out / "results.json", (json.dumps(rows, indent=2) + "\n").encode())
            write_atomically(self.out / "table.md", f"{table(rows)}\n".encode())
        print(table(rows))
        return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row for each case."""
    header = ["size, options", "plan", "estimate, MiB", "measured, MiB", "off by"]
    lines = [
        [
            f"`{row['case']}`",
            row["plan"],
            f"{row['estimate_mib']:,.0f}",
            f"{row['measured_mib']:,.0f}",
            f"{100 * (row['measured_mib'] / row['estimate_mib'] - 1):+.0f} %",
        ]
        for row in rows
    ]
    return markdown(header, lines, left=2)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG, lost="rows so far are kept"))


if __name__ == "__main__":
    main()

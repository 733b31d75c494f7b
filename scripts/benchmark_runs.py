"""The work that benchmarks share: a file is made unless that was done, and measured by what it was not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark_rows import Values

from diffquant import runner
from diffquant.config import Config
from diffquant.files import write_atomically
from diffquant.image import Picture, read
from diffquant.metrics import measure
from diffquant.report import decode

Encode = Callable[[Picture], tuple[bytes, float]]  # a file, and the seconds from the picture to its bytes


def measured(source: Path, file: Path, values: Values, metrics: Sequence[str], encode: Encode | None) -> Values:
    """`values` and the metrics that they lack, of the picture `source` as `file` shows it; bytes, and seconds.

    Without `encode` the file comes from elsewhere. A file that is new, or has another size, is measured afresh.

    Raises:
        ValueError, OSError, FloatingPointError: the picture or the file cannot be read, written, encoded or measured.
    """
    picture = read(source)
    if encode is not None and not (file.exists() and "seconds" in values):
        data, seconds = encode(picture)
        write_atomically(file, data)
        values = {"bytes": len(data), "seconds": seconds}
    data = file.read_bytes()
    if len(data) != values.get("bytes"):
        values = {"bytes": len(data)} | ({} if encode is None else {"seconds": values["seconds"]})
    missing = [name for name in metrics if name not in values]
    return values | measure(picture.srgb8, decode(data), missing)


def warm_up(picture: Picture, config: Config) -> None:
    """Compile what `config` runs on pictures of this size: one dispatch of steps, one round of what hardens them."""
    seen: list[str] = []
    for stage in runner.stages(picture, config, stop=lambda: seen[-1] == "relax"):
        seen.append(stage.name)
        if stage.name == "harden" and stage.share > 0:
            return

"""`diffquant evaluate`."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from diffquant.console import UsageError, table
from diffquant.image import read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a file against the picture that it was made from."""

    reference: Positional[Path]
    """The original."""
    output: Positional[Path]
    """The file to judge, of the same size."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """One table."""
        original, judged = read(self.reference), read(self.output)
        if original.srgb8.shape != judged.srgb8.shape:
            (h, w), (rows, columns) = original.srgb8.shape[:2], judged.srgb8.shape[:2]
            raise UsageError(f"{self.output}: found {columns}x{rows} pixels, expected {w}x{h} as in {self.reference}")
        from diffquant.report import report_of, to_json

        report = report_of(original.srgb8, judged.srgb8, self.output.stat().st_size)
        if self.json:
            print(to_json(report.as_dict()))
        else:
            table(self.output, report)
        return 0

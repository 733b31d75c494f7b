"""The JPEG codec: quantization tables, levels, and if wanted a colour transform, tuned for one picture."""

import dataclasses
from typing import TYPE_CHECKING

from diffquant.interfaces import Image, Pixels
from diffquant.pipelines.goals import Score
from diffquant.pipelines.jpeg_settings import JpegSettings
from diffquant.report import JPEG

if TYPE_CHECKING:
    from diffquant.pipelines.jpeg_pipeline import JpegPipeline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jpeg(JpegSettings):
    """A JPEG that any decoder opens: see `JpegSettings`."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Metrics; that of the goal too."""
        return tuple(dict.fromkeys((*JPEG, self.goal.metric))) if isinstance(self.goal, Score) else JPEG

    def exact(self, pixels: Pixels) -> None:
        """A JPEG is never exact."""
        return None

    def build(self, pixels: Pixels, target: Image) -> "JpegPipeline":
        """Tables of equal visibility; the picture's own coefficients."""
        from diffquant.pipelines.jpeg_pipeline import JpegPipeline  # loads numba: palettes must not wait for that

        return JpegPipeline(self, pixels, target)

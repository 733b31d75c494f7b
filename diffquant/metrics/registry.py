"""The list of metrics, and one call that takes several."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable

from diffquant.metrics.butteraugli import butteraugli
from diffquant.metrics.error import oklab_mse, oklab_mse_blur, psnr
from diffquant.metrics.flip import flip
from diffquant.metrics.pair import Picture, require_pair
from diffquant.metrics.scielab import scielab
from diffquant.metrics.ssimulacra2 import ssimulacra2
from diffquant.metrics.structure import ms_ssim, ssim

WORKERS = 2  # SciPy's transforms and NumPy's loops release the interpreter lock
LARGE = 4_000_000  # pixels: from there on a metric takes so much memory that they take turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """A distance or similarity of two pictures, and how to print it."""

    function: Callable[[Picture, Picture], float]  # reference, decoded
    label: str
    unit: str = ""
    higher_is_better: bool
    digits: int  # after the point
    exponent: int = 0  # of ten, taken out before printing

    def format(self, value: float) -> str:
        """The value with its digits and unit."""
        scaled = value * 10**self.exponent
        power = f"e-{self.exponent:02d}" if self.exponent else ""
        return f"{scaled:.{self.digits}f}{power} {self.unit}".rstrip()


METRICS: dict[str, Metric] = {
    "psnr": Metric(function=psnr, label="PSNR", unit="dB", higher_is_better=True, digits=2),
    "ssim": Metric(function=ssim, label="SSIM", higher_is_better=True, digits=4),
    "ms_ssim": Metric(function=ms_ssim, label="MS-SSIM", higher_is_better=True, digits=4),
    "ssimulacra2": Metric(function=ssimulacra2, label="SSIMULACRA2", higher_is_better=True, digits=2),
    "butteraugli_3norm": Metric(function=butteraugli, label="Butteraugli 3-norm", higher_is_better=False, digits=3),
    "oklab_mse": Metric(function=oklab_mse, label="OkLab MSE", higher_is_better=False, digits=2, exponent=4),
    "oklab_mse_blur": Metric(
        function=oklab_mse_blur, label="blurred OkLab MSE", higher_is_better=False, digits=3, exponent=4
    ),
    "scielab": Metric(function=scielab, label="S-CIELAB", unit="ΔE", higher_is_better=False, digits=3),
    "flip": Metric(function=flip, label="FLIP", higher_is_better=False, digits=4),
}


def measure(reference: Picture, decoded: Picture, names: Iterable[str] | None = None) -> dict[str, float]:
    """The metrics called `names` (default: all), in that order.

    Raises:
        ValueError: an unknown name, or pictures that are not uint8 `[h w 3]` of one size.
    """
    require_pair(reference, decoded)
    chosen = list(METRICS if names is None else names)
    unknown = [name for name in chosen if name not in METRICS]
    if unknown:
        raise ValueError(f"names: found {', '.join(unknown)}, expected some of {', '.join(METRICS)}")
    workers = 1 if reference.shape[0] * reference.shape[1] > LARGE else WORKERS
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        values = pool.map(lambda name: METRICS[name].function(reference, decoded), chosen)
        return dict(zip(chosen, values, strict=True))

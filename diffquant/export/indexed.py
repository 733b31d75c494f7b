"""What an indexed PNG holds: a palette and an index for each pixel."""

import dataclasses
import io

import numpy as np
import oxipng
from jaxtyping import UInt8
from PIL import Image

from diffquant.palette.histogram import codes_from_colors, oklab_from_colors


def _packed(indices: UInt8[np.ndarray, "h w"], bits: int) -> UInt8[np.ndarray, "h bytes"]:
    """Rows of indices of `bits` bits each, the first in the highest bits; rows start at a byte."""
    each = 8 // bits
    padded = np.pad(indices, ((0, 0), (0, -indices.shape[1] % each)))
    shifts = np.arange(each - 1, -1, -1, dtype=np.uint8) * np.uint8(bits)
    return np.bitwise_or.reduce(padded.reshape(len(indices), -1, each) << shifts, axis=2)


@dataclasses.dataclass(frozen=True, eq=False)
class IndexedImage:
    """Up to 256 sRGB colours and the index of one at each pixel. The arrays are copied, and read-only.

    Raises:
        ValueError: the arrays have another type or shape, or an index points past the palette.
    """

    palette: np.ndarray  # uint8 [k 3]: checked here, so that users read our errors and not a type checker's
    indices: np.ndarray  # uint8 [h w]
    _files: dict[int, bytes] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("palette", "indices"):
            array = np.array(getattr(self, name))
            if array.dtype != np.uint8 or array.ndim != 2 or array.size == 0:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected uint8 with two axes, not empty")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.palette.shape[1] != 3 or len(self.palette) > 256:
            raise ValueError(f"palette has shape {self.palette.shape}, expected [k 3] with at most 256 colours")
        if self.indices.max() >= len(self.palette):
            raise ValueError(f"indices go up to {self.indices.max()}, but palette holds {len(self.palette)} colours")

    def decode(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture as any decoder shows it."""
        return self.palette[self.indices]

    def normalized(self) -> "IndexedImage":
        """The same picture with each colour that it uses once in the palette, dark to light.

        Files hardly depend on the order; of six that were tried none was reliably smaller than this.
        """
        used = np.bincount(self.indices.ravel(), minlength=len(self.palette)) > 0
        codes, first = np.unique(codes_from_colors(self.palette)[used], return_index=True)
        colors = self.palette[used][first]
        order = oklab_from_colors(colors)[:, 0].argsort(kind="stable")
        rank = np.empty(len(order), np.uint8)
        rank[order] = np.arange(len(order))
        place = codes.searchsorted(codes_from_colors(self.palette)).clip(max=len(codes) - 1)  # unused ones: anywhere
        return IndexedImage(colors[order], rank[place][self.indices])

    def to_bytes(self, level: int = 2) -> bytes:
        """An indexed PNG of the `normalized` picture, at the smallest bit depth, as small as oxipng makes it.

        Levels are 0 (fast) to 6; above 2 they save little and take several times as long. A second call costs nothing.
        """
        if level not in self._files:
            self._files[level] = self.normalized()._encode(level)
        return self._files[level]

    def _encode(self, level: int) -> bytes:
        bits = next(bits for bits in (1, 2, 4, 8) if len(self.palette) <= 1 << bits)
        height, width = self.indices.shape
        colors = oxipng.ColorType.indexed([(*color, 255) for color in self.palette.tolist()])
        data = _packed(self.indices, bits).tobytes()
        raw = oxipng.RawImage(data, width, height, color_type=colors, bit_depth=bits)
        # oxipng may choose filters, but not find that the picture is grey, or sort the palette again (half as fast).
        return raw.create_optimized_png(
            level=level,
            bit_depth_reduction=False,
            color_type_reduction=False,
            grayscale_reduction=False,
            palette_reduction=False,
        )

    @staticmethod
    def from_bytes(data: bytes) -> "IndexedImage":
        """Reads an indexed PNG without transparency.

        Raises:
            ValueError: it is some other kind of picture.
        """
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "PNG" or image.mode != "P" or "transparency" in image.info:
                raise ValueError(f"data is a {image.format} of mode {image.mode}, expected an opaque indexed PNG")
            palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
            return IndexedImage(palette, np.asarray(image))

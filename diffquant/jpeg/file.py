"""What a JPEG file holds: levels, tables and a few markers; and the file itself, written and read."""

import contextlib
import dataclasses
import io
import pathlib
import tempfile

import jpeglib
import mozjpeg_lossless_optimization as mozjpeg
import numpy as np
from jaxtyping import UInt8
from PIL.JpegImagePlugin import JpegImageFile

from diffquant.jpeg.geometry import FACTORS, Geometry
from diffquant.jpeg.markers import MOST_ICC, PAYLOAD, Frame, marked, named, read_frame

DC_LIMIT, AC_LIMIT = 1024, 1023  # differences of DC below 2^11, AC below 2^10: what 8-bit files code. T.81, F.1.2
EXIF_NAME = b"Exif\0\0"


@dataclasses.dataclass(frozen=True, eq=False)
class JpegImage:
    """Levels and quantization tables, one of each for a component. The arrays are copied, and read-only.

    `icc` is a profile; `exif` is what its marker holds. `adobe` 0 says that three components are the picture's own
    colours and not Y, Cb, Cr; 1 that they are Y, Cb, Cr, as they are without it.

    Raises:
        ValueError: the arrays have another type or shape, or hold what an 8-bit file cannot.
    """

    levels: tuple[np.ndarray, ...]  # int16 [rows columns 8 8] each, natural order
    tables: tuple[np.ndarray, ...]  # uint16 [8 8] each, 1 to 255
    geometry: Geometry
    icc: bytes | None = None
    exif: bytes | None = None
    adobe: int | None = None
    _files: dict[str, bytes] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        count = self.geometry.components
        self._copy("levels", np.int16, [(*blocks, 8, 8) for blocks in self.geometry.blocks])
        self._copy("tables", np.uint16, [(8, 8)] * count)
        for levels, table in zip(self.levels, self.tables, strict=True):
            if table.min() < 1 or table.max() > 255:
                raise ValueError(f"tables go from {table.min()} to {table.max()}, expected 1 to 255")
            dc, ac = levels[..., 0, 0], levels.reshape(-1, 64)[:, 1:]
            if dc.min() < -DC_LIMIT or dc.max() >= DC_LIMIT:
                raise ValueError(f"DC levels go from {dc.min()} to {dc.max()}, expected {-DC_LIMIT} to {DC_LIMIT - 1}")
            if ac.min() < -AC_LIMIT or ac.max() > AC_LIMIT:
                raise ValueError(f"AC levels go from {ac.min()} to {ac.max()}, expected {-AC_LIMIT} to {AC_LIMIT}")
        if self.adobe is not None and (self.adobe not in (0, 1) or count != 3):
            raise ValueError(f"adobe: found {self.adobe} for {count} components, expected None, or 0 or 1 for three")
        if self.exif is not None and not (self.exif.startswith(EXIF_NAME) and len(self.exif) <= PAYLOAD):
            raise ValueError(f"exif: found {len(self.exif)} bytes, expected {EXIF_NAME!r} first and at most {PAYLOAD}")
        if self.icc is not None and not 0 < len(self.icc) <= MOST_ICC:
            raise ValueError(f"icc: found {len(self.icc)} bytes, expected 1 to {MOST_ICC}")

    def _copy(self, name: str, dtype: type[np.generic], shapes: list[tuple[int, ...]]) -> None:
        arrays = tuple(np.array(array) for array in getattr(self, name))
        if [array.shape for array in arrays] != shapes or any(array.dtype != dtype for array in arrays):
            found = ", ".join(f"{array.dtype} {list(array.shape)}" for array in arrays)
            expected = ", ".join(f"{dtype.__name__} {list(shape)}" for shape in shapes)
            raise ValueError(f"{name} are {found}, expected {expected}")
        for array in arrays:
            array.flags.writeable = False
        object.__setattr__(self, name, arrays)

    def decode(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture as libjpeg decodes it: its RGB codes as they are, whatever a profile says that they mean."""
        return np.array(JpegImageFile(io.BytesIO(self.to_bytes())).convert("RGB"))

    def to_bytes(self) -> bytes:
        """A progressive file with the scans that mozjpeg finds to be smallest. A second call costs nothing.

        Where that is not smaller, as in small pictures, it is a sequential one.
        """
        if "file" not in self._files:
            files = [self.to_sequential()]
            with contextlib.suppress(ValueError):  # mozjpeg could not do it
                files.append(mozjpeg.optimize(files[0]))
            self._files["file"] = marked(min(files, key=len), self.icc, self.exif, self.adobe)
        return self._files["file"]

    def to_sequential(self) -> bytes:
        """A baseline JFIF file with optimal Huffman codes and no other markers. A second call costs nothing."""
        if "sequential" not in self._files:
            self._files["sequential"] = self._encode()
        return self._files["sequential"]

    def _encode(self) -> bytes:
        distinct: list[np.ndarray] = []
        numbers = []
        for table in self.tables:
            known = [n for n, other in enumerate(distinct) if np.array_equal(table, other)]
            numbers.append(known[0] if known else len(distinct))
            distinct += [] if known else [table]
        image = jpeglib.from_dct(*self.levels, qt=np.stack(distinct), quant_tbl_no=numbers)
        # It would guess these from the blocks: sides rounded up to 8, no subsampling in pictures of one block.
        image.height, image.width = self.geometry.height, self.geometry.width
        image.samp_factor = np.array([self.geometry.factors, *[(1, 1)] * (len(self.levels) - 1)])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "levels.jpg")
            image.write_dct(str(path), flags=["+OPTIMIZE_CODING"])
            return named(path.read_bytes())

    @staticmethod
    def from_bytes(data: bytes) -> "JpegImage":
        """Reads a baseline or progressive file: grey, or of three components with 4:4:4, 4:2:2 or 4:2:0 sampling.

        Of its markers it keeps profile, EXIF, and whether the components are Y, Cb, Cr.

        Raises:
            ValueError: it is something else, or damaged.
        """
        frame = read_frame(data)
        geometry = _geometry(frame)
        try:
            image = JpegImageFile(io.BytesIO(data))
            image.load()  # finds what is damaged
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "file.jpg")
                path.write_bytes(data)
                coded = jpeglib.read_dct(str(path))
                levels = (coded.Y, coded.Cb, coded.Cr)[: geometry.components]
                tables = tuple(coded.qt[number] for number in coded.quant_tbl_no)
        except (OSError, SyntaxError) as error:  # Pillow raises either
            raise ValueError(f"data is a damaged JPEG: {error}") from error
        info = image.info
        # As libjpeg has it. What jpeglib says of the colours ignores the Adobe marker.
        transform = 1 if "jfif" in info else info.get("adobe_transform", 0 if frame.names == b"RGB" else 1)
        adobe = 0 if transform == 0 and geometry.components == 3 else None
        return JpegImage(levels, tables, geometry, info.get("icc_profile"), info.get("exif"), adobe)


def _geometry(frame: Frame) -> Geometry:
    if len(frame.factors) == 1:
        return Geometry(frame.height, frame.width, components=1)
    luma, *chroma = frame.factors
    for sampling, (down, across) in FACTORS.items():
        if len(chroma) == 2 and all((down * rows, across * columns) == luma for rows, columns in chroma):
            return Geometry(frame.height, frame.width, sampling)
    raise ValueError(f"data has sampling factors {frame.factors}, expected one component, or three of {list(FACTORS)}")

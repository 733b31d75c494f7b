"""Writing an animated GIF a frame at a time: only the rectangle that changes, and in it only the pixels that do.

Source: GIF89a specification (CompuServe, 1990); the loop count is Netscape's application block.
"""

import struct
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

KEEP, CLEAR = 1, 2  # what becomes of a frame when its time is over
LONGEST = 65535  # hundredths of a second


@runtime_checkable
class Sink(Protocol):
    """What can be written to: an open file, or memory."""

    def write(self, data: bytes, /) -> Any:
        """Appends the data."""


@dataclass(frozen=True, eq=False)
class _Pending:
    """A frame that is not written yet: the next one decides how long it shows and what becomes of it."""

    indices: UInt8[np.ndarray, "h w"]
    opaque: Bool[np.ndarray, "h w"]
    palette: UInt8[np.ndarray, "k 3"]
    delay: int


class GifWriter:
    """Writes frames of `width` x `height` to a `file`; `close` ends it.

    `palette` [k 3], at most 255 colours beside the transparent one, serves all frames that do not bring their own.
    """

    def __init__(
        self, file: Sink, width: int, height: int, palette: UInt8[np.ndarray, "k 3"], *, loop: int | None
    ) -> None:
        self._file = file
        self._global = palette
        self._shown = np.zeros((height, width, 3), np.uint8)  # before the pending frame
        self._filled = np.zeros((height, width), bool)
        self._pending: _Pending | None = None
        self._written = 0
        bits = _bits(palette)
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80 | 0x70 | (bits - 1), 0, 0) + _table(palette))
        if loop is not None:
            file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0")

    def add(
        self,
        indices: UInt8[np.ndarray, "h w"],
        delay: int,
        *,
        opaque: Bool[np.ndarray, "h w"] | None = None,
        palette: UInt8[np.ndarray, "k 3"] | None = None,
    ) -> int:
        """One frame for `delay` hundredths of a second; which frame of the file shows it, from 0.

        A frame like the one before makes that one last longer.
        """
        while delay > LONGEST:  # a file says it in several frames
            self.add(indices, LONGEST, opaque=opaque, palette=palette)
            delay -= LONGEST
        colors = self._global if palette is None else palette
        shows = np.ones(indices.shape, bool) if opaque is None else opaque
        last = self._pending
        if last is not None:
            same = np.array_equal(last.opaque, shows) and np.array_equal(
                last.palette[last.indices][shows], colors[indices][shows]
            )
            if same and last.delay + delay <= LONGEST:
                self._pending = _Pending(last.indices, last.opaque, last.palette, last.delay + delay)
                return self._written
            self._write(last, CLEAR if (last.opaque & ~shows).any() else KEEP)
        self._pending = _Pending(indices, shows, colors, delay)
        return self._written

    def close(self) -> None:
        """The last frame and the trailer. The file stays open."""
        if self._pending is not None:
            self._write(self._pending, KEEP)
            self._pending = None
        self._file.write(b";")

    def _write(self, frame: _Pending, disposal: int) -> None:
        from diffquant.animation.lzw import compress  # loads numba

        colors = frame.palette[frame.indices]
        free = ~frame.opaque | (self._filled & (colors == self._shown).all(axis=2))
        # What is to be cleared afterwards must lie in the rectangle: all that shows, whoever drew it.
        top, bottom, left, right = _rectangle(~free if disposal == KEEP else frame.opaque | self._filled)
        here = np.s_[top:bottom, left:right]
        indices, unchanged = frame.indices[here], free[here]
        transparent = len(frame.palette)
        bits = _bits(frame.palette)
        must = ~frame.opaque[here]
        data = compress(np.where(must, transparent, indices).astype(np.uint8), bits, unchanged, transparent)
        local = not np.array_equal(frame.palette, self._global)
        control = struct.pack("<BHB", disposal << 2 | 1, frame.delay, transparent)
        place = struct.pack("<HHHHB", left, top, right - left, bottom - top, 0x80 | (bits - 1) if local else 0)
        table = _table(frame.palette) if local else b""
        self._file.write(b"\x21\xf9\x04" + control + b"\0," + place + table + data)
        self._written += 1
        if disposal == CLEAR:
            self._filled[here] = False
        else:
            self._shown = np.where(frame.opaque[..., None], colors, self._shown)
            self._filled |= frame.opaque


def _bits(palette: UInt8[np.ndarray, "k 3"]) -> int:
    """Of an index, the transparent one included; a GIF's codes have no fewer than 2."""
    return max(len(palette).bit_length(), 2)


def _table(palette: UInt8[np.ndarray, "k 3"]) -> bytes:
    return palette.tobytes().ljust(3 << _bits(palette), b"\0")


def _rectangle(changed: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right around what changed; a single pixel if nothing did."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return 0, 1, 0, 1
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1

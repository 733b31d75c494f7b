"""GIF's variant of LZW, compiled, with the freedom that a changing picture leaves: a pixel that does not change may be
written as it is or as transparent, whichever the dictionary already knows.

Imported by the first frame that is written: numba takes a quarter of a second.
"""

import numba
import numpy as np
from jaxtyping import Bool, UInt8

LARGEST = 12  # bits of a code


@numba.njit(cache=True)
def _put(
    code: int, width: int, buffer: int, filled: int, out: np.ndarray, size: int
) -> tuple[int, int, int]:  # pragma: no cover
    """Appends a code of `width` bits; the bits that fill no byte yet, how many, and the bytes written."""
    buffer |= code << filled
    filled += width
    while filled >= 8:
        out[size] = buffer & 255
        size += 1
        buffer >>= 8
        filled -= 8
    return buffer, filled, size


@numba.njit(cache=True)
def _pack(
    indices: np.ndarray, free: np.ndarray, transparent: int, bits: int, out: np.ndarray
) -> int:  # pragma: no cover
    """Codes of the indices, packed from the lowest bit up; the number of bytes."""
    clear = 1 << bits
    width, following = bits + 1, clear + 2
    children = np.full((1 << LARGEST, clear), -1, np.int16)
    buffer, filled, size = clear, width, 0  # the first code clears
    position, n = 0, len(indices)
    while position < n:
        node = transparent if free[position] else int(indices[position])
        position += 1
        symbol = 0
        while position < n:
            symbol = int(indices[position])
            child = int(children[node, symbol])
            if free[position]:
                other = int(children[node, transparent])
                if other >= 0:
                    child = other
                elif child < 0:
                    symbol = transparent
            if child < 0:
                break
            node = child
            position += 1
        buffer, filled, size = _put(node, width, buffer, filled, out, size)
        if position >= n:
            break
        if following < 1 << LARGEST:
            children[node, symbol] = following
            if following == 1 << width:
                width += 1
            following += 1
        else:
            buffer, filled, size = _put(clear, width, buffer, filled, out, size)
            children[:] = -1
            width, following = bits + 1, clear + 2
    if following == 1 << width and width < LARGEST:
        width += 1
    buffer, filled, size = _put(clear + 1, width, buffer, filled, out, size)  # the end
    if filled:
        out[size] = buffer
        size += 1
    return size


def compress(
    indices: UInt8[np.ndarray, "h w"], bits: int, free: Bool[np.ndarray, "h w"] | None, transparent: int | None
) -> bytes:
    """The image data block of a GIF: the size of its smallest codes, blocks of at most 255 bytes, and an empty one.

    `bits` hold every index, 2 to 8. Where `free`, a pixel is written as its index or as `transparent`.
    """
    anywhere = np.zeros(indices.shape, bool) if free is None or transparent is None else free
    out = np.empty(indices.size * 2 + 64, np.uint8)
    size = _pack(indices.ravel(), anywhere.ravel(), transparent or 0, bits, out)
    packed = out[:size].tobytes()
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return bytes([bits]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"

"""Frames of several GIFs beside each other, and how much of what they show flickers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage
from animation_runs import Excerpt, shown_at_their_time
from jaxtyping import UInt8
from PIL import Image

COLUMNS = 4  # consecutive frames
CROP = 80, 112  # pixels, h w
ZOOM = 3
AMPLIFIED = 6  # differences between consecutive frames
GAP = 6

Codes = UInt8[np.ndarray, "h w 3"]


def sheet(clip: Excerpt, files: Sequence[Path]) -> Image.Image:
    """A row for the clip and for each file: the same crop of consecutive frames from the middle, enlarged.

    Last in a row the mean absolute difference between these frames, amplified.
    """
    n = min(COLUMNS, len(clip.pictures))
    first = (len(clip.pictures) - n) // 2
    rows = [[frame.srgb8 for frame in clip.pictures[first : first + n]]]
    rows += [list(shown_at_their_time(clip, file))[first : first + n] for file in files]
    top, left = _liveliest(rows[0])
    h, w = CROP
    return _joined([_row([frame[top : top + h, left : left + w] for frame in row]) for row in rows])


def _liveliest(frames: Sequence[Codes]) -> tuple[int, int]:
    """Where half the crop's changes are greatest: what moves is in view, and what it uncovers."""
    changes = np.abs(np.diff(np.stack(frames).astype(np.float32), axis=0)).mean(axis=(0, 3))
    h, w = (min(a, b) for a, b in zip(CROP, changes.shape, strict=True))
    sums = scipy.ndimage.uniform_filter(changes, (h, w), mode="constant")
    y, x = np.unravel_index(sums.argmax(), sums.shape)
    return int(np.clip(y - h // 2, 0, changes.shape[0] - h)), int(np.clip(x - w // 2, 0, changes.shape[1] - w))


def _row(frames: Sequence[Codes]) -> Codes:
    change = np.abs(np.diff(np.stack(frames).astype(np.float32), axis=0)).mean(axis=0)
    cells = [*frames, np.clip(AMPLIFIED * change, 0, 255).astype(np.uint8)]
    large = [cell.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1) for cell in cells]
    return np.concatenate([np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for cell in large], axis=1)


def _joined(rows: Sequence[Codes]) -> Image.Image:
    return Image.fromarray(np.concatenate(rows))

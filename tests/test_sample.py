"""Blocks that stand for whole pictures."""

import numpy as np
import pytest

from diffquant.palette.histogram import oklab_from_colors
from diffquant.palette.sample import BLOCK, labels_of, sample

H, W = 5 * BLOCK + 20, 3 * BLOCK + 40


def halves(h=H, w=W):
    """Two entries, above and below, and a third one only in a corner of 6 x 9 pixels."""
    labels = np.zeros((h, w), np.uint8)
    labels[h // 2 :] = 1
    labels[-6:, -9:] = 2
    return labels


@pytest.mark.parametrize("wanted", [1, 2, 5, 15, 100])
def test_there_are_as_many_blocks_as_were_asked_for_all_inside_and_none_twice(wanted):
    blocks = sample([halves(), halves()], 3, wanted * BLOCK**2)
    assert len(blocks) == min(wanted, 2 * 6 * 4)
    assert len(set(blocks)) == len(blocks)
    for block in blocks:
        assert block.of(halves()).shape == (BLOCK, BLOCK)


def test_all_blocks_together_leave_no_pixel_out():
    seen = np.zeros((H, W), bool)
    for block in sample([halves()], 3, 10**9):
        block.of(seen)[:] = True
    assert seen.all()


def test_a_rare_entry_is_never_forgotten():
    for wanted in (2, 3, 6):
        assert any((block.of(halves()) == 2).any() for block in sample([halves()], 3, wanted * BLOCK**2))


def test_a_picture_that_alone_has_an_entry_is_among_them():
    pictures = [np.zeros((H, W), np.uint8) for _ in range(9)]
    pictures[6][100:110, 50:60] = 3
    assert 6 in {block.picture for block in sample(pictures, 4, 4 * BLOCK**2)}


def test_entries_are_spread_as_in_the_whole():
    labels = np.random.default_rng(0).permuted(np.repeat(np.arange(8), [1, 2, 4, 8, 16, 8, 4, 2]).repeat(40))
    field = np.kron(np.resize(labels, (24, 40)), np.ones((16, 16), int))
    blocks = sample([field], 8, field.size // 4)
    found = np.bincount(np.concatenate([block.of(field).ravel() for block in blocks]), minlength=8)
    whole = np.bincount(field.ravel(), minlength=8)
    np.testing.assert_allclose(found / found.sum(), whole / whole.sum(), atol=0.06)


def test_small_pictures_are_blocks_of_their_smaller_side():
    (block,) = sample([np.zeros((9, 14), np.uint8)], 1, 1)
    assert (block.side, block.of(np.zeros((9, 14))).shape) == (9, (9, 9))


def test_labels_are_the_nearest_entries():
    colors = np.array([[0, 0, 0], [250, 250, 250], [200, 30, 30], [30, 60, 220]], np.uint8)
    picture = np.random.default_rng(0).integers(0, 256, (20, 31, 3)).astype(np.uint8)
    palette, points = oklab_from_colors(colors), oklab_from_colors(picture.reshape(-1, 3))
    squares = ((points[:, None] - palette) ** 2).sum(axis=2)
    (found,) = labels_of([picture], palette)
    excess = np.sqrt(squares[np.arange(len(points)), found.ravel()]) - np.sqrt(squares.min(axis=1))
    assert excess.max() < 0.03  # 5 bits a channel: half a cube off at most
    np.testing.assert_array_equal(labels_of([colors[None]], palette), [[np.arange(4)]])

"""Drawings of palettes and of median cut. Oracle for files: Pillow; for what they show: counted pixels."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.draw.canvas import panel, pixels_of, sheet
from diffquant.draw.cut import MOST_FRAMES, counts_of, cut_frames, durations_of, gif_bytes
from diffquant.draw.sheet import palette_sheet
from diffquant.draw.swatches import draw_band, draw_cells, percent
from diffquant.draw.view import Cloud, cloud_of, edges, from_above, from_the_side, in_space, stretch_of
from diffquant.palette.histogram import oklab_from_colors
from diffquant.palette.median_cut import steps

FOUR = np.array([[200, 30, 30], [20, 20, 20], [240, 240, 220], [30, 90, 200]], np.uint8)
SHARES = np.array([0.1, 0.2, 0.3, 0.4])


def picture(h=12, w=20):
    """Smooth, with some dozens of colours."""
    y, x = np.mgrid[:h, :w] / w
    return np.stack([250 * x, 400 * y, 120 + 100 * np.sin(5 * x)], axis=-1).astype(np.uint8)


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def is_of(pixels, color):
    return (pixels == color).all(axis=-1)


def counts_in(pixels, colors):
    """How many pixels have each of the colours."""
    seen = np.bincount((pixels @ [65_536, 256, 1]).ravel(), minlength=1 << 24)
    return seen[colors @ [65_536, 256, 1]]


def contains(pixels, part):
    """Whether `part` [h w 3] is somewhere in `pixels`."""
    places = np.argwhere(is_of(pixels, part[0, 0]))
    fitting = (pixels[y : y + part.shape[0], x : x + part.shape[1]] for y, x in places)
    return any(np.array_equal(found, part) for found in fitting)


# Swatches


def drawn(draw, *arguments, width=400, height=50):
    figure, canvas = sheet(width, height)
    draw(panel(figure, 0, 0, width, height), *arguments)
    canvas.draw()
    return pixels_of(canvas)


def test_in_the_band_areas_are_shares():
    pixels = drawn(draw_band, FOUR, SHARES)
    assert pixels.shape == (50, 400, 3)
    areas = [is_of(pixels, color).sum() for color in FOUR]
    np.testing.assert_allclose(areas, 50 * 400 * SHARES, atol=50)
    assert sum(areas) == 50 * 400  # no background shows between two colours
    starts = [is_of(pixels[25], color).argmax() for color in FOUR]
    np.testing.assert_allclose(starts, 400 * (np.cumsum(SHARES) - SHARES), atol=1)


@pytest.mark.parametrize("k", [1, 5, 64, 65, 256])
def test_each_colour_has_a_cell_of_one_size(k):
    codes = np.arange(k) * 65_521
    colors = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
    pixels = drawn(draw_cells, colors, np.full(k, 1 / k), width=1600, height=240)
    areas = counts_in(pixels, colors)
    assert (areas > 0).all()
    if k > 64:  # no names cover them
        assert areas.max() < 1.2 * areas.min()


@pytest.mark.parametrize(
    ("share", "text"), [(0.1234, "12.3 %"), (1.0, "100.0 %"), (0.0, "0.0 %"), (0.0005, "0.1 %"), (0.0004, "< 0.1 %")]
)
def test_shares_are_rounded_but_little_is_not_nothing(share, text):
    assert percent(share) == text


# The cloud


def test_the_cloud_holds_each_colour_once_with_its_share():
    pixels = FOUR[[[0, 1, 1], [2, 1, 3]]]
    cloud = cloud_of(pixels)
    assert cloud.colors.tolist() == sorted(FOUR.tolist())
    np.testing.assert_allclose(cloud.shares[cloud.colors[:, 0] == 20], [0.5])
    np.testing.assert_array_equal(cloud.points, oklab_from_colors(cloud.colors))


@pytest.mark.parametrize("view", [in_space(), from_above(), from_the_side(1), from_the_side(2)])
def test_a_view_turns_and_neither_stretches_nor_mirrors(view):
    axes = np.array([view.right, view.up, view.near])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    # As if a were to the right, L upwards and b away: all views are of the same solid.
    assert np.linalg.det(axes) == pytest.approx(np.linalg.det([[0, 1, 0], [1, 0, 0], [0, 0, -1]]))


def test_greys_stand_upright_and_chroma_is_stretched():
    greys = np.linspace([0, 0, 0], [1, 0, 0], 5)
    for view in (in_space(3), from_the_side(1, 3), from_the_side(2, 3)):
        assert np.ptp(view.place(greys)[:, 0]) == 0
        assert (np.diff(view.place(greys)[:, 1]) > 0).all()
    red = np.array([[0.6, 0.2, 0.1]])
    np.testing.assert_allclose(from_the_side(1, 3).place(red), [[0.6, 0.6]])
    np.testing.assert_allclose(from_the_side(2, 3).place(red), [[0.3, 0.6]])
    np.testing.assert_allclose(from_above().place(red), [[0.2, 0.1]])


@pytest.mark.parametrize(("chroma", "stretch"), [(0.0, 4), (0.05, 4), (0.16, 3), (0.2, 2), (0.3, 1), (0.9, 1)])
def test_a_cloud_is_stretched_as_far_as_it_has_room(chroma, stretch):
    points = np.array([[0.5, 0.6 * chroma, -0.8 * chroma]] * 3)
    assert stretch_of(Cloud(FOUR[:3], points, np.ones(3))) == stretch


def test_a_box_has_twelve_edges():
    (box,) = next(steps(np.array([[0, 0, 0], [1, 2, 4.0]]), np.ones(2), 1))
    ends = edges([box], from_above())
    assert ends.shape == (12, 2, 2)
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    assert sorted(lengths) == [0] * 4 + [2] * 4 + [4] * 4  # those along L point to the eye


# The sheet


@pytest.mark.parametrize("k", [1, 4, 70])
def test_the_sheet_shows_the_palette_and_the_colours_of_the_picture(k):
    cloud = cloud_of(picture())
    *_, boxes = steps(cloud.points, cloud.shares, k)
    means = np.stack([box.mean for box in boxes], axis=1)
    colors = np.unique(srgb8_from_linear(linear_from_oklab(means)).T, axis=0)
    data = palette_sheet(colors, np.full(len(colors), 1 / len(colors)), cloud, boxes, "a $name_ [写]")
    pixels = decoded(data)
    assert pixels.shape[1] == 1600
    assert (counts_in(pixels, colors) > 500).all()
    if k == 1:
        assert (counts_in(pixels, cloud.colors) > 0).mean() > 0.9


@pytest.mark.parametrize("color", [[0, 0, 0], [255, 255, 255], [0, 0, 255]])
def test_a_picture_of_one_colour_can_be_drawn(color):
    pixels = np.full((3, 5, 3), color, np.uint8)
    cloud = cloud_of(pixels)
    states = list(steps(cloud.points, cloud.shares, 4))
    sheet_pixels = decoded(palette_sheet(cloud.colors, np.ones(1), cloud, states[-1], "one"))
    assert is_of(sheet_pixels, color).sum() > 1520 * 56
    (frame,) = cut_frames(pixels, cloud, states)
    assert contains(frame.decode(), pixels)
    assert decoded(gif_bytes([frame], durations_of([1]))).shape == frame.decode().shape


# The cut


@pytest.mark.parametrize("k", [1, 2, 59, 60, 61, 100, 256])
def test_frames_are_for_one_box_to_all_of_them_and_not_too_many(k):
    counts = counts_of(k)
    assert (counts[0], counts[-1]) == (1, k)
    assert (np.diff(counts) > 0).all()
    assert len(counts) <= MOST_FRAMES
    assert len(counts) == k or k > MOST_FRAMES
    durations = durations_of(counts)
    assert len(durations) == len(counts)
    assert all(duration % 10 == 0 for duration in durations)  # a GIF counts hundredths of a second
    assert list(durations[:-1]) == sorted(durations[:-1], reverse=True)


def test_a_frame_shows_every_pixel_in_the_mean_of_its_box():
    pixels = picture()
    cloud = cloud_of(pixels)
    states = list(steps(cloud.points, cloud.shares, 6))
    frames = list(cut_frames(pixels, cloud, states))
    assert len(frames) == 6
    for boxes, frame in zip(states, frames, strict=True):
        expected = np.empty_like(pixels)
        for box in boxes:
            mean = np.average(cloud.points[box.members], axis=0, weights=cloud.shares[box.members])
            inside = np.isin(pixels @ [65_536, 256, 1], cloud.colors[box.members] @ [65_536, 256, 1])
            expected[inside] = srgb8_from_linear(linear_from_oklab(mean))
        assert contains(frame.decode(), expected)


@pytest.mark.parametrize("shape", [(900, 300), (300, 900)])
def test_a_large_picture_is_made_to_fit(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[: shape[0] // 2, : shape[1] // 2] = FOUR[3]
    cloud = cloud_of(pixels)
    *_, last = cut_frames(pixels, cloud, list(steps(cloud.points, cloud.shares, 2)))
    shown = last.decode()
    assert shown.shape[0] == 540
    assert shown.shape[1] <= 1100
    h, w = {900: (416, 139), 300: (160, 480)}[shape[0]]
    expected = np.zeros((h, w, 3), np.uint8)
    expected[: h // 2, : w // 2] = FOUR[3]
    assert contains(shown, expected)


def test_the_animation_has_the_frames_that_were_given_and_shows_them_as_long():
    pixels = picture(30, 44)
    cloud = cloud_of(pixels)
    states = list(steps(cloud.points, cloud.shares, 200))
    counts = [1, 2, 3, 8, 150, 200]  # more colours than a frame has room for
    frames = list(cut_frames(pixels, cloud, [states[count - 1] for count in counts]))
    data = gif_bytes(frames, durations_of(counts))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 6, 0)
        for shown, frame, duration in zip(ImageSequence.Iterator(image), frames, durations_of(counts), strict=True):
            np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), frame.decode())
            assert shown.info["duration"] == duration
    drawing = [frame.palette[:112] for frame in frames]
    assert all(np.array_equal(entries, drawing[0]) for entries in drawing)  # nothing flickers


def test_drawing_keeps_no_state_and_needs_no_window():
    code = "import sys; import diffquant.draw.sheet, diffquant.draw.cut; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0

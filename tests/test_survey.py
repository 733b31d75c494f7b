"""A first pass over a clip: which frames it keeps, where it finds scenes. Clips are made by hand, with known cuts."""

import numpy as np
import pytest
import scipy.ndimage

from diffquant.animation import survey as module
from diffquant.animation.clip import Frame
from diffquant.animation.survey import MOST_FRAMES, survey
from diffquant.palette.histogram import colors_from_codes

H, W = 40, 60


HUES = {1: (170, 90, 60), 2: (60, 100, 190), 3: (90, 190, 80)}


def scenery(seed, h=H, w=W):
    """Smooth, around a colour of its own."""
    rng = np.random.default_rng(seed)
    waves = scipy.ndimage.gaussian_filter(rng.normal(0, 1, (h, w, 3)), (5, 5, 0), mode="wrap")
    return np.clip(HUES[seed] + 300 * waves, 0, 255).astype(np.uint8)


def frames(pictures, opaque=None):
    return [Frame(srgb8=np.ascontiguousarray(picture), opaque=opaque, delay=4) for picture in pictures]


def scenes(pictures, most=8, cuts=True):
    found = []
    for scene in survey(frames(pictures), most, cuts=cuts):
        if not any(scene is other for other in found):
            found.append(scene)
    return found


def numbered(n):
    return [np.full((4, 6, 3), (i // 256, i % 256, i * 37 % 256), np.uint8) for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 16, 17, 33, 100, 300])
@pytest.mark.parametrize("room", [MOST_FRAMES, 5, 1])
def test_samples_are_few_and_evenly_spread(n, room, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", room * 4 * 6 * 3)
    (scene,) = scenes(numbered(n), cuts=False)
    places = [256 * int(sample[0, 0, 0]) + int(sample[0, 0, 1]) for sample in scene.samples]
    steps = set(np.diff(places).tolist())
    assert (scene.start, scene.frames) == (0, n)
    assert min(n, -(-room // 2)) <= len(places) <= min(n, room)
    assert places[0] == 0
    assert len(steps) <= 1
    assert n - places[-1] <= max(steps, default=n)


def test_cuts_are_found_where_they_are():
    shots = [(scenery(1), 5), (scenery(2), 1), (scenery(3), 7)]
    found = scenes([picture for picture, n in shots for _ in range(n)])
    assert [(scene.start, scene.frames) for scene in found] == [(0, 5), (5, 1), (6, 7)]
    for scene, (picture, _) in zip(found, shots, strict=True):
        assert all((sample == picture).all() for sample in scene.samples)


def test_panning_and_fading_and_a_flash_of_noise_are_no_cuts():
    wide = scenery(1, H, 5 * W)
    panning = [wide[:, 3 * i : 3 * i + W] for i in range(40)]
    black, other = np.zeros((H, W, 3)), scenery(2)
    fading = [
        np.uint8(a + (b - a) * t) for a, b in ((wide[:, :W], black), (black, other)) for t in np.arange(0, 1, 0.1)
    ]
    rng = np.random.default_rng(0)
    noisy = [np.clip(other + rng.normal(0, 20, other.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    assert len(scenes(panning)) == len(scenes(fading)) == len(scenes(noisy)) == 1


def test_cuts_are_looked_for_only_where_asked():
    assert len(scenes([scenery(1), scenery(2)], cuts=False)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (33, 2), (31, 32)])
def test_any_size_is_compared(shape):
    black, white = (np.full((*shape, 3), code, np.uint8) for code in (0, 255))
    assert [scene.start for scene in scenes([black, black, white])] == [0, 2]


def test_few_colours_are_kept_exactly_and_many_are_not():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (8, 3), np.uint8)
    pictures = [colors[rng.integers(0, 8, (H, W))] for _ in range(3)]
    (scene,) = scenes(pictures, most=8)
    np.testing.assert_array_equal(
        np.unique(colors_from_codes(scene.colors), axis=0), np.unique(np.concatenate(pictures).reshape(-1, 3), axis=0)
    )
    assert scenes(pictures, most=7)[0].colors is None
    few_at_first = [colors[:2][rng.integers(0, 2, (H, W))], *pictures]
    assert scenes(few_at_first, most=7, cuts=False)[0].colors is None


def test_colours_that_are_not_shown_do_not_count():
    pictures = [scenery(1), scenery(2)]
    opaque = np.zeros((H, W), bool)
    (scene,) = list(survey(frames(pictures[:1], opaque), 4, cuts=False))
    assert scene.colors.tolist() == []
    opaque[0, :2] = True
    (*_, scene) = survey(frames(pictures, opaque), 4, cuts=False)
    shown = np.concatenate([picture[0, :2] for picture in pictures])
    np.testing.assert_array_equal(colors_from_codes(scene.colors), np.unique(shown, axis=0))

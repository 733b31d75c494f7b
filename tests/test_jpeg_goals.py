"""Files that have to reach something: bytes are counted, scores measured anew on what Pillow shows."""

import io

import jax
import numpy as np
import pytest
from jpeg_pictures import photograph
from pictures import planes
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from diffquant.jpeg.search import Search
from diffquant.losses import ExpectedImageError
from diffquant.pipelines import reach
from diffquant.pipelines.goals import Bytes, Score, UnreachableError
from diffquant.pipelines.jpeg import Jpeg

PIXELS = photograph(72, 104)
KEY = jax.random.key(0)
ERROR = ExpectedImageError(space="srgb")


def reached(goal, rounds=5):
    pipeline = Jpeg(goal=goal, subsampling="420", search=Search(rounds=rounds)).build(PIXELS, planes(PIXELS))
    return list(pipeline.harden(planes(PIXELS), (ERROR,), key=KEY))


def psnr_of(file):
    return peak_signal_noise_ratio(PIXELS, np.asarray(Image.open(io.BytesIO(file.to_bytes())).convert("RGB")))


@pytest.mark.parametrize("most", [1_300, 2_000, 5_000])
def test_a_file_of_so_many_bytes_has_at_most_them_and_hardly_fewer(most):
    *_, (share, file) = reached(Bytes(most=most))
    assert share == 1.0
    assert 0.99 * most <= len(file.to_bytes()) <= most


@pytest.mark.parametrize("value", [27.0, 33.0, 38.0])
def test_a_psnr_is_met(value):
    *_, (_, file) = reached(Score(metric="psnr", value=value))
    assert psnr_of(file) == pytest.approx(value, abs=0.3)


def test_a_tolerance_may_be_closer():
    *_, (_, file) = reached(Score(metric="psnr", value=31.0, tolerance=0.1))
    assert psnr_of(file) == pytest.approx(31, abs=0.1)


def test_of_errors_less_is_better_and_one_per_cent_is_near():
    from diffquant.metrics import METRICS

    *_, (_, file) = reached(Score(metric="oklab_mse_blur", value=5e-5))
    assert METRICS["oklab_mse_blur"].function(PIXELS, file.decode()) == pytest.approx(5e-5, rel=0.0101)


def test_shares_rise_and_end_at_one():
    shares = [share for share, _ in reached(Bytes(most=1_700))]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares.count(1.0) == 1


def test_the_same_key_reaches_a_goal_by_the_same_bytes():
    once, again = (reached(Bytes(most=1_300))[-1][1].to_bytes() for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("goal", "nearest"),
    [
        (Bytes(most=150), r"nearest .* is [\d,]+ bytes"),
        (Score(metric="psnr", value=90.0), r"nearest .* is psnr = \d\d\.\d+"),
        (Score(metric="psnr", value=3.0), r"nearest .* is psnr = \d\d\.\d+"),
    ],
    ids=["too few bytes", "too good", "too bad"],
)
def test_what_cannot_be_reached_is_refused_in_one_line_with_what_is_nearest(goal, nearest):
    with pytest.raises(UnreachableError, match=nearest) as caught:
        reached(goal)
    assert "\n" not in str(caught.value)


def test_no_file_has_no_bytes():
    with pytest.raises(ValueError, match="bytes: found 0, expected at least 1"):
        Bytes(most=0)


@pytest.mark.parametrize("settings", [{"value": float("nan")}, {"value": 30.0, "tolerance": 0.0}])
def test_a_score_that_says_nothing_is_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        Score(metric="psnr", **settings)


def test_no_place_is_tried_twice_and_what_lies_between_is_found():
    seen = [(-3.05, 0.080)]
    for _ in range(6):  # a plateau, then a fall
        place = reach._next(seen, -0.6)
        assert place not in [one for one, _ in seen]
        seen.append((place, 0.056 if place < -2.5 else -0.2))
    assert any(error < 0 for _, error in seen)

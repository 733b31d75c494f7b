"""Many pictures by one call: order, errors, laziness, and that a picture's file is its own."""

import itertools

import numpy as np
import pytest
from pictures import photo

from diffquant.api import quantize_batch
from diffquant.assignment import Nearest
from diffquant.batch import MOST_WORKERS, compress_many
from diffquant.config import Config
from diffquant.export.dither import Argmax, Polish
from diffquant.image import ImageError, read
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette
from diffquant.runner import compress
from diffquant.training import batch

EYE = BlurError(sigmas=(0.4,), weights=(1.0,))  # the smallest there is: quick to compile
POLISHED = Config(pipeline=Palette(colors=4, assignment=Nearest(), dither=Polish(sweeps=2, eye=EYE)), steps=0)


def few_colors(seed, shape=(5, 8)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (3, 3), np.uint8)[rng.integers(0, 3, shape)]


def job(pixels, config=POLISHED):
    return lambda: (read(pixels), config)


def test_results_come_in_order_and_each_is_the_picture_s_own():
    pictures = [few_colors(seed, (5 + seed, 8)) for seed in range(20)]
    results = list(quantize_batch(pictures, 4))
    for pixels, result in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(result.image, pixels)  # of few colours: exact
        assert result.report.size == len(result.data)


def test_a_picture_that_cannot_be_read_is_an_error_in_its_place(tmp_path):
    first, error, last = quantize_batch([few_colors(0), tmp_path / "none.png", few_colors(1)], 4)
    assert isinstance(error, ImageError)
    assert "none.png: no such file" in str(error)
    np.testing.assert_array_equal(first.image, few_colors(0))
    np.testing.assert_array_equal(last.image, few_colors(1))


def test_wrong_arguments_are_answered_before_any_picture_is_read():
    def unread():
        yield pytest.fail("a picture was read")

    with pytest.raises(ValueError, match="colors: found 0"):
        quantize_batch(unread(), 0)
    with pytest.raises(ValueError, match="chroma: found 99"):
        quantize_batch(unread(), chroma=99)


def test_pictures_are_taken_no_more_than_a_few_ahead():
    taken = itertools.count()
    outcomes = compress_many(job(few_colors(next(taken))) for _ in itertools.count())  # without end
    for _ in range(3):
        next(outcomes)
    outcomes.close()
    assert next(taken) <= 3 + 2 * MOST_WORKERS


def test_a_file_depends_on_its_own_picture_only():
    # Two sizes in one array, and a picture that is exact.
    pictures = [photo(1, 20, 31), photo(2, 31, 20), few_colors(0), photo(3, 20, 31)]
    together = [result.data for result in compress_many(map(job, pictures))]
    assert [result.data for result in compress_many(map(job, pictures[::-1]))] == together[::-1]
    assert [next(compress_many([job(pixels)])).data for pixels in pictures] == together


def test_a_codec_without_companions_goes_by_itself():
    config = Config(pipeline=Palette(colors=4, assignment=Nearest(), dither=Argmax()), steps=0)
    results = list(compress_many(job(photo(seed), config) for seed in (1, 2)))
    assert [result.image.shape for result in results] == [photo(1).shape] * 2
    assert [result.report.colors for result in results] == [4, 4]


def test_trained_pictures_of_several_sizes_share_a_program_and_end_as_alone():
    config = Config(pipeline=Palette(colors=4, dither=Argmax()), losses={"eye": EYE}, steps=3)
    pictures = [photo(1, 20, 31), photo(2, 31, 20), few_colors(0)]
    before = batch._advance._cache_size()
    results = list(compress_many(job(pixels, config) for pixels in pictures))
    assert batch._advance._cache_size() == before + 1
    for pixels, result in zip(pictures, results, strict=True):
        alone = compress(read(pixels), config)
        assert (result.image == alone.image).all(axis=-1).mean() > 0.98
    again = list(compress_many(job(pixels, config) for pixels in pictures[::-1]))
    assert [result.data for result in again[::-1]] == [result.data for result in results]


def test_once_stopped_no_picture_is_begun_and_those_under_way_are_none():
    stopped = []
    outcomes = compress_many((job(photo(1)) for _ in range(100)), stop=lambda: bool(stopped))
    stopped.append(True)
    assert list(outcomes) == []
    taken = []

    def jobs():
        for seed in range(100):
            taken.append(seed)
            stopped.append(True)
            yield job(photo(seed))

    stopped.clear()
    assert list(compress_many(jobs(), stop=lambda: bool(stopped))) == [None]
    assert taken == [0]

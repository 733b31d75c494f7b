import dataclasses
import io
import typing

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from diffquant.api import quantize
from diffquant.color import linear_from_oklab, linear_from_srgb8, oklab_from_linear, srgb8_from_linear
from diffquant.config import Config
from diffquant.export import polish
from diffquant.export.dither import AnyDither, Argmax, Polish, Sample
from diffquant.image import ImageError, read
from diffquant.losses import BlurError, ExpectedImageError
from diffquant.metrics import measure
from diffquant.pipelines.palette import Palette
from diffquant.report import BRIEF
from diffquant.runner import compress, stages

SHAPE = (12, 20)
EYE = BlurError(sigmas=(0.4,), weights=(1.0,))  # the smallest there is: quick to compile
DITHERS = [Polish(sweeps=2, eye=EYE) if dither is Polish else dither() for dither in typing.get_args(AnyDither)]
each_dither = pytest.mark.parametrize("dither", DITHERS, ids=lambda dither: type(dither).__name__)


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def few_colors(k, shape=SHAPE):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (k, 3), np.uint8)[rng.integers(0, k, shape)]


def config(dither, *, steps=0, seed=0, losses=None, **pipeline):
    losses = losses or {"error": ExpectedImageError(space="linear")}
    pipeline = Palette(dither=dither, **{"colors": 4} | pipeline)
    return Config(pipeline=pipeline, losses=losses, steps=steps, every=1, seed=seed)


def opened(data):
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        return np.asarray(image.convert("RGB"))


def colors_of(pixels):
    return {tuple(color) for color in pixels.reshape(-1, 3).tolist()}


@each_dither
@pytest.mark.parametrize("pinned", [(), ((1, 2, 3),)], ids=["free", "pinned"])
def test_a_picture_of_few_enough_colours_comes_back_identical(dither, pinned):
    pixels = few_colors(7)
    result = compress(read(pixels), config(dither, colors=7 + len(pinned), pinned=pinned, steps=50))
    np.testing.assert_array_equal(opened(result.data), pixels)
    assert result.report.metrics["oklab_mse_blur"] == 0


def test_an_exact_file_takes_one_stage():
    (stage,) = stages(read(few_colors(4)), config(Argmax(), steps=50))
    assert (stage.name, stage.share) == ("exact", 1.0)
    np.testing.assert_array_equal(stage.artifact.decode(), few_colors(4))


@each_dither
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_any_size_gives_a_valid_file(dither, shape):
    pixels = noise(shape)
    pinned = ((0, 0, 0), (255, 255, 255))  # so that not even one pixel is exact
    result = compress(read(pixels), config(dither, colors=3 if shape != (1, 1) else 2, pinned=pinned))
    decoded = opened(result.data)
    assert decoded.shape == pixels.shape
    assert len(colors_of(decoded)) <= 3
    assert result.report.colors == len(colors_of(decoded))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_pictures_of_one_row_can_be_relaxed(shape):
    white_and_black = ((255, 255, 255), (0, 0, 0))
    result = compress(read(noise(shape)), config(Argmax(), colors=2, pinned=white_and_black, steps=2))
    assert colors_of(opened(result.data)) <= set(white_and_black)


@each_dither
def test_a_given_palette_is_the_only_source_of_colours(dither):
    pinned = ((0, 0, 0), (250, 30, 40), (20, 200, 60), (240, 240, 250))
    result = compress(read(noise()), config(dither, pinned=pinned))
    used = colors_of(opened(result.data))
    assert used <= set(pinned)
    assert len(used) > 1


def test_a_pinned_colour_keeps_its_place_in_the_palette_while_others_are_refitted():
    *_, last = stages(read(noise()), config(Polish(sweeps=2, eye=EYE), pinned=((9, 8, 7),)))
    assert last.artifact.palette[0].tolist() == [9, 8, 7]
    assert len(last.artifact.palette) == 4


def test_the_seed_decides_the_bytes():
    first, again, other = (compress(read(noise()), config(Sample(), steps=2, seed=seed)) for seed in (3, 3, 4))
    assert first.data == again.data
    assert first.data != other.data


def test_the_report_is_measured_on_the_decoded_bytes():
    pixels = noise()
    result = compress(read(pixels), config(Argmax()))
    decoded = opened(result.data)
    report = result.report
    assert report.metrics == pytest.approx(measure(pixels, decoded, BRIEF))
    assert report.size == len(result.data)
    assert report.bits_per_pixel == pytest.approx(8 * len(result.data) / (SHAPE[0] * SHAPE[1]))
    assert report.colors == len(colors_of(decoded)) > 1
    assert report.seconds > 0
    np.testing.assert_array_equal(result.image, decoded)
    np.testing.assert_array_equal(result.palette[result.indices], decoded)


def test_stopping_leaves_a_file_at_once():
    asked = []
    settings = config(Polish(sweeps=8, eye=EYE), steps=40)

    def stop():
        asked.append(True)
        return True

    seen = list(stages(read(noise()), settings, stop=stop))
    assert [(stage.name, stage.share) for stage in seen] == [("relax", 0), ("relax", 1 / 40), ("harden", 0)]
    assert seen[1].loss > 0
    assert seen[-1].artifact.decode().shape == (*SHAPE, 3)
    assert len(asked) == 2


def test_polishing_ends_with_its_best_file():
    seen = list(stages(read(noise()), config(Polish(sweeps=4, tolerance=0.0, eye=EYE))))
    shares = [stage.share for stage in seen if stage.name == "harden"]
    assert shares == [0, 0.25, 0.5, 0.75, 1]
    target = jnp.asarray(read(noise()).linear())
    grid = polish.grid_of(target.shape, EYE)
    problem = polish.quadratic(target, None, EYE, grid)

    def loss(artifact):
        indices = grid.split(jnp.asarray(artifact.indices, jnp.int32)[None])[:, :, 0]
        return float(polish.loss(indices, jnp.asarray(linear_from_srgb8(artifact.palette)), problem, EYE, grid))

    assert loss(seen[-1].artifact) < 0.9 * loss(seen[1].artifact)


def test_rounds_follow_the_sweeps_and_each_counts_as_much():
    seen = list(stages(read(noise()), config(Polish(sweeps=2, rounds=6, tolerance=0.0, eye=EYE))))
    shares = [stage.share for stage in seen if stage.name == "harden"]
    assert shares == sorted(shares)
    assert {0, 1 / 8, 2 / 8, 1} <= set(shares)
    light = [np.asarray(linear_from_srgb8(stage.artifact.decode()), float) for stage in seen if stage.artifact]
    errors = [((picture - linear_from_srgb8(noise())) ** 2).sum(axis=-1).mean() for picture in light]
    assert errors[-1] < errors[shares.index(2 / 8)]  # of the loss that is not the eye's


@pytest.mark.parametrize("shape", [(1, 1), (1, 50)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_rounds_without_sweeps_give_a_valid_file_of_any_size(shape):
    white_and_black = ((255, 255, 255), (0, 0, 0))
    settings = config(Polish(sweeps=0, rounds=4, eye=EYE), colors=2, pinned=white_and_black)
    decoded = opened(compress(read(noise(shape)), settings).data)
    assert decoded.shape == (*shape, 3)
    assert colors_of(decoded) <= set(white_and_black)


@pytest.mark.parametrize(("sweeps", "rounds"), [(0, 0), (-1, 4), (4, -1)])
def test_polish_without_any_work_is_refused(sweeps, rounds):
    with pytest.raises(ValueError, match=f"Polish: found {sweeps} sweeps and {rounds} rounds, expected"):
        Polish(sweeps=sweeps, rounds=rounds)


@pytest.mark.parametrize(("rounds", "excess", "codes"), [(0, 0.1, 15), (8, 0.02, 6)], ids=["0", "8"])
def test_a_single_colour_is_near_the_best_one_for_the_eye(rounds, excess, codes):
    # The oracle: with one scale and no variance the loss is least at the mean OkLab colour of the blurred target.
    pixels = (noise().astype(float) ** 3 / 255**2).astype(np.uint8)  # mostly dark
    eye = BlurError(sigmas=(0.75,), weights=(1.0,))
    settings = config(Polish(sweeps=4, rounds=rounds, eye=eye), losses={"eye": eye}, colors=1)
    (found,) = colors_of(opened(compress(read(pixels), settings).data))
    light = linear_from_srgb8(np.moveaxis(pixels, -1, 0)).astype(float)
    blurred = scipy.ndimage.gaussian_filter(light, (0, 0.75, 0.75), mode="reflect", truncate=3.0)
    seen = oklab_from_linear(blurred).reshape(3, -1)

    def loss(codes):
        """Of a picture that has this one colour [3]."""
        one = oklab_from_linear(linear_from_srgb8(np.array(codes, np.uint8)).astype(float)[:, None])
        return ((seen - one) ** 2).sum(axis=0).mean()

    best = srgb8_from_linear(linear_from_oklab(seen.mean(axis=1, keepdims=True)))[:, 0]
    assert np.abs(np.array(found) - best.astype(float)).max() <= codes
    assert loss(best) <= loss(found) <= (1 + excess) * loss(best)


def test_polish_uses_the_first_blur_error_of_the_losses():
    named = compress(read(noise()), config(Polish(sweeps=2, eye=EYE)))
    found = compress(read(noise()), config(Polish(sweeps=2), losses={"eye": EYE, "other": BlurError()}))
    assert named.data == found.data


def test_quantize_takes_arrays_paths_and_pil_images(tmp_path):
    pixels = few_colors(5)
    path = tmp_path / "in.png"
    PIL.Image.fromarray(pixels).save(path)
    for source in (pixels, path, str(path), PIL.Image.fromarray(pixels)):
        np.testing.assert_array_equal(opened(quantize(source, 5).data), pixels)
    with pytest.raises(ImageError, match="expected"):
        quantize(tmp_path / "missing.png")


def test_quantize_saves_a_picture_with_the_colours_that_were_asked_for(tmp_path):
    result = quantize(noise(), 4, preset="fast", pin=["black", "#0a0B0c", (255, 255, 255)])
    result.save(tmp_path / "out.png")
    decoded = opened((tmp_path / "out.png").read_bytes())
    np.testing.assert_array_equal(decoded, result.image)
    assert len(colors_of(decoded) - {(0, 0, 0), (10, 11, 12), (255, 255, 255)}) <= 1
    random = noise()[:, :, ::-1]
    assert measure(noise(), decoded)["oklab_mse_blur"] < measure(noise(), random)["oklab_mse_blur"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colors": 0}, "colors: found 0, expected 1 to 256"),
        ({"colors": 257}, "colors: found 257, expected 1 to 256"),
        ({"colors": 1, "pin": ["black", "white"]}, "pinned: found 2 colours, expected at most colors = 1"),
        ({"pin": ["black", "#000"]}, "pinned: found a colour twice"),
        ({"pin": ["blak"]}, "colour 'blak'"),
    ],
)
def test_quantize_names_the_argument_that_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize(noise(), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"steps": -1}, "found -1 and 10"), ({"every": 0}, "found 100 and 0"), ({"losses": {}}, "losses: found none")],
)
def test_impossible_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Config(), **changes)

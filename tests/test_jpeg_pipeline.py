"""The JPEG pipeline keeps the contract of all codecs; its files are judged by Pillow and LittleCMS."""

import dataclasses
import functools
import io
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jpeg_pictures import photograph
from pictures import planes
from PIL import Image, ImageCms

from diffquant.interfaces import Artifact, Pipeline, PipelineSpec
from diffquant.jpeg.decoder import decode
from diffquant.jpeg.encoder import coefficients_from_pixels
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.search import Search
from diffquant.losses import ExpectedImageError, Rate
from diffquant.pipelines.jpeg import Jpeg
from diffquant.signal.rounding import AnyRounding
from diffquant.training import Plan, fit

H, W = 37, 53
PIXELS = photograph(H, W)
TARGET = planes(PIXELS)
GREY = np.repeat(PIXELS[:, :, 1:2], 3, axis=2)
KEY = jax.random.key(0)
ERROR = ExpectedImageError(space="srgb")
PLAIN = Search(rounds=0, threshold=0.5)
SHORT = Search(rounds=5)


def built(pixels=PIXELS, **settings):
    return Jpeg(**settings).build(pixels, planes(pixels))


def files(pipeline, losses=(ERROR,), key=KEY, target=TARGET):
    return list(pipeline.harden(target, losses, key=key))


def plan(weight, steps=8):
    losses = (("error", ERROR), ("rate", Rate(weight=weight)))
    return Plan(losses=losses, steps=steps, every=4, temperature=1.0, rate=1.0, b1=0.9, b2=0.999, tolerance=None)


def opened(artifact):
    return Image.open(io.BytesIO(artifact.to_bytes()))


def managed(artifact):
    """What a viewer with colour management shows."""
    image = opened(artifact)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), renderingIntent=intent)
    return np.asarray(shown, float)


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((np.asarray(a, float) - b) ** 2), 1e-9))


class Seen(NamedTuple):
    """The rendered picture, and the gradients of its error and of its bits, by parameter."""

    image: np.ndarray
    bits: float
    gradients: dict[str, np.ndarray]


def seen(pipeline, target, temperature=0.5):
    graph, parameters, constants = nnx.split(pipeline, nnx.Param, ...)

    def parts(parameters):
        rendered = nnx.merge(graph, parameters, constants).render(jnp.float32(temperature), key=KEY)
        return jnp.stack([ERROR(rendered, target), rendered.bits]), rendered

    both, rendered = jax.jit(jax.jacrev(parts, has_aux=True))(parameters)
    gradients = {"/".join(map(str, name)): np.asarray(leaf[...]) for name, leaf in nnx.to_flat_state(both)}
    return Seen(np.asarray(rendered.image), float(rendered.bits), gradients)


@functools.cache
def plain(subsampling):
    """A pipeline that learns everything, and what it renders: compiled once for each subsampling."""
    pipeline = built(subsampling=subsampling, coefficient_rate=1.0, transform_rate=1e-3, search=PLAIN)
    return pipeline, seen(pipeline, TARGET)


def shifted(pipeline, seed=0):
    """With another colour transform."""
    matrix = pipeline.transform[...]
    pipeline.transform[...] = matrix + 0.05 * np.random.default_rng(seed).normal(size=(3, 3)).astype(np.float32)
    return pipeline


def test_settings_and_pipeline_are_of_the_kinds_that_runs_expect():
    assert isinstance(Jpeg(), PipelineSpec)
    pipeline = built(search=PLAIN)
    assert isinstance(pipeline, Pipeline)
    [(_, file)] = files(pipeline)
    assert isinstance(file, Artifact)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quality": 0.5}, "quality: found 0.5, expected 1 to 100"),
        ({"coefficient_rate": -1.0}, "expected none below 0"),
        ({"transform_rate": 0.1, "icc": b"profile"}, "icc: found a profile beside a learned colour transform"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Jpeg(**settings)


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_every_parameter_has_a_finite_gradient_of_error_and_bits(subsampling):
    found = plain(subsampling)[1].gradients
    assert sorted(found) == ["coefficients/0", "coefficients/1", "coefficients/2", "log_steps", "transform"]
    for name, gradient in found.items():
        assert np.isfinite(gradient).all()
        assert np.mean(gradient != 0, axis=tuple(range(1, gradient.ndim))).min() > 0.9, name


@pytest.mark.parametrize("rounding", get_args(AnyRounding)[1:], ids=lambda kind: kind.__name__)
def test_every_rounding_has_a_gradient(rounding):
    pipeline = built(GREY, rounding=rounding(), coefficient_rate=1.0, search=PLAIN)
    for gradient in seen(pipeline, planes(GREY)).gradients.values():
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).reshape(2, -1).max(axis=1) > 0).all()


def test_only_what_has_a_rate_is_learned():
    names = {name[0] for name, _ in nnx.to_flat_state(nnx.state(built(search=PLAIN), nnx.Param))}
    assert names == {"log_steps"}


@pytest.mark.parametrize("values", [-5.0, 0.3, 2.2, 9.0])
def test_steps_are_whole_from_1_to_255_wherever_training_takes_them(values):
    pipeline = built(search=PLAIN)
    pipeline.log_steps[...] = jnp.full((3, 8, 8), values)
    np.testing.assert_array_equal(pipeline.steps(), np.clip(np.rint(np.exp(values)), 1, 255))
    [(_, file)] = files(pipeline)
    for table in file.tables:
        np.testing.assert_array_equal(table, np.clip(np.rint(np.exp(values)), 1, 255))


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_what_is_rendered_is_what_pillow_shows_of_the_plainly_rounded_file(subsampling):
    _, rendered = plain(subsampling)
    [(_, file)] = files(built(subsampling=subsampling, search=PLAIN))
    shown = planes(np.asarray(opened(file).convert("RGB")))
    assert np.mean(np.abs(rendered.image - shown) > 1e-6) < 1e-3
    assert rendered.bits == pytest.approx(8 * len(file.to_bytes()), rel=0.03)


@pytest.mark.parametrize("rounds", [0, 5])
def test_a_learned_transform_is_undone_by_the_files_profile(rounds):
    pipeline = shifted(built(subsampling="444", quality=90, transform_rate=1e-3, search=Search(rounds=rounds)))
    *_, (_, file) = files(pipeline)
    coefficients = [level * table.astype(np.float32) for level, table in zip(file.levels, file.tables, strict=True)]
    modelled = np.moveaxis(np.asarray(decode(coefficients, file.geometry, pipeline.inverse())), 0, 2)
    assert psnr(managed(file), modelled) > 45
    assert psnr(managed(file), PIXELS) > 30
    assert psnr(file.decode(), PIXELS) < 25  # whoever ignores the profile sees other colours


def test_a_changed_transform_changes_the_coefficients_as_encoding_anew_would():
    pipeline = shifted(built(subsampling="420", transform_rate=1e-3, search=PLAIN))
    expected = coefficients_from_pixels(PIXELS.astype(np.float32), pipeline.geometry, np.asarray(pipeline.transform))
    for found, plane in zip(pipeline.ideal(), expected, strict=True):
        np.testing.assert_allclose(found, plane, atol=0.02)


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_files_come_with_rising_shares_and_any_decoder_opens_them(subsampling):
    found = files(built(subsampling=subsampling, search=SHORT))
    shares = [share for share, _ in found]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    for _, file in found:
        image = opened(file)
        assert (image.size, image.mode) == ((W, H), "RGB")
        assert psnr(image, PIXELS) > 25
    again = JpegImage.from_bytes(found[-1][1].to_bytes())
    for name in ("levels", "tables"):
        for one, other in zip(getattr(again, name), getattr(found[-1][1], name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_without_rounds_there_is_one_file_with_the_levels_plainly_rounded():
    pipeline = built(subsampling="444", search=PLAIN)
    [(share, file)] = files(pipeline)
    assert share == 1.0
    for level, table, ideal in zip(file.levels, file.tables, pipeline.ideal(), strict=True):
        assert np.abs(level * table.astype(float) - ideal).max() <= 0.5 * table.max() + 1e-3
        assert (np.abs(level - np.asarray(ideal) / table) <= 0.5 + 1e-4).all()


def test_the_same_key_makes_the_same_bytes():
    pipeline = built(search=SHORT)
    once, again = (files(pipeline)[-1][1].to_bytes() for _ in range(2))
    assert once == again


def test_a_grey_picture_has_one_component():
    pipeline = built(GREY, search=SHORT)
    *_, (_, file) = files(pipeline, target=planes(GREY))
    image = opened(file)
    assert (image.mode, len(file.levels)) == ("L", 1)
    assert psnr(image.convert("RGB"), GREY) > 28
    assert set(nnx.state(pipeline, nnx.Param)) == {"log_steps"}
    assert not built(GREY, transform_rate=1e-3, search=PLAIN).learns_transform


@pytest.mark.parametrize(("quality", "expected"), [(60, "420"), (98, "444")])
def test_fine_pictures_keep_their_chroma(quality, expected):
    assert built(quality=quality, search=PLAIN).geometry.subsampling == expected


def test_what_a_picture_carries_is_in_the_file():
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    [(_, file)] = files(built(exif=exif, icc=icc, search=PLAIN))
    assert (opened(file).info["exif"], opened(file).info["icc_profile"]) == (exif, icc)


@pytest.mark.parametrize(("weight", "grows"), [(0.0, True), (1e-2, False)])
def test_training_lowers_the_loss_by_the_tables_alone_and_the_weight_of_the_rate_says_how(weight, grows):
    before = built(GREY, search=PLAIN, rate=0.05)
    ideal, [(_, first)] = np.asarray(before.coefficients[0]), files(before)
    snapshots = list(fit(before, planes(GREY), plan(weight), key=KEY))
    assert snapshots[-1].loss < 0.95 * snapshots[0].loss
    trained = snapshots[-1].pipeline
    np.testing.assert_array_equal(trained.coefficients[0], ideal)
    [(_, last)] = files(trained)
    assert (len(last.to_bytes()) > len(first.to_bytes())) is grows


@pytest.mark.parametrize(("shares", "weights"), [(True, (0.1, 3.0)), (False, (1e-4, 3e-3))])
def test_the_weight_of_the_rate_is_the_price_of_a_bit_in_the_search(shares, weights):
    # Shares of a loss of 1, or squares of sRGB values.
    pipeline = built(GREY, search=dataclasses.replace(SHORT, shares=shares))
    cheap, dear = (files(pipeline, (ERROR, Rate(weight=w)), target=planes(GREY))[-1][1].to_bytes() for w in weights)
    assert len(dear) < 0.97 * len(cheap)

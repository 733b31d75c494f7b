"""Budgets of memory: sizes in words, plans, and what a process really takes."""

import dataclasses
import os
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import save_ramps
from PIL import Image

from diffquant.assignment import Nearest, PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.export.dither import Argmax, BlueNoise, Polish
from diffquant.losses import Ssimulacra2
from diffquant.memory import heap
from diffquant.memory.model import peak, phases
from diffquant.memory.plan import SPARE, BudgetError, fit_to
from diffquant.memory.size import budget_from, bytes_from, in_words
from diffquant.pipelines import Jpeg
from diffquant.pipelines.palette import Palette
from diffquant.presets import palette_config

MIB = 2**20
POLISHED = palette_config("balanced", colors=256)
TRAINED = Config(pipeline=Palette(colors=256, dither=Argmax()))
BOTH = Config(pipeline=Palette(colors=256, dither=Polish()))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("700 MiB", 700 * MIB),
        ("1.5gb", 1_500_000_000),
        ("3MB", 3_000_000),
        ("64KiB", 65536),
        ("123456", 123456),
        ("12B", 12),
        (".5GiB", 2**29),
        ("50%", 0.5),
        ("100 %", 1.0),
    ],
)
def test_sizes_are_read_with_their_units(text, size):
    assert bytes_from(text) == size
    assert type(bytes_from(text)) is type(size)


@pytest.mark.parametrize("text", ["", "much", "0", "0%", "101%", "-1GiB", "2 TiB", "1e9", "2G", "0.1", "nan", "GiB"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(ValueError, match=re.escape(f"found {text!r}, expected such as 2GiB")):
        bytes_from(text)


def test_a_percentage_is_of_the_memory_that_there_is():
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert budget_from("25%") == pages // 4


@given(st.integers(1, 2**45))
def test_sizes_in_words_are_read_back_within_a_hundredth(size):
    if size >= 100 * MIB:
        assert bytes_from(in_words(size)) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("config", [POLISHED, TRAINED, BOTH], ids=["polished", "trained", "both"])
@settings(max_examples=30)
@given(st.integers(64, 3000), st.integers(64, 3000), st.integers(300, 20000), st.integers(0, 20000))
def test_more_memory_never_makes_tiles_smaller_and_all_that_fits_is_below_the_budget(config, h, w, least, more):
    try:
        plan = fit_to(config, h, w, least * MIB)
    except BudgetError:
        return
    richer = fit_to(config, h, w, (least + more) * MIB)
    assert SPARE * plan.estimate <= least * MIB
    assert plan.estimate == peak(plan.config, h, w)
    if isinstance(config.pipeline.dither, Polish):
        assert richer.config.pipeline.dither.tile >= plan.config.pipeline.dither.tile


def test_where_all_fits_nothing_is_changed():
    assert fit_to(BOTH, 450, 900, 2**45).config == BOTH


@pytest.mark.parametrize("config", [POLISHED, TRAINED, BOTH], ids=["polished", "trained", "both"])
def test_the_least_that_is_named_does_and_a_little_less_does_not(config):
    with pytest.raises(BudgetError, match=r"found 1 MiB, expected at least .* for 900x1450 pixels") as refused:
        fit_to(config, 1450, 900, MIB)
    least = bytes_from(re.search(r"least (\S+ \w+)", str(refused.value))[1])
    assert fit_to(config, 1450, 900, least).estimate >= 0.98 * least / SPARE
    with pytest.raises(BudgetError):
        fit_to(config, 1450, 900, int(0.98 * least))


def test_candidates_become_fewer_where_logits_do_not_fit():
    taken = [fit_to(TRAINED, 450, 900, budget * MIB).config.pipeline.assignment for budget in (5000, 1500, 1000, 750)]
    assert isinstance(taken[0], PixelSoftmax)
    assert all(isinstance(assignment, TopK) for assignment in taken[1:])
    counts = [assignment.n for assignment in taken[1:]]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_what_is_asked_of_an_assignment_is_kept_with_fewer_candidates():
    asked = dataclasses.replace(TRAINED.pipeline, assignment=TopK(n=16, rate=0.5, sharpness=2.0, refresh=True))
    found = fit_to(dataclasses.replace(TRAINED, pipeline=asked), 900, 1200, 1200 * MIB).config.pipeline.assignment
    assert found == dataclasses.replace(asked.assignment, n=found.n)
    assert found.n < 16


def test_descent_under_all_losses_takes_smaller_tiles_too():
    best = palette_config("best", colors=16)
    assert fit_to(best, 900, 1000, 2**45).config == best
    smaller = dataclasses.replace(best.pipeline.dither, tile=512)
    small = dataclasses.replace(best, pipeline=dataclasses.replace(best.pipeline, dither=smaller))
    whole, tiled = peak(best, 900, 1000), peak(small, 900, 1000)
    assert fit_to(best, 900, 1000, int(1.15 * tiled)).config.pipeline.dither.tile < 1024
    assert tiled < 0.8 * whole


def test_training_goes_by_tiles_where_few_candidates_are_still_too_many():
    few = dataclasses.replace(TRAINED.pipeline, assignment=TopK(n=4))
    config = dataclasses.replace(TRAINED, pipeline=few)
    plan = fit_to(config, 2160, 3840, 2 * 2**30)
    assert plan.config == dataclasses.replace(config, tiles=plan.config.tiles)
    assert re.match(r"plan: training the nearest 4 of 256 at each pixel by tiles of (512|256|128), ", str(plan))


@pytest.mark.parametrize("change", [{"losses": {"structure": Ssimulacra2()}}, {"refresh": True}])
def test_what_cannot_be_trained_by_tiles_is_not(change):
    few = dataclasses.replace(TRAINED.pipeline, assignment=TopK(n=4, refresh="refresh" in change))
    config = dataclasses.replace(TRAINED, pipeline=few, losses=change.get("losses", TRAINED.losses))
    with pytest.raises(BudgetError):
        fit_to(config, 2160, 3840, 2 * 2**30)


def test_a_plan_says_what_is_done():
    tiled = fit_to(POLISHED, 2160, 3840, 2**31)
    assert re.fullmatch(r"plan: polish in 12 tiles of 960x720, about 1\.\d\d GiB of 2\.00 GiB", str(tiled))
    assert str(fit_to(POLISHED, 500, 700, 2**31)).startswith("plan: polish of the whole, about ")
    assert str(fit_to(TRAINED, 450, 900, 2**30)).startswith("plan: training the nearest 32 of 256 at each pixel")


def test_the_arrays_grow_with_the_picture_and_with_what_is_kept_at_a_pixel():
    def arrays(config, h, w):
        return max(phase.arrays for phase in phases(config, h, w).values())

    assert arrays(TRAINED, 200, 600) == pytest.approx(2 * arrays(TRAINED, 200, 300))
    drawn = dataclasses.replace(TRAINED.pipeline, dither=BlueNoise())
    assert arrays(dataclasses.replace(TRAINED, pipeline=drawn), 200, 300) >= arrays(TRAINED, 200, 300)
    nearest = dataclasses.replace(TRAINED.pipeline, assignment=Nearest())
    assert arrays(dataclasses.replace(TRAINED, pipeline=nearest), 200, 300) < arrays(TRAINED, 200, 300)


def test_of_an_accelerator_only_the_arrays_count():
    assert peak(POLISHED, 500, 700, host=False) == max(p.arrays for p in phases(POLISHED, 500, 700).values())
    assert peak(POLISHED, 500, 700) > peak(POLISHED, 500, 700, host=False) + 300 * MIB


def test_other_codecs_are_refused():
    with pytest.raises(BudgetError, match="without a palette"):
        fit_to(Config(pipeline=Jpeg()), 100, 200, 2**40)


def test_the_heap_is_given_back_after_a_long_compilation(monkeypatch):
    import jax

    trims = []
    monkeypatch.setattr(heap, "trim", lambda: trims.append(1))
    heap.keep_heap_small()
    heap.keep_heap_small()
    monkeypatch.setattr(heap, "LONG", 0.0)
    jax.jit(lambda x: 3 * x + 11)(np.ones(7, np.float32))
    assert len(trims) == 1
    monkeypatch.setattr(heap, "LONG", 1e9)
    jax.jit(lambda x: 3 * x + 12)(np.ones(7, np.float32))
    assert len(trims) == 1


def test_trimming_is_harmless_anywhere(monkeypatch):
    heap.trim()
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.trim()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory", "lots"], "--memory: found 'lots', expected such as 2GiB"),
        (["--memory", "200MiB"], "--memory: found 200 MiB, expected at least "),
    ],
)
def test_a_budget_that_cannot_be_kept_gets_one_line_and_no_file(answer, tmp_path, arguments, said):
    save_ramps(tmp_path / "a.png", 1)
    told = answer("quantize", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "-n", "3", *arguments)
    assert told.returncode == 2
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "b.png").exists()


def test_the_plan_is_printed_and_leaves_the_file_as_it_is_where_all_fits(answer, tmp_path):
    save_ramps(tmp_path / "a.png", 1)
    command = ["quantize", str(tmp_path / "a.png"), "-n", "3", "--dither", "floyd-steinberg"]
    plain = answer(*command, "-o", str(tmp_path / "plain.png"))
    told = answer(*command, "-o", str(tmp_path / "fitted.png"), "--memory", "90GiB")
    assert plain.stderr == ""
    assert re.fullmatch(r"diffquant: plan: dither in one pass, about .* of 90\.00 GiB\n", told.stderr)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "fitted.png").read_bytes()


def test_training_keeps_to_a_budget_or_refuses_and_leaves_nothing(load_script, capsys, tmp_path):
    train = load_script("train")
    save_ramps(tmp_path / "a.png", 1)
    config = tmp_path / "many.py"
    config.write_text(
        "from diffquant.config import Config\nfrom diffquant.export.dither import Argmax\n"
        "from diffquant.pipelines.palette import Palette\n"
        "config = Config(pipeline=Palette(colors=5, dither=Argmax()), steps=1, every=1)\n"
    )
    begin = [str(config), str(tmp_path / "a.png"), "--out", str(tmp_path / "run"), "--memory"]
    assert train.main([*begin, "90 MiB"]) == 2
    assert "--memory: found 90 MiB, expected at least" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train.main([*begin, "9GiB"]) == 0
    assert "train.py: plan: training all 5 at each pixel, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--dither", "floyd-steinberg"], pytest.param(["--preset", "fast"], marks=pytest.mark.slow)],
    ids=["classical", "polish"],
)
def test_what_a_process_takes_is_within_a_seventh_of_the_estimate(load_script, tmp_path, options):
    noise = np.random.default_rng(0).integers(0, 256, (300, 440, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    # As users run it: optimized programs, none of them compiled beforehand.
    changed = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    environment = os.environ | changed | {"JAX_ENABLE_COMPILATION_CACHE": "true", "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "diffquant", "quantize", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
    status, taken, said = load_script("processes").measured([*command, "--memory", "9GiB", *options], environment)
    assert status == 0
    estimate = bytes_from(re.search(r"about (\S+ \w+) of", said)[1])
    assert taken * MIB == pytest.approx(estimate, rel=0.15)

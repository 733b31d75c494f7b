"""Runs that are cut off at any moment end as if they had not been. The oracle is the unbroken run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffquant.assignment import PixelSoftmax, TopK
from diffquant.assignment.relaxation import GumbelSoftmax
from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.image import read
from diffquant.losses import ExpectedImageError
from diffquant.pipelines.palette import Palette
from diffquant.runner import stages
from diffquant.training import StateError, fit, restored

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
KEY = jax.random.key(3)
# Chance in every step and in the choices; a last chunk that is shorter than the others.
CONFIG = Config(
    pipeline=Palette(
        colors=4, pinned=((9, 9, 9),), assignment=PixelSoftmax(relaxation=GumbelSoftmax()), dither=Sample()
    ),
    losses={"error": ExpectedImageError(space="linear")},
    steps=14,
    every=4,
    seed=5,
)
ENDS = [4, 8, 12, 14]  # of its chunks


def built(config=CONFIG):
    target = jnp.asarray(read(PIXELS).linear())
    return config.pipeline.build(PIXELS, target), target


def told(snapshot):
    """All that a snapshot says, as plain values."""
    arrays = {name: np.array(array).tobytes() for name, array in snapshot.state.arrays.items()}
    return (
        snapshot.step,
        snapshot.steps,
        snapshot.loss,
        snapshot.parts,
        snapshot.state.mean,
        snapshot.state.over,
    ), arrays


def copied(state):
    """On the host, as a file would hold it."""
    return dataclasses.replace(state, arrays={name: np.array(array) for name, array in state.arrays.items()})


def descent(plan, start=None, config=CONFIG):
    """What the snapshots say, and their states."""
    pipeline, target = built(config)
    pairs = [(told(s), copied(s.state)) for s in fit(pipeline, target, plan, key=KEY, start=start)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@pytest.mark.parametrize("tolerance", [None, 0.5], ids=["all steps", "tolerance"])
def test_from_any_snapshot_follow_the_same_ones_bit_for_bit(tolerance):
    plan = dataclasses.replace(CONFIG.plan(), tolerance=tolerance)
    unbroken, states = descent(plan)
    assert len(unbroken) == (4 if tolerance is None else 2)
    assert [state.over for state in states] == [False] * (len(states) - 1) + [True]
    for done, state in enumerate(states, start=1):
        assert descent(plan, state)[0] == unbroken[done:]


def test_candidates_that_were_refreshed_are_part_of_the_state():
    quick = dataclasses.replace(CONFIG.pipeline, assignment=TopK(n=2, refresh=True), rate=0.1)
    config = dataclasses.replace(CONFIG, pipeline=quick)
    unbroken, states = descent(config.plan(), config=config)
    (name,) = (name for name in states[0].arrays if "candidates" in name)
    assert (states[0].arrays[name] != states[-1].arrays[name]).any()
    for done, state in enumerate(states, start=1):
        assert descent(config.plan(), state, config)[0] == unbroken[done:]


def test_a_state_can_be_used_while_its_snapshot_is_valid():
    unbroken, _ = descent(CONFIG.plan())
    pipeline, target = built()
    first = next(fit(pipeline, target, CONFIG.plan(), key=KEY))
    after = [told(snapshot) for snapshot in fit(pipeline, target, CONFIG.plan(), key=KEY, start=first.state)]
    assert after == unbroken[1:]
    np.asarray(first.pipeline.palette.linear())  # its buffers were not given away


def test_the_state_of_another_pipeline_is_refused():
    _, (state, *_) = descent(CONFIG.plan())
    other, target = built(dataclasses.replace(CONFIG, pipeline=dataclasses.replace(CONFIG.pipeline, colors=5)))
    with pytest.raises(StateError, match=r"found float32 \(12, 20, 4\) for .*logits.*, expected float32 \(12, 20, 5\)"):
        next(fit(other, target, CONFIG.plan(), key=KEY, start=state))
    with pytest.raises(StateError, match=r"found nothing for .*logits"):
        restored(other, dataclasses.replace(state, arrays={}))


def test_a_run_from_any_state_ends_with_the_same_bytes():
    def run(start=None):
        seen = list(stages(read(PIXELS), CONFIG, start=start))
        return [stage.name for stage in seen], seen[0].share, seen[-1].artifact.to_bytes()

    names, share, data = run()
    assert (names, share) == (["relax"] * 5 + ["harden"], 0)
    states = [copied(stage.snapshot.state) for stage in stages(read(PIXELS), CONFIG) if stage.snapshot]
    for done, state in enumerate(states, start=1):
        assert run(state) == (["relax"] * (5 - done) + ["harden"], ENDS[done - 1] / 14, data)


@pytest.mark.parametrize("step", ENDS[:2])
def test_a_draft_is_what_stopping_would_have_given(step):
    drafts = []
    for stage in stages(read(PIXELS), CONFIG, stop=lambda: len(drafts) == ENDS.index(step) + 1):
        if stage.draft:
            drafts.append(stage.draft().to_bytes())
    assert stage.artifact.to_bytes() == drafts[-1]

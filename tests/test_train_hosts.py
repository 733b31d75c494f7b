"""What processes agree on at a snapshot. The others' answers are given; real processes are in `test_devices.py`."""

import signal
import types

import numpy as np
import pytest
import train_runs

script = train_runs.script


@pytest.fixture
def hosts(script):
    import train_hosts

    return train_hosts


@pytest.fixture
def first_of_three(hosts, monkeypatch, tmp_path):
    """The first process, and what the other two say when it asks: lists of flags."""
    others = [[False] * 3, [False] * 3]
    monkeypatch.setattr(hosts, "_gathered", lambda flags: np.stack([flags, *(other[: len(flags)] for other in others)]))
    monkeypatch.setattr("jax.distributed.shutdown", lambda: None)
    return hosts.Several(tmp_path), others


@pytest.fixture
def saver(script, first_of_three):
    """Of the first process: at a snapshot nothing is due by its own clock. Saved steps are in `saver.checkpoints`."""
    import train_run

    saved = []
    checkpoints = types.SimpleNamespace(save=lambda state: saved.append(state.step), saved=saved)
    return train_run.Saver(checkpoints, 1000, 0, train_run.Termination(), first_of_three[0])


def snapshot(step, *, over=False):
    return types.SimpleNamespace(step=step, state=types.SimpleNamespace(step=step, over=over, arrays={}))


def test_one_process_agrees_with_itself(hosts):
    for flags in np.ndindex(2, 2, 2):
        asked = hosts.Asked(terminate=bool(flags[0]), interrupt=bool(flags[1]), save=bool(flags[2]))
        assert hosts.Lone().agree(asked) == asked


@pytest.mark.parametrize("who", [0, 1, 2])
def test_what_any_process_is_asked_all_do_and_the_first_says_when_to_save(hosts, first_of_three, who):
    process, others = first_of_three
    everything = hosts.Asked(terminate=True, interrupt=True, save=True)
    if who > 0:
        others[who - 1][:] = [True] * 3
    agreed = process.agree(everything if who == 0 else hosts.Asked())
    assert agreed == hosts.Asked(terminate=True, interrupt=True, save=who == 0)


def test_sigterm_to_another_process_saves_and_ends_this_one(script, saver, first_of_three):
    saver.see(snapshot(2))
    assert saver.checkpoints.saved == []
    first_of_three[1][1][0] = True
    with pytest.raises(script.Terminated):
        saver.see(snapshot(4))
    saver.part()
    assert saver.checkpoints.saved == [4]


def test_ctrl_c_in_another_process_saves_and_stops_this_one(saver, first_of_three):
    saver.see(snapshot(2))
    assert not saver.stop()
    first_of_three[1][0][1] = True
    saver.see(snapshot(4))
    assert saver.stop()
    assert saver.checkpoints.saved == [4]


def test_a_signal_between_snapshots_waits_for_all_until_they_have_parted(script, saver, first_of_three):
    with saver.termination.installed():
        saver.interrupted.append(signal.SIGINT)
        assert not saver.stop()  # the others go on
        saver.interrupted.clear()
        saver.see(snapshot(2, over=True))
        saver.heed()
        signal.raise_signal(signal.SIGTERM)
        saver.heed()
        saver.part()
        assert saver.checkpoints.saved == [2]
        with pytest.raises(script.Terminated):
            saver.heed()


def test_who_has_parted_asks_nobody(hosts, first_of_three):
    process, others = first_of_three
    others[0][:] = [True] * 3
    process.part()
    assert process.agree(hosts.Asked()) == hosts.Asked()


def test_nobody_begins_unless_all_can(hosts, first_of_three):
    process, others = first_of_three
    with pytest.raises(hosts.UsageError, match="another process could not begin"):
        process.ready()
    others[:] = [[True], [True]]
    process.ready()


def test_a_process_that_cannot_begin_lets_the_others_know_and_ends_with_its_own_error(hosts, first_of_three):
    process, _ = first_of_three
    with pytest.raises(OSError, match="mine"), process.together():
        raise OSError("mine")
    assert process.alone


def test_the_loss_of_another_process_is_said_in_one_line(hosts, first_of_three):
    process, others = first_of_three
    others[:] = [[True], [True]]
    process.ready()
    with pytest.raises(hosts.LostError, match=r"lost another process .*Gloo"), process.together():
        raise ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer")
    with pytest.raises(ValueError, match="not of XLA"), process.together():
        raise ValueError("not of XLA")

"""`scripts/train.py --resume` of a run that cannot go on: one line, and the run is left as it is."""

import json
import shutil
import zlib

import pytest
import train_runs
from PIL import Image
from test_resume import PIXELS

folder, killed, script = train_runs.folder, train_runs.killed, train_runs.script


def edited(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def other_config(run):
    (run / "config.py").write_text((run / "config.py").read_text().replace("steps=14", "steps=15"))


def other_picture(run):
    Image.fromarray(255 - PIXELS).save(run.parent / "tiny.png")


def foreign_checkpoint(run):
    about = run / "checkpoints" / "8" / "about.json"
    whole = json.loads(about.read_text())
    whole["about"]["fingerprint"]["picture"] = "0" * 64
    whole["checksum"] = zlib.crc32(json.dumps(whole["about"]).encode())
    about.write_text(json.dumps(whole))


def damaged_checkpoints(run):
    for path in (run / "checkpoints").glob("*/about.json"):
        path.unlink()


MISTAKES = {  # what is done to a run, what one asks for, and what the line must name
    "no folder": (None, ["none"], "--resume: found no file none/run.json, expected the folder of a run"),
    "nothing": (None, [], "--resume: found 0 arguments"),
    "other options": (None, ["run", "--steps", "3"], "--resume: found 3 arguments"),
    "no JSON": (lambda run: (run / "run.json").write_text("{"), ["run"], "run/run.json: found what is not a run's"),
    "other JSON": (lambda run: (run / "run.json").write_text("[]"), ["run"], "run/run.json: found what is not a run's"),
    "no config": (lambda run: (run / "config.py").unlink(), ["run"], "run/config.py: found no such file"),
    "other config": (other_config, ["run"], "run/run.json: found a run of another config"),
    "no picture": (lambda run: (run.parent / "tiny.png").unlink(), ["run"], "tiny.png: no such file"),
    "other picture": (other_picture, ["run"], "run/run.json: found a run of another picture"),
    "other format": (
        lambda run: edited(run / "run.json", fingerprint={"format": 7}),
        ["run"],
        "run/run.json: found format 7, expected format 1",
    ),
    "no figures": (lambda run: (run / "metrics.jsonl").write_text("x\n"), ["run"], "run/metrics.jsonl: found"),
    "foreign checkpoint": (foreign_checkpoint, ["run"], "run/checkpoints/8: found a run of another picture"),
    "damaged checkpoints": (damaged_checkpoints, ["run"], "run/checkpoints/8: found a damaged checkpoint"),
}


@pytest.mark.parametrize(("change", "arguments", "named"), MISTAKES.values(), ids=MISTAKES)
def test_a_run_that_cannot_be_resumed_is_named_in_one_line_and_left_as_it_is(
    script, folder, killed, capsys, change, arguments, named
):
    shutil.copytree(killed, "run")
    edited(folder / "run" / "run.json", image=str(folder / "tiny.png"))
    if change is not None:
        change(folder / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert script.main(["--resume", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("train.py: ")
    assert named in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("option", ["--checkpoint-every", "--pictures-every"])
def test_intervals_are_at_least_a_step(script, folder, capsys, option):
    assert script.main(["config.py", "tiny.png", option, "0"]) == 2
    assert capsys.readouterr().err == f"train.py: {option}: found 0, expected at least 1\n"
    assert not (folder / "runs").exists()

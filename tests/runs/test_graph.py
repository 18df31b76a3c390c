"""Whole runs whose steps are replayed, with the CPU's stand-in for CUDA graphs."""

from pathlib import Path

import pytest

from tests.runs.compare import differences, rows

STAND_IN = f"""
import sys
from unittest import mock
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.unit.tape import tape_capture
mock.patch("ssd.training.build.uses_graphs", return_value=True).start()
mock.patch("ssd.training.build.finds_compiler", return_value=False).start()
mock.patch("ssd.common.graph.CudaCapture", return_value=tape_capture).start()
"""
BREAKS_THE_FIFTH = """
import ssd.training.feed as feed
from ssd.training import trainer
steps = feed.Feed.steps

def broken(self, order, first, last, *others):
    for number, ready in enumerate(steps(self, order, first, last, *others), first + 1):
        if number == 5:
            ready.batches[0].images[0, 0, 0, 0] = float("nan")
        yield ready

mock.patch.object(feed.Feed, "steps", broken).start()
"""


@pytest.mark.parametrize(
    "changes",
    [
        ("--training.accumulate", "2", "--training.clip_norm", "5"),  # the last step has 2 of 8
        ("--training.ema_decay", "0.9", "--optimizer.name", "adamw", "--training.batch_size", "5"),
    ],
    ids=["accumulate and clip", "average and adamw"],
)
def test_a_run_of_replayed_steps_equals_a_plain_one_also_when_resumed(
    tool, small_run, tmp_path, changes
):
    flags = (*small_run, *changes, "--training.steps", "14", "--training.max_skipped", "2")
    plain = "from unittest import mock\n" + BREAKS_THE_FIFTH
    assert tool("train.py", *flags, "--out", "plain", prepare=plain).returncode == 0
    done = tool("train.py", *flags, "--out", "graph", prepare=STAND_IN + BREAKS_THE_FIFTH)
    assert done.returncode == 0, done.stderr
    assert "as CUDA graphs" in done.stdout
    assert "slower" not in done.stdout
    assert differences(tmp_path / "plain", tmp_path / "graph") == []
    assert [row["step"] for row in rows(tmp_path / "graph") if row.get("skipped")] == [5]
    shorter = (*flags, "--checkpoint.every_steps", "7")
    begun = tool(
        "train.py",
        *shorter,
        "--out",
        "resumed",
        prepare=STAND_IN
        + BREAKS_THE_FIFTH
        + """
from ssd.training.signals import Signals
saved = trainer.Trainer.save

def save(self):
    saved(self)
    self.signals.stop = self.state.step == 7

mock.patch.object(trainer.Trainer, "save", save).start()
""",
    )
    assert "stopped after step 8" in begun.stdout, begun.stderr
    tool("train.py", *shorter, "--out", "resumed", prepare=STAND_IN + BREAKS_THE_FIFTH)
    assert differences(tmp_path / "plain", tmp_path / "resumed") == []

"""Saving beside the training: copies, and a disk without room."""

import errno
import threading

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import CheckpointConfig
from ssd.run import checkpoint as module
from ssd.run.checkpoint import load_checkpoint
from ssd.run.checkpoints import list_checkpoints, newest_intact
from ssd.training.saver import Saver


@pytest.fixture
def said():
    return []


@pytest.fixture
def saver(tmp_path, said):
    saver = Saver(tmp_path, CheckpointConfig(max_failed=2), "data: {}\n", ["cat"], said.append)
    yield saver
    saver.close()


def state(step):
    tensors = [torch.arange(4.0) + step]
    return {"model": {"weight": tensors[0]}, "optimizer": {"state": tensors}, "step": step}


@pytest.fixture
def gate(monkeypatch):
    """Holds the writing of files up until it is opened."""
    gate, write_and_flush = threading.Event(), module.write_and_flush

    def held(path, write):
        assert gate.wait(timeout=60)
        return write_and_flush(path, write)

    monkeypatch.setattr(module, "write_and_flush", held)
    return gate


def test_what_is_written_is_a_copy_and_training_does_not_wait(saver, gate, tmp_path):
    live = state(1)
    saver.save(1, live)
    live["model"]["weight"].add_(100)  # the next step, while the checkpoint is being written
    assert list_checkpoints(tmp_path) == []
    gate.set()
    saver.finish()
    saved = load_checkpoint(tmp_path / "step_1").state
    assert torch.equal(saved["model"]["weight"], torch.arange(4.0) + 1)
    assert torch.equal(saved["optimizer"]["state"][0], torch.arange(4.0) + 1)


def test_a_score_waits_for_its_checkpoint(saver, gate, tmp_path):
    saver.save(1, state(1))
    threading.Timer(0.2, gate.set).start()
    saver.add_score(1, 0.5)
    assert load_checkpoint(tmp_path / "step_1").manifest.mean_average_precision == 0.5


@pytest.fixture
def full_disk(monkeypatch):
    def full(path, write):
        raise OSError(errno.ENOSPC, "No space left on device")

    return lambda: monkeypatch.setattr(module, "write_and_flush", full)


def test_a_full_disk_is_warned_of_until_the_limit(saver, full_disk, said, tmp_path):
    saver.save(1, state(1))
    saver.finish()
    full_disk()
    for step in (2, 3, 4):
        saver.save(step, state(step))
    with pytest.raises(UserError, match="3 checkpoints in a row .*No space left"):
        saver.save(5, state(5))
    assert len(said) == 3
    assert all("step_" in line and "training continues" in line for line in said)
    assert newest_intact(tmp_path).manifest.step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]


def test_room_again_is_forgiven(saver, full_disk, monkeypatch, tmp_path):
    write = module.write_and_flush
    for round_ in range(3):
        full_disk()
        for step in (1, 2):
            saver.save(10 * round_ + step, state(step))
        saver._wait()
        monkeypatch.setattr(module, "write_and_flush", write)
        saver.save(10 * round_ + 3, state(3))
        saver.finish()
    assert list_checkpoints(tmp_path)[0].name == "step_23"


def test_the_last_checkpoint_has_to_be_saved(saver, full_disk):
    full_disk()
    saver.save(1, state(1))
    with pytest.raises(UserError, match="No space left"):
        saver.finish()


def test_a_score_without_its_checkpoint_is_a_warning(saver, full_disk, said):
    full_disk()
    saver.save(1, state(1))
    saver.add_score(1, 0.5)
    assert "mAP of step 1" in said[-1]

"""Checkpoints are whole or passed over; the older ones survive whatever happens."""

import errno
import json
import random
from pathlib import Path

import pytest
import torch

from ssd.common.errors import UserError
from ssd.run.checkpoint import (
    best_checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
    prune,
    record_score,
    save_checkpoint,
)
from ssd.training import checkpoint as module


def save(folder: Path, step: int, score: float | None = None) -> Path:
    state = {"model": {"weight": torch.arange(100.0) + step}, "step": step}
    saved = save_checkpoint(folder, step, state, "data: {}\n", ["cat", "dog"])
    if score is not None:
        record_score(saved, score)
    return saved


def test_what_is_saved_comes_back(tmp_path):
    loaded = load_checkpoint(save(tmp_path, 7, 0.5))
    assert torch.equal(loaded.state["model"]["weight"], torch.arange(100.0) + 7)
    assert loaded.config_yaml == "data: {}\n"
    assert loaded.manifest.classes == ["cat", "dog"]
    assert loaded.manifest.mean_average_precision == 0.5


def test_newest_first_by_number_and_not_by_name(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step)
    (tmp_path / "step_x").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_100", "step_10", "step_9"]
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_the_newest_and_the_best_are_kept(tmp_path):
    for step, score in enumerate([0.1, 0.9, 0.3, 0.2, 0.4]):
        save(tmp_path, step, score)
    (tmp_path / ".unfinished_step_5").mkdir()
    prune(tmp_path, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_4", "step_3", "step_1"]
    assert not (tmp_path / ".unfinished_step_5").exists()
    assert best_checkpoint(tmp_path) == tmp_path / "step_1"


def test_any_damage_is_found_and_the_older_one_taken(tmp_path):
    """Every file, truncated or with a flipped byte at many places, or gone."""
    generator = random.Random(0)
    save(tmp_path, 1)
    for name in ("state.pt", "config.yaml", "manifest.json"):
        for _ in range(12):
            path = save(tmp_path, 2) / name
            content = bytearray(path.read_bytes())
            place = generator.randrange(len(content))
            match generator.randrange(3):
                case 0:
                    content = content[:place]
                case 1:
                    content[place] ^= 1 << generator.randrange(8)
                case _:
                    path.unlink()
                    content = None
            if content is not None:
                path.write_bytes(content)
            found, problems = newest_intact(tmp_path)
            assert found is not None
            if found.manifest.step == 2:  # the flip fell on something that carries no meaning
                assert name == "manifest.json"
                assert found.state["step"] == 2
            else:
                assert len(problems) == 1
                assert "step_2" in problems[0]
                assert "\n" not in problems[0]


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "null", "{}", '{"step": 1}', '{"step": 1, "classes": 5, "files": {}}', "[" * 10**5],
)
def test_a_manifest_that_is_none_is_an_error(tmp_path, manifest):
    path = save(tmp_path, 1)
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match="not a checkpoint's manifest"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_older_checkpoints(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_and_flush", full)
    with pytest.raises(UserError, match="No space left on device"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    assert newest_intact(tmp_path)[0].manifest.step == 1


def test_a_checkpoint_cannot_run_code(tmp_path):
    path = save(tmp_path, 1)
    torch.save({"model": Path("/")}, path / "state.pt")  # an object, not a tensor
    content = (path / "state.pt").read_bytes()
    manifest = json.loads((path / "manifest.json").read_text())
    digest = module.hashlib.sha256(content).hexdigest()
    manifest["files"]["state.pt"] = {"size": len(content), "sha256": digest}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="other than tensors"):
        load_checkpoint(path)


def test_nothing_is_removed_before_enough_newer_ones_are_intact(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
    (tmp_path / "step_5" / "state.pt").write_bytes(b"torn")
    (tmp_path / "step_4" / "manifest.json").unlink()
    prune(tmp_path, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        *("step_5", "step_4", "step_3", "step_2")
    ]

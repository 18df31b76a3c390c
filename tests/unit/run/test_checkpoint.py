"""Checkpoints are whole or passed over; the older ones survive whatever happens."""

import errno
import hashlib
import json
import random
from pathlib import Path

import pytest
import torch

from ssd.common.errors import UserError
from ssd.run import checkpoint as module
from ssd.run.checkpoint import (
    load_checkpoint,
    record_score,
    save_checkpoint,
    write_and_flush,
    write_text,
)
from ssd.run.checkpoints import best_checkpoint, choose, list_checkpoints, newest_intact, prune
from ssd.run.rows import format_row
from ssd.steps import EvaluationRow


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
    known = set()
    prune(tmp_path, 2, known)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_4", "step_3", "step_1"]
    assert known == {tmp_path / "step_4", tmp_path / "step_3"}
    assert not (tmp_path / ".unfinished_step_5").exists()
    assert best_checkpoint(tmp_path) == tmp_path / "step_1"


def test_any_damage_is_found_and_the_older_one_taken(tmp_path, capfd):
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
            found = newest_intact(tmp_path)
            told = capfd.readouterr().err.splitlines()
            assert found is not None
            if found.manifest.step == 2:  # the flip fell on something that carries no meaning
                assert name == "manifest.json"
                assert found.state["step"] == 2
                assert told == []
            else:
                assert found.manifest.step == 1
                assert len(told) == 1
                assert told[0].startswith("passed over: ")
                assert "step_2" in told[0]


def test_no_checkpoint_is_none_and_no_intact_one_an_error(tmp_path, capfd):
    assert newest_intact(tmp_path / "nowhere") is None
    assert newest_intact(tmp_path) is None
    for step in (1, 2):
        (save(tmp_path, step) / "state.pt").write_bytes(b"torn")
    with pytest.raises(UserError, match="no checkpoint in .* is intact"):
        newest_intact(tmp_path)
    told = capfd.readouterr().err.splitlines()
    assert [line.count(f"step_{step}") for line, step in zip(told, (2, 1), strict=True)] == [1, 1]


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

    def full(path, write):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_and_flush", full)
    with pytest.raises(UserError, match="No space left on device"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    assert newest_intact(tmp_path).manifest.step == 1


def test_what_is_written_is_told_by_its_size_and_hash(tmp_path):
    path, state = tmp_path / "state.pt", {"weight": torch.arange(100_000.0)}
    told = write_and_flush(path, lambda file: torch.save(state, file))
    content = path.read_bytes()
    assert told == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert torch.equal(torch.load(path, weights_only=True)["weight"], state["weight"])
    digest = hashlib.sha256("größe\n".encode()).hexdigest()
    assert write_text(tmp_path / "text", "größe\n") == {"size": 8, "sha256": digest}


def test_a_disk_that_fills_up_within_a_state_is_an_error_of_the_disk():
    """Not one of `torch.save`, which would end the run."""
    with pytest.raises(OSError, match="No space left on device"):
        write_and_flush(Path("/dev/full"), lambda file: torch.save(torch.zeros(10**6), file))


def test_a_checkpoint_cannot_run_code(tmp_path):
    path = save(tmp_path, 1)
    torch.save({"model": Path("/")}, path / "state.pt")  # an object, not a tensor
    content = (path / "state.pt").read_bytes()
    manifest = json.loads((path / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"]["state.pt"] = {"size": len(content), "sha256": digest}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="other than tensors"):
        load_checkpoint(path)


def test_nothing_is_removed_before_enough_newer_ones_are_intact(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
    (tmp_path / "step_5" / "state.pt").write_bytes(b"torn")
    (tmp_path / "step_4" / "manifest.json").unlink()
    known = set()
    prune(tmp_path, 2, known)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        *("step_5", "step_4", "step_3", "step_2")
    ]
    assert known == {tmp_path / "step_3", tmp_path / "step_2"}


def test_those_that_are_known_are_not_read_again(tmp_path, monkeypatch):
    known = {save(tmp_path, step) for step in (1, 2)}
    unknown = save(tmp_path, 3)
    read = []
    monkeypatch.setattr("ssd.run.checkpoints.is_intact", lambda path: read.append(path) or True)
    prune(tmp_path, 3, known)
    assert read == [unknown]
    assert known == set(list_checkpoints(tmp_path))


@pytest.fixture
def run(tmp_path):
    """A run of three checkpoints, which has evaluated four times."""
    for step, score in ((2, 0.9), (4, 0.3), (6, 0.4)):
        save(tmp_path / "checkpoints", step, score)
    rows = [EvaluationRow(step, 0, "voc07", score, {}) for step, score in enumerate((0.1, 0.2))]
    rows += [EvaluationRow(2, 0, "voc07", 0.9, {}), EvaluationRow(6, 0, "voc07", 0.4, {})]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(map(format_row, rows)))
    return tmp_path


def damage(run, step):
    file = run / "checkpoints" / f"step_{step}" / "state.pt"
    file.write_bytes(file.read_bytes()[:-1])


def test_the_best_the_last_or_one_by_its_step_is_chosen_and_told(run, capfd):
    best, last, given = (choose(run, which) for which in ("best", "last", "4"))
    assert (best.manifest.step, last.manifest.step, given.manifest.step) == (2, 6, 4)
    assert best.choice == "step 2, the best of 4 evaluations, mAP 0.9000"
    assert last.choice == "step 6, the newest checkpoint"
    assert given.choice == "step 4, as given"
    assert capfd.readouterr().err == ""
    for wrong in ("5", "newest", "-1", "04"):
        with pytest.raises(UserError, match=r"best, last or a step: 2, 4, 6$"):
            choose(run, wrong)


def test_a_damaged_newest_checkpoint_is_told_whichever_is_chosen(run, capfd):
    damage(run, 6)
    assert choose(run, "last").choice == "step 4, the newest intact checkpoint"
    assert capfd.readouterr().err.count("step_6/state.pt is damaged") == 1
    assert choose(run, "best").manifest.step == 2
    assert capfd.readouterr().err.count("step_6/state.pt is damaged") == 1
    (run / "checkpoints/step_6/manifest.json").unlink()
    assert choose(run, "best").manifest.step == 2
    assert capfd.readouterr().err.count("passed over") == 1
    with pytest.raises(UserError, match="step_6"):
        choose(run, "6")


def test_without_the_best_one_the_next_is_taken_and_not_praised(run, capfd):
    damage(run, 2)
    found = choose(run, "best")
    assert found.choice == "step 6, the best evaluated one that is left, mAP 0.4000"
    assert "step_2/state.pt is damaged" in capfd.readouterr().err


def test_a_run_that_was_never_evaluated_has_a_newest_one_alone(tmp_path):
    for step in (1, 2):
        save(tmp_path / "checkpoints", step)
    assert choose(tmp_path, "best").choice == "step 2, the newest checkpoint, none is evaluated"
    with pytest.raises(UserError, match="holds no checkpoint: train the run first"):
        choose(tmp_path / "nowhere", "best")

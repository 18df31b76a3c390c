"""The second finding: the images of a short step count too much, with or without a spike."""

from dataclasses import replace

import numpy as np
import pytest

from ssd.spikes.explain import as_json, explain
from ssd.spikes.log import Log
from ssd.spikes.read import read_log

FULL, LENGTH, PASSES = 16, 25, 12


def make_log(short=1, spike=1.0, gradient=1.0, noise=0.08, **known):
    """A falling loss whose short last steps stand `spike` times as high, the gradient likewise."""
    rng = np.random.default_rng(short)
    rows = PASSES * LENGTH
    last = np.arange(rows) % LENGTH == LENGTH - 1
    loss = (3 + 6 * np.exp(-np.arange(rows) / 80)) * np.exp(noise * rng.normal(size=rows))
    norm = 5 * np.exp(noise * rng.normal(size=rows)) * np.where(last, gradient, 1)
    images = np.where(last, float(short), float(FULL))
    loss = loss * np.where(last, spike, 1)
    known = {"steps_per_epoch": LENGTH, "batch_size": FULL} | known
    return Log(
        "made", np.arange(1, rows + 1), loss, {"num_images": images, "grad_norm": norm}, **known
    )


def without(log, *names):
    return replace(log, columns={k: v for k, v in log.columns.items() if k not in names})


def test_a_loss_without_a_spike_has_the_second_finding_alone():
    explanation = explain(make_log(short=2, gradient=2.8))
    found = explanation.short_step
    assert explanation.cause == "none"
    assert found.weight == pytest.approx(8)
    assert found.gradient == pytest.approx(2.8, rel=0.1)
    assert "short, of 2 instead of 16 images: unless the program weights it, each" in found.sentence
    assert "counts 8 times as much as any other, and its gradient is 2." in found.sentence
    assert "loss.short_step share" in found.advice
    assert as_json(explanation)["short_step"]["weight"] == pytest.approx(8)


@pytest.mark.parametrize("images_known", [True, False])
def test_a_loss_divided_twice_has_both(images_known):
    """(B / r)²: once in the loss itself, and once more as a mean over few images."""
    log = make_log(short=4, spike=4.0, gradient=8.0)
    explanation = explain(log if images_known else without(log, "num_images"))
    assert explanation.cause == "short_last_batch"
    assert explanation.short_step.weight == pytest.approx(16, rel=0 if images_known else 0.2)
    assert len(explanation.paragraphs) == 4
    start = "One step of each pass is short" if images_known else "A short last step with"
    assert explanation.short_step.sentence.startswith(start)


def test_the_gradient_norm_tells_it_where_the_images_are_unknown():
    """√(B / r), as noise has it; a spike elsewhere in the pass is no short step."""
    log = without(make_log(short=1, gradient=4.0), "num_images")
    found = explain(log).short_step
    assert found.weight == pytest.approx(16, rel=0.2)
    assert found.sentence.startswith("The gradient norm is regularly raised at the last step")
    assert explain(replace(log, first_step=3)).short_step is None
    assert explain(without(make_log(short=1), "num_images")).short_step is None


@pytest.mark.parametrize(
    ("divisor", "short_step", "weight"),
    [
        ("step_positives", "share", None),
        ("step_positives", "full", 16),
        ("rank_positives", "share", 16),
        ("batch_positives_and_size", "share", 256),
    ],
)
def test_a_run_of_this_framework_knows_its_rule(divisor, short_step, weight):
    found = explain(make_log(divisor=divisor, short_step=short_step)).short_step
    assert (found and found.weight) == weight
    if found:
        assert "unless" not in found.sentence


def test_the_divisor_that_a_run_logs_counts_more_than_its_name():
    """With micro-batches the defect divides by less than B / r: here by half of it."""
    log = make_log(short=4, spike=2.0, divisor="batch_positives_and_size", short_step="share")
    images = log.columns["num_images"]
    positives = 10 * images
    divisor = positives * np.where(images == 4, 8, 16)
    known = {**log.columns, "num_positives": positives, "divisor": divisor}
    assert explain(replace(log, columns=known)).short_step.weight == pytest.approx(4 * 2)


def test_a_clipped_gradient_is_told():
    log = make_log(short=1, gradient=6.0)
    clipped = (log.columns["num_images"] == 1).astype(float)
    found = explain(replace(log, columns={**log.columns, "clipped": clipped})).short_step
    assert found.clipped
    assert "would count 16 times" in found.sentence
    assert "but the gradient is clipped there" in found.sentence
    assert "clip_norm" not in found.advice


def test_full_steps_and_nearly_full_ones_have_no_such_finding():
    assert explain(make_log(short=16)).short_step is None
    assert explain(make_log(short=14)).short_step is None


def test_a_table_of_any_trainer_tells_it(tmp_path):
    log = make_log(short=1, gradient=4.0)
    rows = zip(log.steps, log.loss, *log.columns.values(), strict=True)
    lines = ["step,loss,batch_size,grad_norm", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    found = explain(read_log(tmp_path / "log.csv", steps_per_epoch=LENGTH)).short_step
    assert found.weight == pytest.approx(16)


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("{divisor: step_positives}", ("step_positives", "full")),  # before the setting existed
        ("{divisor: step_positives, short_step: share}", ("step_positives", "share")),
        ("{divisor: mine}", (None, None)),
    ],
)
def test_the_config_beside_a_log_tells_the_rule(tmp_path, written, known):
    (tmp_path / "config.yaml").write_text(f"loss: {written}\n")
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 2.0}\n')
    log = read_log(tmp_path)
    assert (log.divisor, log.short_step) == known


def irregular(kind, rng):
    """Numbers of images that vary without a short last step."""
    rows = PASSES * LENGTH
    match kind:
        case "batches by shape":
            return rng.choice([16.0, 16, 16, 5], rows)
        case "mosaic":
            return np.where(rng.random(rows) < 0.3, 4.0, 16.0)
        case "batch size that grows":
            return np.where(np.arange(rows) < 0.3 * rows, 8.0, 16.0)
        case "lost images":
            return np.where(rng.random(rows) < 0.05, 12.0, 16.0)
        case _:
            return np.where(np.arange(rows) == rows - 1, 3.0, 16.0)


@pytest.mark.parametrize(
    "kind",
    ["batches by shape", "mosaic", "batch size that grows", "lost images", "one at the end"],
)
@pytest.mark.parametrize("length", [LENGTH, None])
def test_small_batches_elsewhere_are_no_short_step(kind, length):
    for seed in range(20):
        log = make_log(short=16, steps_per_epoch=length)
        images = irregular(kind, np.random.default_rng(seed))
        columns = {**log.columns, "num_images": images}
        assert explain(replace(log, columns=columns)).short_step is None


def test_the_short_step_is_found_where_the_pass_is_unknown_and_wherever_it_stands():
    log = make_log(short=2)
    unknown = replace(log, steps_per_epoch=None, batch_size=None, first_step=None)
    moved = replace(log, columns={k: np.roll(v, 4) for k, v in log.columns.items()})
    for each in (unknown, moved):
        assert explain(each).short_step.weight == pytest.approx(8)


def test_no_step_is_shorter_than_an_image():
    """A spike that is higher than the batch size has another cause."""
    assert explain(without(make_log(spike=60.0), "num_images", "grad_norm")).short_step is None
    assert explain(without(make_log(gradient=50.0), "num_images")).short_step is None
    defect = make_log(gradient=64.0, divisor="batch_positives_and_size", short_step="share")
    found = explain(without(defect, "num_images")).short_step
    assert found.weight == pytest.approx(256, rel=0.2)  # the norm rises by 16^1.5

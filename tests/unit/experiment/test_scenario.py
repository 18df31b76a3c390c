"""The experiment's arithmetic: what each arm changes, and how high its spike has to be."""

from dataclasses import replace

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import Config, DataConfig, LossConfig, OptimizerConfig, TrainingConfig
from ssd.config.settings import read_config, to_yaml
from ssd.experiment.run import PRESETS
from ssd.experiment.scenario import (
    ARMS,
    Run,
    Scenario,
    check,
    config_of,
    draw_data,
    expected_ratio,
    is_finished,
    runs_of,
)
from ssd.loss.normalize import StepCounts, image_divisors, step_weight

BATCH_SIZE = 16
BASE = Config(
    training=TrainingConfig(batch_size=BATCH_SIZE, clip_norm=8.0),
    optimizer=OptimizerConfig(name="sgd", lr=0.02, weight_decay=0.0005),
)
BY_NAME = {arm.name: arm for arm in ARMS}


def test_every_run_of_a_scenario_has_its_own_name():
    names = [run.name for run in runs_of(Scenario(20, (1, 4, 10), (0, 1, 2)))]
    assert len(names) == len(set(names)) == 6 * 2 * 3 * 3
    assert {"reported_r4_seed0", "step_positives_x2_r10_seed2"} < set(names)


def weight(run: Run, num_images: int, of_gradient: bool = False) -> float:
    """The weights of the images of a step, each with 5 positives, in its loss or its gradient."""
    full = BATCH_SIZE // run.accumulate
    sizes = [full] * (num_images // full) + [num_images % full] * (num_images % full > 0)
    positives, images = torch.tensor([5.0, 1.0]) * num_images
    counts = StepCounts(positives, images, len(sizes), 1, BATCH_SIZE)
    divisors = [image_divisors(run.arm.divisor, torch.full((n,), 5.0), counts) for n in sizes]
    loss = LossConfig(divisor=run.arm.divisor, short_step=run.arm.short_step)
    weighted = step_weight(counts, loss) if of_gradient else 1.0
    return float((weighted / torch.cat(divisors)).sum())


@pytest.mark.parametrize("remainder", range(1, BATCH_SIZE))
@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("name", ["reported", "clipped", "rescaled", "step_positives", "share"])
def test_the_expected_ratio_is_that_of_the_weights(name, accumulate, remainder):
    """With images that are all alike, the loss of a step is the sum of their weights."""
    run = Run(BY_NAME[name], accumulate, remainder, seed=0)
    ratio = weight(run, remainder) / weight(run, BATCH_SIZE)
    assert expected_ratio(run, BATCH_SIZE) == pytest.approx(ratio, rel=1e-5)
    if name == "reported" and accumulate == 1:
        assert ratio == pytest.approx(BATCH_SIZE / remainder)


@pytest.mark.parametrize("remainder", [1, 4, 10])
def test_an_image_of_the_short_step_counts_as_the_table_says(remainder):
    """The table of docs/spikes.md."""
    times = BATCH_SIZE / remainder
    expected = {"reported": times**2, "rescaled": times, "step_positives": times, "share": 1.0}
    for name, each in expected.items():
        run = Run(BY_NAME[name], 1, remainder, seed=0)
        short = weight(run, remainder, of_gradient=True) / remainder
        full = weight(run, BATCH_SIZE, of_gradient=True) / BATCH_SIZE
        assert short / full == pytest.approx(each, rel=1e-5)


def test_times_the_batch_size_is_the_mean_over_the_positives_of_the_batch():
    positives = torch.tensor([3.0, 0.0, 7.0, 1.0])
    counts = StepCounts(positives.sum(), torch.tensor(8.0), num_micro_batches=2, world_size=1)
    defect = image_divisors("batch_positives_and_size", positives, counts)
    rescaled = image_divisors("rank_positives", positives, counts)
    torch.testing.assert_close(len(positives) / defect, 1 / rescaled)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_full_batch_moves_the_weights_as_far_in_every_arm(accumulate, arm):
    config = config_of(Run(arm, accumulate, 4, seed=0), BASE, full_steps=20)
    ours = config_of(Run(BY_NAME["step_positives"], 1, 4, seed=0), BASE, full_steps=20)
    run, whole = Run(arm, accumulate, 4, 0), Run(BY_NAME["step_positives"], 1, 4, 0)
    gradient, our_gradient = weight(run, BATCH_SIZE), weight(whole, BATCH_SIZE)
    lr, our_lr = config.optimizer.lr, ours.optimizer.lr
    assert lr * gradient == pytest.approx(our_lr * our_gradient)
    decay, our_decay = config.optimizer.weight_decay, ours.optimizer.weight_decay
    assert lr * decay == pytest.approx(our_lr * our_decay)
    if arm.clipped:
        bound = config.training.clip_norm
        assert bound / gradient == pytest.approx(BASE.training.clip_norm / our_gradient)
    else:
        assert config.training.clip_norm is None
    assert config.training.batch_size * config.training.accumulate == BATCH_SIZE


def test_adam_is_blind_to_the_scale_of_the_gradient():
    adam = replace(BASE, optimizer=OptimizerConfig(name="adamw", lr=0.003))
    config = config_of(Run(BY_NAME["reported"], 1, 4, seed=0), adam, full_steps=20)
    assert config.optimizer == adam.optimizer
    clipped = config_of(Run(BY_NAME["clipped"], 1, 4, seed=0), adam, full_steps=20)
    assert clipped.training.clip_norm == BASE.training.clip_norm / BATCH_SIZE


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        (Scenario(20, (0,), (0,)), "--remainders has 0: give 1 to 15"),
        (Scenario(20, (4, 16), (0,)), "--remainders has 16"),
        (Scenario(20, (4,), (0,), accumulate=3), "batch_size is 16, .* 3 micro-batches"),
        (Scenario(0, (4,), (0,)), "--full-steps has 0"),
        (Scenario(20, (4, 4), (0,)), "--remainders has 4 twice"),
        (Scenario(20, (4,), (1, 1)), "--seeds has 1 twice"),
        (Scenario(20, (4,), (-1,)), "--seeds has -1"),
        (Scenario(20, (4,), (0,), arms=("share", "shared")), "--arms has shared, but the arms are"),
        (Scenario(20, (4,), (0,), arms=("share", "share")), "--arms has share twice"),
    ],
)
def test_a_scenario_without_a_short_batch_is_refused(scenario, told):
    with pytest.raises(UserError, match=told):
        check(scenario, BASE)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"training": {"seed": 7}}, "training.seed"),
        ({"training": {"drop_last": True}}, "training.drop_last"),
        ({"data": {"format": "voc"}}, "data.format"),
        ({"loss": {"divisor": "rank_positives"}}, "loss.divisor"),
        ({"training": {"clip_norm": None}}, "clip_norm"),
    ],
)
def test_settings_that_the_experiment_makes_itself_are_refused(setting, told):
    base = read_config([], {"training": {"clip_norm": 8.0}} | setting)
    with pytest.raises(UserError, match=told):
        check(Scenario(20, (4,), (0,)), base)


def test_the_presets_can_be_run(repository):
    for name, files in {"default": ["spikes"], "question": ["spikes", "spikes_question"]}.items():
        base = read_config([repository / "configs" / f"{file}.yaml" for file in files])
        check(PRESETS[name], base)
    scenario = PRESETS["question"]
    assert (base.training.batch_size, scenario.full_steps) == (16, 1390)
    config = config_of(next(runs_of(scenario)), base, scenario.full_steps)
    assert config.data.train_split == "first_22241"


def test_the_pictures_are_drawn_once_for_all_remainders(tmp_path, monkeypatch):
    monkeypatch.setattr("ssd.experiment.scenario.NUM_TEST", 2)
    base = replace(
        BASE,
        data=replace(BASE.data, root=str(tmp_path / "drawn")),
        training=TrainingConfig(batch_size=4),
    )
    draw_data(base, Scenario(1, (1, 3), (0,), accumulate=2))
    (root,) = tmp_path.iterdir()
    lists = {path.stem: path.read_text().split() for path in root.glob("ImageSets/Main/*.txt")}
    assert {name: len(stems) for name, stems in lists.items()} == {
        "trainval": 16,
        "test": 2,
        "first_5": 5,
        "first_7": 7,
    }
    assert lists["first_7"][:5] == lists["first_5"]
    config = config_of(Run(ARMS[0], 1, 3, seed=0), base, full_steps=1)
    assert (config.data.root, config.data.train_split) == (str(root), "first_7")


def test_a_run_counts_as_finished_when_it_is_evaluated_with_these_settings(tmp_path):
    assert not is_finished(tmp_path, BASE)
    (tmp_path / "config.yaml").write_text(to_yaml(BASE))
    assert not is_finished(tmp_path, BASE)
    (tmp_path / "evaluation.json").write_text("{}")
    assert is_finished(tmp_path, BASE)
    assert is_finished(
        tmp_path, replace(BASE, data=DataConfig(workers=3, cache="host", cache_gb=2))
    )
    with pytest.raises(UserError, match="other settings"):
        is_finished(tmp_path, replace(BASE, data=DataConfig(root="elsewhere")))
    with pytest.raises(UserError, match="other settings"):
        is_finished(tmp_path, replace(BASE, optimizer=OptimizerConfig(lr=0.5)))

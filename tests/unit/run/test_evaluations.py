"""An evaluation has a folder of its own as soon as anything about it differs from the run's."""

from dataclasses import replace

import pytest

from ssd.config import AugmentConfig, Config, DataConfig, EvaluationConfig, ModelConfig
from ssd.run.evaluations import differs, evaluation_name

OWN = Config(data=DataConfig(format="voc", root="pets", train_split="train", eval_split="test"))
DATA, EVALUATION = OWN.data, OWN.evaluation

SAME = {
    "device": replace(OWN, training=replace(OWN.training, device="cpu", steps=7)),
    "workers": replace(OWN, data=replace(DATA, workers=3, cache="none", train_split="val")),
    "root": replace(OWN, data=replace(DATA, root="./sub/../pets")),
    "batch": replace(OWN, evaluation=replace(EVALUATION, batch_size=3, every_epochs=9)),
}
OTHER = {
    "val-step_6": replace(OWN, data=replace(DATA, eval_split="val")),
    "VOC2007_test+b-step_6": replace(OWN, data=replace(DATA, eval_split=["VOC2007/test", "b"])),
    "test-step_6-metric_coco": replace(OWN, evaluation=EvaluationConfig(metric="coco")),
    "test-step_6-iou_threshold_0.75-score_threshold_0.3": replace(
        OWN, evaluation=EvaluationConfig(iou_threshold=0.75, score_threshold=0.3)
    ),
    "test-step_6-nms_iou_0.5-top_k_7-max_detections_9": replace(
        OWN, evaluation=EvaluationConfig(nms_iou=0.5, top_k=7, max_detections=9)
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_settings_without_influence_make_no_other_evaluation(name):
    assert not differs(OWN, SAME[name])
    assert evaluation_name(6, OWN, SAME[name]) == "test-step_6"


@pytest.mark.parametrize("name", OTHER)
def test_settings_with_influence_are_in_the_name(name):
    assert differs(OWN, OTHER[name])
    assert evaluation_name(6, OWN, OTHER[name]) == name


def test_no_two_evaluations_share_a_folder():
    different = [
        OWN,
        *OTHER.values(),
        *(replace(OWN, data=replace(DATA, root=root)) for root in ("a/dogs", "b/dogs")),
        *(replace(OWN, data=replace(DATA, eval_split="x" * 70 + end)) for end in "ab"),
        replace(OWN, data=replace(DATA, exif="stored")),
        replace(OWN, model=ModelConfig(input_size=320)),
        replace(OWN, augment=AugmentConfig(antialias=False)),
    ]
    names = [evaluation_name(6, OWN, config) for config in different]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 100 for name in names)
    assert sum(name.startswith("test-step_6-dogs_") for name in names) == 2

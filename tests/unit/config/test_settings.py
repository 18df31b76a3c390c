import random
from pathlib import Path

import pytest

from ssd.common.errors import UserError
from ssd.config import Config, DataConfig, TrainingConfig
from ssd.config.settings import nested, parse_yaml, read_config, same_results, to_config, to_yaml


def test_every_setting_survives_yaml():
    settings = {
        "data": {"train_split": ["a/x", "b/y"], "classes": ["cat", "1"], "root": "10"},
        "model": {"box_sizes": [1.5, 2, 3, 4, 5]},
        "training": {"clip_norm": 3, "seed": 2**61},
    }
    config = to_config(settings)
    assert to_config(parse_yaml(to_yaml(config), "text")) == config
    assert config.data.classes == ["cat", "1"]


@pytest.mark.parametrize(("given", "meant"), [("auto", "auto"), (0, 0), ("4", 4), (256, 256)])
def test_workers_are_auto_or_a_number(given, meant):
    assert to_config({"data": {"workers": given}}).data.workers == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [(320, 320), ([320, 320], 320), ([256, 512], [256, 512]), ([512, 64], [512, 64])],
)
def test_an_input_size_is_a_number_or_height_and_width(given, meant):
    config = to_config({"model": {"input_size": given}})
    assert config.model.input_size == meant
    assert config.model.shorter_side == (meant if isinstance(meant, int) else min(meant))
    assert to_config(parse_yaml(to_yaml(config), "it")) == config
    assert ("input_size: 320\n" in to_yaml(config)) == (meant == 320)


@pytest.mark.parametrize("wrong", [63, 4096, [63, 300], [300, 4096], [300], [300, 300, 300], []])
def test_an_impossible_input_size_is_told(wrong):
    with pytest.raises(UserError, match=r"or \[height, width\] of two such numbers$") as caught:
        to_config({"model": {"input_size": wrong}})
    assert str(caught.value).startswith(f"model.input_size is {wrong}, but has to be at least 64")


@pytest.mark.parametrize("wrong", ["wide", 300.5, [300, 300.5], [300, "x"]])
def test_an_input_size_of_another_type_is_told(wrong):
    with pytest.raises(UserError, match=r"model.input_size is .*, but has to be a whole number or"):
        to_config({"model": {"input_size": wrong}})


def test_how_images_are_read_changes_no_result():
    fast, slow = (
        Config(data=DataConfig(workers=workers, cache=cache, cache_gb=gb))
        for workers, cache, gb in (("auto", "auto", None), (0, "none", 8))
    )
    assert fast != slow
    assert same_results(fast, slow)
    assert not same_results(fast, Config(data=DataConfig(train_split="other")))
    assert not same_results(fast, Config(training=TrainingConfig(seed=1)))


def test_later_files_win_and_overrides_win_over_all(tmp_path):
    (tmp_path / "a.yaml").write_text("training: {epochs: 3, batch_size: 4}\nloss: {match_iou: 0.4}")
    (tmp_path / "b.yaml").write_text("training: {epochs: 5}")
    config = read_config(["a.yaml", "b.yaml"], {"training": {"accumulate": 2}})
    training = config.training
    assert (training.epochs, training.batch_size, training.accumulate) == (5, 4, 2)
    assert config.loss.match_iou == 0.4
    assert config.model == Config().model


MISTAKES = [
    ({"data": {"rot": "x"}}, "did you mean data.root"),
    ({"trainig": {"epochs": 1}}, "no section trainig: did you mean training"),
    ({"lr": {"epochs": 1}}, "no setting lr: did you mean optimizer.lr"),
    ({"training": {"lr": 1}}, "did you mean optimizer.lr"),
    ({"training": 5}, "training is 5"),
    ({"training": {"epochs": 0}}, "training.epochs is 0, but has to be at least 1"),
    ({"training": {"epochs": 2**63}}, "but has to be at least 1 and at most 4.6"),
    ({"training": {"epochs": True}}, "training.epochs is true, but has to be a whole number"),
    ({"training": None}, "training is null, but has to hold settings"),
    ({"data": {"root": ""}}, "data.root is empty"),
    ({"data": {"classes": [[1]]}}, "a name in data.classes is [1]"),
    ({"training": {"clip_norm": float("nan")}}, "training.clip_norm is nan"),
    ({"training": {"epochs": "many"}}, "training.epochs"),
    ({"optimizer": {"milestones": [0.9, 0.5]}}, "optimizer.milestones"),
    ({"model": {"pixel_std": [1, 0, 1]}}, "model.pixel_std"),
    ({"data": {"classes": []}}, "data.classes"),
    ({"data": {"root": None}}, "data.root is empty"),
    ({"optimizer": {"lr": None}}, "optimizer.lr is empty"),
    ({"model": {"pixel_mean": [float("nan"), 0, 0]}}, "model.pixel_mean"),
    ({"model": {"pixel_std": [1, float("nan"), 1]}}, "model.pixel_std"),
    ({"model": {"box_sizes": [1, 2, 3, 4, float("inf")]}}, "model.box_sizes"),
    ({"data": {"classes": ["a", "a"]}}, "data.classes"),
    ({"loss": {"divisor": "size"}}, "step_positives"),
    ({"data": {"workers": "many"}}, "data.workers is 'many', but has to be auto or a whole number"),
    ({"data": {"workers": 257}}, "data.workers is 257, but has to be at least 0 and at most 256"),
    ({"checkpoint": {"keep": 1}}, "2 or more"),
    ({"augment": {"engine": "library", "mixup_probability": 0.1}}, "library, but has to be device"),
    ({"augment": {"engine": "none", "mosaic_probability": 1}}, "none, but has to be device for"),
]


@pytest.mark.parametrize(("settings", "hint"), MISTAKES)
def test_a_mistake_names_the_setting_in_one_line(settings, hint):
    with pytest.raises(UserError) as caught:
        to_config(settings)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("training: {epochs: !!int x}", "a value does not fit its tag"),
        ("data:\n  root: @x", "found character '@' that cannot start any token: see line 2"),
        ("a: 1\nb: - ", "sequence entries are not allowed here: see line 2"),
    ],
)
def test_what_is_not_yaml_is_told_without_the_words_of_a_library(text, told):
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value) == f"f.yaml is not YAML: {told}"


def test_an_empty_section_is_none_and_a_date_is_a_text():
    config = to_config(parse_yaml("training:\ndata:\n  eval_split: 2026-01-01\n", "f.yaml"))
    assert config.training == TrainingConfig()
    assert config.data.eval_split == "2026-01-01"


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "", "a: [", "a: !!python/object:os.system {}", "&a [*a]", "\0", "- " * 50_000],
)
def test_what_is_not_a_config_is_refused(text):
    with pytest.raises(UserError, match="some file") as caught:
        parse_yaml(text, "some file")
    assert "\n" not in str(caught.value)


def test_damaged_configs_end_in_one_line_or_in_a_config(repository):
    generator = random.Random(0)
    sound = (repository / "configs" / "ssd300_vgg16_voc.yaml").read_bytes()
    refused = 0
    for _ in range(60):
        content = bytearray(sound)
        for _ in range(generator.choice([1, 3, 30])):
            place = generator.randrange(len(content))
            match generator.randrange(3):
                case 0:
                    content[place] = generator.randrange(256)
                case 1:
                    del content[place : place + generator.randrange(1, 40)]
                case _:
                    content[place:place] = generator.randbytes(3)
        Path("damaged.yaml").write_bytes(content)
        problem = problem_of(read_config, ["damaged.yaml"])
        assert "\n" not in problem
        refused += problem != ""
    assert refused > 20


def problem_of(function, *arguments) -> str:
    """What the user is told, or nothing where all went well."""
    try:
        function(*arguments)
    except UserError as error:
        return str(error)
    return ""


def test_every_config_of_the_project_is_sound(repository):
    paths = sorted((repository / "configs").glob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        read_config([path])


def test_shapes_are_drawn_only_at_the_default_root_or_on_request(repository, tmp_path):
    quickstart = repository / "configs/quickstart.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text("data: {root: mine}")

    def format_of(*files, **data):
        overrides = {"data": data}
        config = read_config(files, overrides)
        assert overrides == {"data": data}
        return config.data.format

    assert format_of(quickstart) == format_of() == "shapes"
    assert format_of(quickstart, root="datasets/shapes", workers=0) == "shapes"
    assert format_of(quickstart, root="mine", format="shapes") == "shapes"
    assert format_of(quickstart, root="mine", format="voc") == "voc"
    for alone in (format_of(quickstart, root="mine"), format_of(root="mine"), format_of(mine)):
        assert alone == "auto"
    assert format_of(quickstart, mine) == "auto"
    assert format_of(mine, format="shapes") == "shapes"
    assert format_of(repository / "configs/custom_voc.yaml", root="mine") == "auto"


def test_flat_and_nested_settings_are_the_same():
    flat = nested({"data.root": "x", "data.workers": 0, "loss.match_iou": 0.4})
    assert flat == nested({"data": {"root": "x", "workers": 0}, "loss": {"match_iou": 0.4}})
    assert to_config(flat).data.workers == 0
    with pytest.raises(UserError, match=r"did you mean data\.root"):
        nested({"root": "x"})

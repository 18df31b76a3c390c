from dataclasses import fields

from ssd.config import Config
from ssd.config.help import docs_of, help_text, setting_names


def test_every_setting_has_a_text_and_stands_in_the_whole_help():
    sections = [field.name for field in fields(Config)]
    text = help_text("ssd train", "", [], sections, [], whole=True)
    for name in setting_names():
        section, key = name.split(".")
        assert docs_of(type(getattr(Config(), section)))[key].strip()
        assert f"\n  --{name} " in text
    assert "(default: sgd)" in text
    assert "--training.steps N|null" in text
    assert "--data.workers auto|N" in text
    assert "--training.deterministic true|false" in text
    assert "--model.box_sizes [X, …]|null" in text


def test_the_short_help_has_the_common_settings_alone():
    text = help_text("ssd x", "", [], ["loss"], ["loss.divisor", "training.epochs"], whole=False)
    assert "--loss.divisor step_positives|rank_positives" in text
    assert "--training.epochs" not in text  # it is not among those that are used
    assert "--loss.match_iou" not in text
    assert "shows all 14 settings" in text

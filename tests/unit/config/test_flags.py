"""The command line: the order of its words, and what argparse alone would get wrong."""

import pytest

from ssd.common.errors import UserError
from ssd.config.flags import CommandLine


def parse(*words):
    line = CommandLine("ssd test", "", ["training"])
    line.add("run", "RUN", "a run", nargs="?")
    line.add("images", "IMAGE", "images", nargs="*")
    line.add("--out", "DIR", "a folder")
    line.add("--seeds", "S …", "numbers", int, nargs="+")
    return line.parse(words).as_dict()


@pytest.mark.parametrize(
    "words",
    [
        ("r", "a", "b", "--out", "o", "--seeds", "1", "2"),
        ("r", "--out", "o", "a", "--seeds=1", "b", "--seeds", "1", "2"),
        ("--out=o", "r", "a", "--seeds", "1", "2", "--", "b"),
        ("--seeds", "1", "2", "--out", "o", "r", "a", "b"),
    ],
)
def test_words_without_dashes_may_stand_anywhere(words):
    assert parse(*words) == {"run": "r", "images": ["a", "b"], "out": "o", "seeds": [1, 2]}


def test_the_beginning_of_a_name_is_not_taken_for_it():
    with pytest.raises(UserError, match=r"training\.epoch: did you mean training\.epochs"):
        parse("--training.epoch", "3")


def test_a_value_may_begin_with_a_dash():
    assert parse("r", "--seeds", "-3", "1")["seeds"] == [-3, 1]


@pytest.mark.parametrize("words", [("--out",), ("--training.epochs", "--out", "o")])
def test_a_flag_without_a_value_is_told(words):
    with pytest.raises(UserError, match=f"{words[0]} has no value"):
        parse(*words)


def test_a_name_without_its_section_means_that_of_training():
    with pytest.raises(UserError, match=r"batch-size: did you mean training\.batch_size"):
        parse("--batch-size", "1")

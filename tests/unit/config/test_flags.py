"""The command line: the order of its words, and what argparse alone would get wrong."""

import re

import pytest

from ssd.common.errors import UserError
from ssd.config.flags import CommandLine
from ssd.config.help import rule_of
from ssd.config.settings import SECTIONS, SETTING_NAMES, parse_yaml, to_config


def parse(*words):
    line = CommandLine("ssd test", "", ["training"])
    line.add("run", "RUN", "a run", nargs="?")
    line.add("images", "IMAGE", "images", nargs="*")
    line.add("--out", "DIR", "a folder")
    line.add("--seeds", "S …", "numbers", int, nargs="+")
    line.add("--share", "X", "a number", float)
    line.add("--all", "", "a switch", bool)
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
    with pytest.raises(UserError, match=r"training\.epoch: did you mean --training\.epochs"):
        parse("--training.epoch", "3")


@pytest.mark.parametrize(
    "words",
    [
        ["--model.input_size", "256x512"],
        ["--model.input_size=256x512"],
        ["--model.input_size", "[256, 512]"],
        ["--model.input_size=[256,512]"],
    ],
)
def test_an_input_size_has_two_spellings(words):
    assert parse(*words)["model"] == {"input_size": [256, 512]}


def test_a_value_may_begin_with_a_dash():
    assert parse("r", "--seeds", "-3", "1")["seeds"] == [-3, 1]


@pytest.mark.parametrize("words", [("--out",), ("--training.epochs", "--out", "o")])
def test_a_flag_without_a_value_is_told(words):
    with pytest.raises(UserError, match=f"{words[0]} has no value"):
        parse(*words)


def test_a_name_without_its_section_means_that_of_training():
    with pytest.raises(UserError, match=r"batch-size: did you mean training\.batch_size"):
        parse("--batch-size", "1")


MISTAKES = {
    ("--seeds", "1", "x"): "--seeds is x, but has to be a whole number",
    ("--seeds", "1.5"): "--seeds is 1.5, but has to be a whole number",
    ("--share", "x"): "--share is x, but has to be a number",
    ("--all=yes",): "--all takes no value: leave =yes out",
    ("--out", ""): "--out has no value: give one",
    ("--out=",): "--out has no value: give one",
    ("--training.epochs=",): "--training.epochs has no value: give one",
    ("--training", "5"): "--training is a section: give its settings one by one, as --training.KEY",
    ("--training={epochs: 3}",): "--training is a section",
    ("--training.epochs.x", "3"): "there is no flag --training.epochs.x: did you mean",
    ("--print_config",): "there is no flag --print_config: --help lists",
    ("--otu", "x"): "there is no flag --otu: did you mean --out?",
    ("-x",): "there is no flag -x",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_in_words_about_the_flag(words):
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert str(caught.value).startswith(MISTAKES[words])


def test_a_command_without_settings_says_so_and_what_is_too_much():
    line = CommandLine("ssd test RUN", "")
    line.add("run", "RUN", "a run", nargs="?")
    with pytest.raises(UserError, match=r"^ssd test takes no settings: leave --data\.root out$"):
        line.parse(["--data.root", "x"])
    with pytest.raises(UserError, match=r"^b is more than the command takes: ssd test RUN$"):
        line.parse(["a", "b"])


def test_after_two_dashes_a_name_may_begin_with_one():
    assert parse("--seeds", "1", "--", "r", "-x.jpg")["images"] == ["-x.jpg"]


WRONG = ("x", "-1", "null", "[a, [b]]", "{a: 1}", "9" * 25, "true")
INNER = re.compile(
    r"Literal|Union|Optional|Namespace|Group|NoneType|None|True|<class|[Pp]arser|Expected|"
    r"datetime|NestedArg|unicode string|\n"
)


def test_no_wrong_value_of_any_setting_shows_the_inner_words_of_a_library():
    line = CommandLine("ssd test", "", SECTIONS)
    kinds = {rule_of(name): name for name in SETTING_NAMES}
    told = []
    for name in kinds.values():
        section, key = name.split(".")
        for value in WRONG:
            told += problems(line.parse, [f"--{name}", value])
            told += problems(config_of_yaml, f"{section}: {{{key}: {value}}}")
    assert len(told) > 7 * len(kinds)
    assert [text for text in told if INNER.search(text)] == []


def config_of_yaml(text):
    return to_config(parse_yaml(text, "f.yaml"))


def problems(function, argument):
    """What the user is told, if anything."""
    try:
        function(argument)
    except UserError as error:
        return [str(error)]
    return []

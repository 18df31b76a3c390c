import sys

import pytest
import torch

from benchmarks.command import main
from benchmarks.gpu import command
from benchmarks.gpu.bars import Bar, bars_for
from benchmarks.gpu.command import DOCS
from benchmarks.gpu.rows import Note, Row
from benchmarks.gpu.table import BEGIN, END, table, write_table
from ssd.common.errors import UserError
from tests.benchmarks.fake_parts import PARTS

TABLE = """\
a card

```sh
a command
```

| | measured | bar | reached | details |
|---|---|---|---|---|
| rate | **2,278** images/s | ≥ 2,250 | yes | 56 ms |
| time | **3.04** ms | ≤ 3 | **no** |  |
| waits | **0** |  |  | a / b |

Not measured to the end:

- `vgg16: left out, no time`"""


def test_the_table():
    told = [
        Row("rate", 2278.4, "images/s", "56 ms"),
        Row("time", 3.04, "ms"),
        Note("vgg16", "left out, no time"),
        Row("waits", 0, "", "a | b"),
    ]
    bars = {"rate": Bar(2250), "time": Bar(3, highest=True), "other": Bar(1)}
    assert table("a card", "a command", told, bars) == TABLE
    assert str(told[0]).split() == ["rate", "2,278", "images/s", "56", "ms"]
    assert str(told[2]) == "vgg16: left out, no time"


def test_it_is_written_between_its_marks_or_into_a_file_of_its_own(tmp_path):
    file = tmp_path / "figures.md"
    write_table(file, "first")
    assert file.read_text() == f"{BEGIN}\n\nfirst\n\n{END}\n"
    file.write_text(f"above\n\n{file.read_text()}\nbelow\n")
    write_table(file, "second")
    assert file.read_text() == f"above\n\n{BEGIN}\n\nsecond\n\n{END}\n\nbelow\n"
    other = tmp_path / "other.md"
    other.write_text("text of somebody")
    with pytest.raises(UserError, match=r"other\.md has no lines"):
        write_table(other, "third")
    assert other.read_text() == "text of somebody"


def test_the_documentation_has_a_place_for_it():
    text = DOCS.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1


def test_the_bars_of_a_card():
    step = "step, VGG16, batch 128, compiled + graph"
    assert bars_for("NVIDIA H100 80GB HBM3")[step] == Bar(2000)
    assert bars_for("NVIDIA H200")[step] == Bar(2250)
    assert set(bars_for("Tesla T4")) < set(bars_for("NVIDIA H200"))
    assert step not in bars_for("Tesla T4")
    reached = [Bar(3).is_reached(3), Bar(3).is_reached(2.9)]
    assert reached == [True, False]
    assert [Bar(3, True).is_reached(3), Bar(3, True).is_reached(3.1)] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["vgg17"], "there is no part vgg17: take some of waits, matmul, vgg16, "),
        (["--data.root", "nowhere"], "--data.root nowhere is not a folder"),
        (["--minutes", "0"], "--minutes has to be above 0"),
        (["--out", "mine.md"], "--out mine.md has no lines"),
        (["--out", "new.md"], "torch sees no CUDA device here"),
    ],
)
def test_a_mistake_is_told_at_once(tmp_path, monkeypatch, arguments, problem):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "mine.md").write_text("text")
    with pytest.raises(UserError) as error:
        main(["gpu", *arguments])
    assert str(error.value).startswith(problem)
    assert not (tmp_path / "new.md").exists()


def test_the_command_measures_prints_and_writes(tmp_path, repository, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(command, "autocast_dtype", lambda *_arguments: torch.bfloat16)
    monkeypatch.setattr("signal.signal", lambda *_arguments: None)
    monkeypatch.setattr(command, "PARTS", PARTS)
    fake = str(repository / "tests" / "benchmarks" / "fake_parts.py")
    monkeypatch.setattr(command, "COMMAND", [sys.executable, fake])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    given = ["gpu", "knows", "measures", "--data.workers", "5", "--out", "new file.md"]
    assert main(given) == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert "· NVIDIA H200, " in head
    assert [line.split()[0] for line in lines] == ["rate", "twice", "seen"]
    assert last == "written to new file.md"
    written = (tmp_path / "new file.md").read_text()
    assert f"{head}\n\n```sh\npython tools/benchmark.py {' '.join(given[:5])}" in written
    assert "--out 'new file.md'" in written
    assert "| rate | **50** images/s |  |  | 5 workers |" in written

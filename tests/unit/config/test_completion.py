import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")


def completed(line: str, tmp_path) -> list[str]:
    """The words that the shell offers at the end of a line."""
    out = tmp_path / "words"
    out.touch()
    shell = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line.encode()))}
    words = {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "COMP_TYPE": "9"}
    done = subprocess.run(
        [sys.executable, "-m", "ssd"],
        env=os.environ | shell | words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out.read_text().split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ssd tr", ["train"]),
        ("ssd train cus", ["custom_coco", "custom_voc"]),
        ("ssd train custom_voc --data.cac", ["--data.cache", "--data.cache_gb"]),
        ("ssd train --optimizer.name ", ["sgd", "adamw"]),
        ("ssd train --data.cache ", ["auto", "none", "host", "device"]),
        ("ssd train --data.workers ", ["auto"]),
        ("ssd train --resume ", ["auto", "never"]),
        ("ssd predict --mi", ["--min-score"]),
        ("ssd predict --augment.", []),
        ("ssd nothing --x", []),
        ("ssd recipes quick", ["quickstart"]),
    ],
)
def test_the_shell_completes_names_flags_and_values(line, words, tmp_path):
    assert completed(line, tmp_path) == words
    assert not (tmp_path / "runs").exists()

"""The rooms that can be entered without torch; `lint-imports` checks the order of all."""

import subprocess
import sys

CODE = """
import sys
import ssd.report.page, ssd.run.rows, ssd.spikes.explain, ssd.spikes.read, ssd.spikes.watch
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""


def test_a_run_is_read_explained_watched_and_reported_without_torch(repository):
    """In a fresh interpreter: this one has torch already."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")

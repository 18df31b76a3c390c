"""Evaluates a detector; see `ssd/commands/evaluate.py`."""

from ssd.commands.evaluate import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

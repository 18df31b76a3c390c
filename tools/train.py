"""Trains a detector; see `ssd/commands/train.py`."""

from ssd.commands.status import run
from ssd.commands.train import main

if __name__ == "__main__":
    run(main)

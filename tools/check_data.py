"""Tells what is wrong with a data set, and what is in it: a door to `ssd/commands/check.py`."""

from ssd.commands.check import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

"""Checks a data set and summarises its content; see `ssd/commands/check.py`."""

from ssd.commands.check import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

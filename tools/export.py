"""Hands what a run has learned to torchvision: a door to `ssd/commands/export.py`."""

from ssd.commands.export import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

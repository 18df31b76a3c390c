"""Exports a run's weights to torchvision; see `ssd/commands/export.py`."""

from ssd.commands.export import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

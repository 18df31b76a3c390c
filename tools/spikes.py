"""Runs the spike experiment, or explains the spikes of a run; see `ssd/commands/spikes.py`."""

from ssd.commands.spikes import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

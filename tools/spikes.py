"""The experiment on the regular spike, and any run explained: `ssd/commands/spikes.py`."""

from ssd.commands.spikes import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

"""Detects objects in images; see `ssd/commands/predict.py`."""

from ssd.commands.predict import main
from ssd.commands.status import run

if __name__ == "__main__":
    run(main)

"""The files of a run: checkpoints, rows and results."""

"""What a run leaves on disk: its checkpoints, its rows, its results."""

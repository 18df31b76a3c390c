"""The training run: the step, the loop around it, and the files it writes."""

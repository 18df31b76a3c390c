"""Finds regular spikes in the loss of a run's log and explains them."""

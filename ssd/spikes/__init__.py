"""What a run's log says about its loss: are there regular spikes, and why."""

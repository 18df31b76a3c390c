"""Training of SSD object detectors whose loss never depends on how a step's images are split."""

"""PackedSamples → Batch: a plan is drawn, then applied to the pixels."""

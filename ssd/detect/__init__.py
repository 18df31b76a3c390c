"""A trained run → a detector: loaded, evaluated, run on images, exported."""

"""A trained run → a detector: loaded, judged, put to use on images, exported."""

"""Keeps the libraries quiet: their warnings are for programmers, and stand between our lines."""

from __future__ import annotations

import logging
import os
import sys
import warnings

LIBRARIES = {  # before they are imported
    "NO_ALBUMENTATIONS_UPDATE": "1",  # it asks the network for its newest version
    "OPENCV_LOG_LEVEL": "SILENT",  # we tell which image is broken
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # and which video
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def quiet_libraries() -> None:
    """Silences the warnings of libraries, unless `python -W` or the environment asks for them."""
    for name, value in LIBRARIES.items():
        os.environ.setdefault(name, value)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of its cache of fonts
    if not sys.warnoptions:
        warnings.simplefilter("ignore")

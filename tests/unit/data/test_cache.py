import mmap
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loader import NUM_IMAGES, ORDER, contents

from ssd.augment.batch import Preprocess
from ssd.config import AugmentConfig
from ssd.data import cache as cache_module
from ssd.data import dataset as dataset_module
from ssd.data.cache import HostCache, image_bytes, memory_needed, num_that_fit
from ssd.data.dataset import DetectionDataset
from ssd.data.device_cache import decode_onto
from ssd.data.loader import training_steps
from ssd.data.voc import read_voc
from ssd.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


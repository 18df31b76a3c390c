"""Postprocesses with fixed shapes, for test_padded.py: `run_padded.py JOBS RESULTS`, two files."""

import sys

import torch

from ssd.detect import kernel
from ssd.detect.padded import padded_detections


def main(jobs: str, results: str) -> None:
    rows = {}
    for name, (block, arguments) in torch.load(jobs, weights_only=False).items():
        kernel.BLOCK = block
        rows[name] = padded_detections(*arguments)
    torch.save(rows, results)


if __name__ == "__main__":
    main(*sys.argv[1:])

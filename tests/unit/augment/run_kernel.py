"""Applies plans with the kernel, for test_kernel.py: `run_kernel.py JOBS RESULTS`, two files."""

import sys

import torch

from ssd.augment import kernel


def main(jobs: str, results: str) -> None:
    images = {}
    for name, (tile, arguments) in torch.load(jobs, weights_only=False).items():
        kernel.TILE = tile
        images[name] = kernel.apply_plan(*arguments)
    torch.save(images, results)


if __name__ == "__main__":
    main(*sys.argv[1:])

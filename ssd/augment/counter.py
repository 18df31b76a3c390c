"""Random numbers as a pure function of seed, image and epoch: Philox4x32-10 in PyTorch.

There is no state, so the order of the draws, the device and the other images of a batch make no
difference. The arithmetic is on integers, so the results are equal bit for bit everywhere.
Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), and its Random123.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Four random words for every counter of four words; each is 32 bits held in int64.

    A product of two words may wrap around in int64, but its 64 bits are still right.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, high1 = (product0 >> 32) & _WORD, (product1 >> 32) & _WORD
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, product1 & _WORD, high0 ^ c3 ^ k1, product0 & _WORD
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def uniforms(keys_B: Tensor, epochs_B: Tensor, seed: int, count: int) -> Tensor:
    """Uniform random numbers [B, count], float32 in [0, 1), of 24 bits each.

    The Philox key is the seed (64 bits); the counter is (block of four numbers, image key,
    epoch, 0). The first numbers of an image do not depend on `count`.
    """
    shape = len(keys_B), -(-count // 4)
    blocks = torch.arange(shape[1], device=keys_B.device).expand(shape)
    keys, epochs = (words[:, None].expand(shape) & _WORD for words in (keys_B, epochs_B))
    counter = (blocks, keys, epochs, torch.zeros_like(blocks))
    key = seed & _WORD, (seed >> 32) & _WORD
    words_BN = torch.stack(philox(counter, key), -1).flatten(1)
    return (words_BN[:, :count] >> 8).float() * 2.0**-24

import numpy as np
import pytest
import torch

from ssd.augment.counter import philox, uniforms

# Random123's published known answers for philox4x32, 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, result):
    c0, c1, c2, c3 = (torch.tensor([word]) for word in words(counter))
    k0, k1 = words(key)
    assert [int(word) for word in philox((c0, c1, c2, c3), (k0, k1))] == words(result)


def test_uniforms_are_the_high_24_bits_of_the_words():
    key, epoch, seed = 0x13198A2E, 7, 0x299F31D0A4093822
    drawn = uniforms(torch.tensor([key]), torch.tensor([epoch]), seed, 6)[0].tolist()
    expected = []
    for block in range(2):
        counter = tuple(torch.tensor([word]) for word in (block, key, epoch, 0))
        expected += [(int(word) >> 8) / 2**24 for word in philox(counter, (0xA4093822, 0x299F31D0))]
    assert drawn == expected[:6]


def test_uniforms_of_an_image_do_not_depend_on_the_batch_or_the_count():
    keys, epochs = torch.tensor([3, 2**32 - 1, 3]), torch.tensor([0, 5, 1])
    together = uniforms(keys, epochs, 11, 50)
    for index in range(3):
        alone = uniforms(keys[index : index + 1], epochs[index : index + 1], 11, 9)
        assert torch.equal(together[index, :9], alone[0])
    assert not torch.equal(together[0], together[2])
    assert not torch.equal(together, uniforms(keys, epochs, 12, 50))
    assert not torch.equal(together, uniforms(keys, epochs, 11 + 2**32, 50))


def test_uniforms_are_uniform_and_uncorrelated():
    drawn = uniforms(torch.arange(500), torch.zeros(500, dtype=torch.int64), 0, 400).numpy()
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, 100, (0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()  # 99 degrees of freedom
    assert 50 < chi_square < 160  # mean 99, deviation 14: within about four deviations
    neighbours = [(drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])]
    for left, right in neighbours:  # deviation of the correlation: 1 / sqrt(200,000) = 0.0022
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.01


def test_no_numbers_and_no_images():
    assert uniforms(torch.tensor([1]), torch.tensor([0]), 0, 0).shape == (1, 0)
    empty = torch.zeros(0, dtype=torch.int64)
    assert uniforms(empty, empty, 0, 5).shape == (0, 5)

"""Exploration noise against the definition of its generator, and its statistics."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from parc_ray.recording.noise import directions, push

MASK = 2**64 - 1


def philox(key, counter):
    """Philox4x64-10 as its paper defines it: four words for a counter of four."""
    (k0, k1), (a, b, c, d) = key, counter
    for _ in range(10):
        low, high = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (high >> 64) ^ b ^ k0, high & MASK, (low >> 64) ^ d ^ k1, low & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return a, b, c, d


def truth(name: bytes, count: int):
    key = struct.unpack("<2Q", hashlib.sha256(name).digest()[:16])
    # numpy counts up before it computes the first block.
    blocks = [philox(key, (1 + block, 0, 0, 0)) for block in range(-(-count // 4))]
    words = [word for block in blocks for word in block][:count]
    sums = [sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48)) for word in words]
    return (np.array(sums, dtype=np.float64) - 131070) / np.sqrt((2.0**32 - 1) / 3)


def test_it_is_a_sum_of_what_philox_gives():
    noise = directions((7, "walk", 3, 2), 3, 7)
    assert noise.dtype == np.float32 and noise.shape == (3, 7)
    assert np.abs(noise.ravel() - truth(b'[7, "walk", 3, 2]', 21)).max() < 1e-6


def test_the_same_bits_under_every_numpy_and_python():
    noise = directions((0, "Läufer|1", 16, 4), 16, 28)
    digest = hashlib.sha256(noise.astype("<f4").tobytes()).hexdigest()
    assert digest == "1994c84b4beb8e574b4b76697dac1e6e82035bbe7ebb97f0e532a4dfbb026454"


def test_copies_do_not_depend_on_their_number():
    few, many = (directions((1, "walk", 0), copies, 28) for copies in (4, 64))
    assert np.array_equal(few, many[:4])


@pytest.mark.parametrize("other", [(2, "walk", 16, 0), (1, "walk2", 16, 0), (1, "walk", 32, 0), (1, "walk", 16, 1)])
def test_other_keys_give_unrelated_numbers(other):
    one, two = (directions(key, 200, 28) for key in ((1, "walk", 16, 0), other))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05


def test_unit_variance_nearly_normal_and_uncorrelated():
    noise = directions(("variance",), 5000, 28).astype(np.float64)
    assert np.abs(noise.mean(axis=0)).max() < 0.06 and np.abs(noise.std(axis=0) - 1.0).max() < 0.04
    # Normal: 68.3 % within one standard deviation, 95.4 % within two; the sum of four uniforms: 67 and 95.8.
    assert abs((np.abs(noise) < 1).mean() - 0.683) < 0.02 and abs((np.abs(noise) < 2).mean() - 0.954) < 0.01
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.02
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.02


@pytest.mark.parametrize("window", [1, 2, 3, 7, 10, 20])
def test_a_push_swells_and_fades(window):
    shape = push(window)
    assert shape.dtype == np.float32 and len(shape) == window
    assert np.array_equal(shape, shape[::-1]) and shape.min() > 0.0 and shape.max() <= 1.0
    assert (np.diff(shape[: (window + 1) // 2]) > 0).all()

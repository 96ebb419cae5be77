"""How fast bodies in contact slide, against motions whose speed is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from parc_ray.tracking.sliding import mean_speed, slides

FPS = 50.0
OWNERS = torch.tensor([0, 1, 1, 1, 1])
"""A body with one point, and a sole of four corners."""
SOLE = torch.tensor([[0.1, 0.05, 0.0], [0.1, -0.05, 0.0], [-0.1, 0.05, 0.0], [-0.1, -0.05, 0.0]])


def rows(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)[:, None]


def points(places: Tensor, pitch: Tensor) -> Tensor:
    """Surface points [n, 5, 3] of a foot at places [n, 3] with its toe up by angles [n], and of a body far above it."""
    x, z = SOLE[:, 0], SOLE[:, 0]
    turned = torch.stack(
        (torch.cos(pitch)[:, None] * x, SOLE[:, 1].expand(len(pitch), 4), torch.sin(pitch)[:, None] * z), dim=-1
    )
    above = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(len(places), 1, 3)
    return torch.cat((above + places[:, None], turned + places[:, None]), dim=1)


def measure(surface: Tensor, contacts: list[list[float]], begins: tuple[int, ...] = (0,)) -> Tensor:
    first = torch.zeros(len(surface), dtype=torch.bool)
    first[list(begins)] = True
    return slides(surface, OWNERS, torch.tensor(contacts), first, FPS)


def test_a_foot_that_slides_has_its_horizontal_speed() -> None:
    places = torch.cat((0.3 * rows(10) / FPS, -0.4 * rows(10) / FPS, 0.1 * rows(10) / FPS), dim=1)
    slid = measure(points(places, torch.zeros(10)), [[0.0, 1.0]] * 10)
    assert slid[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(slid[1:], [[0.5, 1.0]] * 9, atol=1e-5)
    assert mean_speed(slid.numpy()) == pytest.approx(0.5, abs=1e-5)


def test_a_foot_in_the_air_does_not_count() -> None:
    """Nor do the frames in which it lands and lifts off."""
    places = torch.cat((0.5 * rows(8) / FPS, 0 * rows(8), 0 * rows(8)), dim=1)
    slid = measure(points(places, torch.zeros(8)), [[0.0, float(2 <= k < 5)] for k in range(8)])
    assert slid[:, 1].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert mean_speed(slid.numpy()) == pytest.approx(0.5, abs=1e-5)
    assert mean_speed(measure(points(places, torch.zeros(8)), [[0.0, 0.0]] * 8).numpy()) == 0.0


def test_a_foot_that_rolls_over_its_heel_does_not_slide() -> None:
    """The heel stays where it is, and the middle of the foot moves at up to 0.1 m x 2 rad/s."""
    pitch = math.radians(40) - 2.0 * torch.arange(15) / FPS
    heel = torch.stack((0.1 * torch.cos(pitch), 0 * pitch, 0.1 * torch.sin(pitch)), dim=1)
    slid = measure(points(heel, pitch), [[0.0, 1.0]] * 15)
    assert mean_speed(slid.numpy()) < 1e-4
    fixed = measure(points(0 * heel, pitch), [[0.0, 1.0]] * 15)
    assert mean_speed(fixed.numpy()) > 0.05


def test_attempts_one_after_the_other_do_not_mix() -> None:
    places = torch.cat((0.5 * rows(6) / FPS, 0 * rows(6), 0 * rows(6)), dim=1)
    jump = torch.cat((places, places + 7.0))
    slid = measure(points(jump, torch.zeros(12)), [[1.0, 1.0]] * 12, (0, 6))
    assert slid[6].tolist() == [0.0, 0.0]
    assert torch.equal(slid[:6], slid[6:]) or torch.allclose(slid[:6], slid[6:], atol=1e-4)
    assert slid[1].tolist() == pytest.approx([1.0, 2.0], abs=1e-4)


def test_a_row_does_not_depend_on_its_company() -> None:
    random = torch.Generator().manual_seed(0)
    surface = torch.randn(40, 5, 3, generator=random)
    contacts = (torch.rand(40, 2, generator=random) > 0.3).float().tolist()
    whole = measure(surface, contacts, (0, 10, 25))
    for begin, end in ((0, 10), (10, 25), (25, 40)):
        assert torch.equal(whole[begin:end], measure(surface[begin:end], contacts[begin:end]))


def test_what_is_not_a_number_stays_in_its_attempt() -> None:
    surface = torch.zeros(8, 5, 3)
    surface[2] = math.nan
    slid = measure(surface, [[1.0, 1.0]] * 8, (0, 4))
    assert mean_speed(slid[4:].numpy()) == 0.0

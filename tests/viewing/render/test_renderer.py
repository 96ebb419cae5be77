"""Pictures of scenes: what must be seen in them, and where geometry says that it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterator

import numpy as np
import pytest
import torch

from parc_ray.character import rotations
from parc_ray.errors import InputError
from parc_ray.motions.height_field import HeightField
from parc_ray.motions.motion import Motion
from parc_ray.viewing.render import graphics, landscape
from parc_ray.viewing.render.camera import best_direction, direction_of, fitting_view, smooth_path
from parc_ray.viewing.render.graphics import Search
from parc_ray.viewing.render.landscape import DEPTH, landscape_model
from parc_ray.viewing.render.renderer import Look, Renderer, time_range
from parc_ray.viewing.scenes.scene import Clip, Scene, scene_of_file
from tests.viewing.render.drawing import backend, blue, humanoid, orange, pixel_of, walk

pytestmark = pytest.mark.slow

SIZE = (320, 240)


def renderer(scene: Scene, **look: Any) -> Renderer:
    return Renderer(scene, *humanoid(), backend(), Look(*SIZE, **look))


def part(motion: Motion, first: int, last: int, **moved: float) -> Motion:
    """Some frames of a motion, moved by x, y, z (m)."""
    offset = np.array([moved.get(axis, 0.0) for axis in "xyz"], dtype=np.float32)
    rows = slice(first, last)
    return replace(
        motion, root_pos=motion.root_pos[rows] + offset, root_rot=motion.root_rot[rows],
        joint_rot=motion.joint_rot[rows], contacts=motion.contacts[rows],
    )  # fmt: skip


def scene_of(*clips: Clip) -> Scene:
    return Scene("scene", clips, clips[0].motion.terrain)


@pytest.fixture(scope="module")
def alone() -> Iterator[Renderer]:
    with renderer(scene_of_file(walk())) as drawn:
        yield drawn


@pytest.fixture(scope="module")
def fixed() -> Iterator[Renderer]:
    with renderer(scene_of_file(walk()), camera="fixed") as drawn:
        yield drawn


def test_other_times_are_other_pictures_and_the_same_time_is_the_same_to_the_bit(alone):
    pictures = [alone.frame(time) for time in (0.5, 0.9, 0.5)]
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3) and pictures[0].dtype == np.uint8
    assert (pictures[0] != pictures[1]).any(axis=-1).mean() > 0.02
    assert (pictures[0] == pictures[2]).all()
    with renderer(scene_of_file(walk())) as again:
        assert (again.frame(0.5) == pictures[0]).all()


@pytest.mark.parametrize("camera", ["alone", "fixed"])
def test_the_character_is_where_a_pinhole_camera_sees_it(camera, request):
    drawn, motion = request.getfixturevalue(camera), walk()
    for frame in (0, 30, 60, 90):
        time = frame / motion.fps
        picture, view = drawn.frame(time), drawn.view(time)
        seen = blue(picture) | orange(picture)
        column, row = pixel_of(view, motion.root_pos[frame], *SIZE)
        assert seen[row, column], "the pelvis"
        assert seen[:row].sum() > 50 and seen[row:].sum() > 50, "head above, legs below"
        columns = np.flatnonzero(seen.any(axis=0))
        assert abs(columns.mean() - column) < 0.25 * SIZE[1], "around it"


def test_the_fixed_camera_sees_the_character_move_as_it_moves(fixed):
    """Neither left and right nor up and down are exchanged."""
    motion = walk()
    for first, second in ((0, 45), (45, 90)):
        places = [np.array(pixel_of(fixed.view(0), motion.root_pos[k], *SIZE)) for k in (first, second)]
        centres = [np.argwhere(blue(fixed.frame(k / motion.fps))).mean(axis=0)[::-1] for k in (first, second)]
        assert abs(places[1] - places[0]).max() > 10
        np.testing.assert_allclose(centres[1] - centres[0], places[1] - places[0], atol=6)


def test_every_cell_has_its_height_and_the_higher_one_is_brighter():
    heights = np.zeros((9, 9), dtype=np.float32)
    heights[6:, :] = 0.5
    terrain = HeightField(heights, np.stack([heights, heights], axis=-1), np.array([-1.6, -1.6]), 0.4)
    motion = part(walk(), 0, 2)
    motion = replace(motion, root_pos=motion.root_pos * (0, 0, 1), terrain=terrain)
    with renderer(scene_of_file(motion), camera="fixed") as drawn:
        picture, view = drawn.frame(0).astype(int), drawn.view(0)

        def shade(i: int, j: int) -> tuple[float, int]:
            column, row = pixel_of(view, (-1.6 + 0.4 * i + 0.1, -1.6 + 0.4 * j + 0.1, heights[i, j]), *SIZE)
            pixel = picture[row, column] if 0 <= row < SIZE[1] and 0 <= column < SIZE[0] else [0, 0, 255]
            return float(np.mean(pixel)), int(max(pixel) - min(pixel))

        low, high = ([shade(i, j) for j in range(9)] for i in (3, 7))
    low, high = ([bright for bright, tint in row if tint < 30] for row in (low, high))
    assert len(low) > 2 and len(high) > 2, "grey ground on both levels"
    assert np.median(high) > np.median(low) + 15


def test_bodies_in_contact_are_orange_unless_switched_off(alone):
    motion = walk()
    assert motion.contacts[20].max() > 0.5
    on = alone.frame(20 / motion.fps)
    with renderer(scene_of_file(motion), contacts=False) as plain:
        off = plain.frame(20 / motion.fps)
    assert orange(on).sum() > 20 and not orange(off).any()
    changed = (on != off).any(axis=-1)
    assert changed.sum() < 1.6 * orange(on).sum() and (changed | ~orange(on)).all()


def test_the_reference_is_a_ghost_and_can_be_left_out():
    motion = walk()
    clips = Clip("reference", motion), Clip("recording", part(motion, 0, 91, y=0.8))
    with renderer(scene_of(*clips)) as both, renderer(scene_of(*clips), reference=False) as one:
        assert len(both.drawn) == 2 and len(one.drawn) == 1
        view = both.view(1.0)
        there, here = (pixel_of(view, motion.root_pos[30] + (0, y, 0.1), *SIZE) for y in (0.0, 0.8))
        one._view, one._targets = both._view, both._targets
        ghost, none = both.frame(1.0).astype(int), one.frame(1.0).astype(int)
    column, row = there
    assert 10 < np.abs(ghost[row, column] - none[row, column]).max() < 120, "one can see through it"
    column, row = here
    assert blue(ghost)[row, column] and blue(none)[row, column]
    with renderer(scene_of(clips[0])) as alone:
        assert blue(alone.frame(1.0)).sum() > 500, "a reference without company is no ghost"
    with pytest.raises(InputError, match="leave out --no-reference"):
        renderer(scene_of(clips[0]), reference=False)


def test_attempts_begin_in_time_stay_where_they_fail_and_say_why():
    motion = walk()
    attempt = Clip("attempt", part(motion, 30, 61, y=0.6), 1.0, ending="fall\x1b[2J")
    with renderer(scene_of(Clip("reference", motion), attempt)) as drawn:
        assert time_range(scene_of(Clip("reference", motion), attempt), drawn.look) == (1.0, 2.0)

        def red(time: float) -> np.ndarray:
            picture = drawn.frame(time).astype(int)
            return (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 15)

        def labels(time: float) -> int:
            return int((drawn.frame(time) == 255).all(axis=-1).sum())

        assert red(0.5).sum() == 0, "not yet"
        assert red(1.5).sum() > 100 and labels(1.5) == 0
        assert red(2.5).sum() > 100 and labels(2.5) > 30
        column, row = pixel_of(drawn.view(2.5), attempt.motion.root_pos[-1] + (0, 0, 1.12), *SIZE)
        assert red(2.5)[row - 4 : row + 4, column - 3 : column + 3].any(), "an arrow above it"
    recorded = scene_of(Clip("recording", motion), attempt)
    with renderer(recorded) as hidden:
        assert [drawn.clip.kind for drawn in hidden.drawn] == ["recording"]
    with renderer(recorded, attempts=True) as shown:
        assert [drawn.clip.kind for drawn in shown.drawn] == ["recording", "attempt"]


def test_a_composite_shows_all_its_poses(fixed):
    motion = walk()
    picture = fixed.composite([0.0, 1.5, 3.0])
    for frame in (0, 45, 90):
        column, row = pixel_of(fixed.view(0), motion.root_pos[frame], *SIZE)
        assert blue(picture)[row, column]
    singles = sum(int(blue(fixed.frame(time)).sum()) for time in (0.0, 1.5, 3.0))
    assert blue(picture).sum() == pytest.approx(singles, rel=0.15)


def test_far_from_the_origin_the_picture_is_the_same(alone):
    motion, far = walk(), np.array([65536.0, -32768.0, 0.0], dtype=np.float32)
    terrain = replace(motion.terrain, min_point=motion.terrain.min_point + far[:2])
    # What single precision can tell of positions there.
    near = replace(
        motion, root_pos=motion.root_pos + far - far, terrain=replace(terrain, min_point=terrain.min_point - far[:2])
    )
    with renderer(scene_of_file(replace(motion, root_pos=motion.root_pos + far, terrain=terrain))) as drawn:
        picture = drawn.frame(1.0).astype(int)
    with renderer(scene_of_file(near)) as drawn:
        assert (np.abs(picture - drawn.frame(1.0)).max(axis=-1) > 30).mean() < 0.02


# ---------------------------------------------------------------------------------------------- terrain


@pytest.mark.parametrize("seed", range(3))
def test_the_block_is_closed_faces_outwards_and_has_the_volume_of_its_columns(seed):
    random = np.random.default_rng(seed)
    heights = random.integers(-3, 4, size=(5, 7)).astype(np.float32) / 4
    terrain = HeightField(heights, np.stack([heights, heights], axis=-1), random.normal(size=2), 0.3)
    bottom = float(heights.min()) - DEPTH
    corners, normals, _ = landscape._block(terrain, bottom)
    a, b, c, d = (corners[:, k] for k in range(4))
    area = np.cross(b - a, c - a) / 2 + np.cross(c - a, d - a) / 2
    np.testing.assert_allclose(area, np.linalg.norm(area, axis=1)[:, None] * normals, atol=1e-9)
    flux = (corners.mean(axis=1) * area).sum() / 3
    assert flux == pytest.approx(float((heights.astype(float) - bottom).sum()) * 0.3**2, rel=1e-5)
    np.testing.assert_allclose(area.sum(axis=0), 0, atol=1e-9)


def test_large_terrains_are_drawn_and_larger_ones_are_refused_with_a_way_out():
    heights = np.random.default_rng(0).uniform(0, 1, size=(120, 120)).astype(np.float32)
    terrain = HeightField(heights, np.stack([heights, heights], axis=-1), np.zeros(2), 0.4)
    assert landscape_model(terrain, 64, 64, 5.0, 100.0).nmeshface > 2 * 120 * 120
    huge = HeightField.flat((1000, 300))
    with pytest.raises(InputError, match=r"300000 cells, and at most 250000 .* --from and --to"):
        landscape_model(huge, 64, 64, 5.0, 100.0)
    with renderer(scene_of_file(replace(walk(), terrain=huge))) as drawn:
        assert blue(drawn.frame(0.0)).any(), "but only what is around the path counts"


# ---------------------------------------------------------------------------------------------- camera


@pytest.mark.parametrize("wall", ["left", "right"])
def test_the_camera_looks_from_the_side_without_a_wall(wall):
    heights = np.zeros((30, 30), dtype=np.float32)
    heights[:, 19 if wall == "left" else 10] = 3.0
    terrain = HeightField(heights, np.stack([heights, heights], axis=-1), np.array([-5.8, -5.8]), 0.4)
    path = np.stack([np.linspace(-2, 2, 20), np.zeros(20), np.ones(20)], axis=1)
    azimuth, elevation = best_direction(path, 0.0, 1.6, 6.0, terrain)
    eye = -6.0 * direction_of(azimuth, elevation)
    assert (eye[1] < 0) == (wall == "left")


def test_a_fitting_view_shows_all_points_and_not_much_else():
    points = np.random.default_rng(0).normal(size=(50, 3)) * (4, 2, 0.5)
    view = fitting_view(points, 40.0, -25.0, 16 / 9, 0.0)
    pixels = np.array([pixel_of(view, point, 1600, 900) for point in points])
    assert (pixels >= -1).all() and (pixels <= (1601, 901)).all()
    assert (np.ptp(pixels, axis=0) / (1600, 900)).max() > 0.97


def test_smoothing_keeps_ends_and_steady_movement_and_takes_shaking_away():
    times = np.linspace(0, 4, 121)
    steady = np.outer(times, (1.0, -2.0, 0.5))
    np.testing.assert_allclose(smooth_path(steady, times), steady, atol=1e-9)
    shaken = steady + 0.1 * np.sin(2 * np.pi * 4 * times)[:, None]
    assert np.abs(smooth_path(shaken, times) - steady)[20:-20].max() < 0.005
    np.testing.assert_allclose(smooth_path(shaken, times)[[0, -1]], shaken[[0, -1]], atol=1e-9)


# ---------------------------------------------------------------------------------------------- OpenGL


@pytest.mark.parametrize(
    ("trial", "told"),
    [
        ("import os; os.abort()", "egl: it crashes with signal 6; osmesa: it crashes with signal 6"),
        (
            "raise ImportError('no {backend} here')",
            "egl: ImportError: no egl here; osmesa: ImportError: no osmesa here",
        ),
        ("import time; time.sleep(60)", "egl: it hangs for 0.2 s"),
        ("import sys; sys.exit('it draws nothing')", "egl: it draws nothing"),
    ],
)
def test_without_opengl_the_message_tells_what_was_tried_and_what_to_install(monkeypatch, trial, told):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(graphics, "TRIAL", trial)
    monkeypatch.setattr(graphics, "TRIAL_SECONDS", 0.2 if "sleep" in trial else 30.0)
    with pytest.raises(InputError, match=f"nothing to draw with.*{told}.*apt-get install libegl1"):
        Search().result()


def test_the_second_library_is_used_where_the_first_fails(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(graphics, "TRIAL", "import sys; sys.exit('{backend}' == 'egl')")
    assert Search().result() == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "EGL")
    with pytest.raises(InputError, match=r"\(egl: exit code 1\)"):
        Search().result()
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(InputError, match="MUJOCO_GL='off'"):
        Search()


def test_hulls_look_like_the_boxes_of_the_same_corners():
    """The humanoid's feet, drawn as boxes and as hulls that are off and askew in their own frames."""
    scene, (skeleton, geoms) = scene_of_file(walk()), humanoid()
    feet = [k for k, geom in enumerate(geoms) if geom.shape == "box"]
    assert len(feet) == 2
    others = list(geoms)
    turn = rotations.axis_angle_to_quat(torch.tensor([0.6, 0.8, 0.0]), torch.tensor(0.7))
    for k in feet:
        corners = torch.cartesian_prod(*(torch.tensor([-half, half]) for half in geoms[k].size))
        own = rotations.quat_rotate(turn.expand(8, 4), corners) + torch.tensor([0.1, -0.2, 0.3])
        # The geom's frame undoes what was done to the corners.
        rotation = rotations.quat_conjugate(turn)
        position = -rotations.quat_rotate(rotation, torch.tensor([0.1, -0.2, 0.3])) + torch.tensor(geoms[k].position)
        hull = tuple(tuple(corner) for corner in own.tolist())
        others[k] = replace(
            geoms[k], shape="hull", hull=hull, position=tuple(position.tolist()), rotation=tuple(rotation.tolist())
        )
    pictures = []
    for own in (geoms, others, [geom for geom in geoms if geom.shape != "box"]):
        with Renderer(scene, skeleton, own, backend(), Look(*SIZE)) as renderer:
            pictures.append(renderer.frame(1.0).astype(int))
    boxes, hulls, without = pictures
    different = np.abs(boxes - hulls).max(axis=-1) > 24
    assert different.mean() < 0.002 < (np.abs(boxes - without).max(axis=-1) > 24).mean()

"""Hair taken away from a painted head before a painted wall, which are known."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import face_mesh
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.imaging.follow import STILL
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare, bare, relit
from vidhair.stages.bare_skin import TEXELS, from_atlas, lit, on_head, to_atlas
from vidhair.stages.bare_view import View, grown
from vidhair.stages.behind import (
    Behind,
    Moves,
    behind,
    between,
    body_of,
    in_one,
    kinds,
    middle_of,
    mirrored,
    neck_color,
    tint,
    usual_body,
    wall_of,
)
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.skull import (
    NUMBERS,
    REFERENCE,
    HeadPose,
    Look,
    Place,
    Skull,
    head_pose,
    look,
    mean_skull,
)
from vidhair.stages.skull import skull as find_skull
from vidhair.types import Frames
from vidhair.wiring import Span

HIGH, WIDE, SCALE = 150, 130, 24.0
SKIN, HAIR, SHIRT = (200, 150, 125), (40, 28, 20), (60, 90, 160)
WINDOW = HairWindow(0, 0, 1, HIGH, WIDE, 90.0)
REGION = HeadRegion(0.0, 0.0, 1.0, HIGH, WIDE)
FRAMES = 3
Levels = NDArray[np.uint8]


def place(frame: int) -> Place:
    return Place(np.eye(3), SCALE, np.array([62.0 + 3 * frame, 76.0]))


def wall() -> NDArray[np.float64]:
    rows, columns = np.mgrid[:HIGH, :WIDE]
    stripes = 12 * (columns // 5 % 2)
    return np.stack([110 + 0.2 * rows + stripes, 120 + stripes, 100 + stripes], -1)


def scene(frame: int) -> tuple[Levels, Levels, Levels, Levels, NDArray[np.float32]]:
    """The frame, the same without hair, its matte, labels, and mesh."""
    at = place(frame)
    mesh = face_mesh(at.shift[0], at.shift[1] + 0.1 * SCALE, 1.33 * SCALE)
    mesh[NUMBERS] = at.seen(REFERENCE)
    rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
    oval = polygon_mask(mesh[list(FACE_OVAL)], HIGH, WIDE) > 0.5
    seen, skull = look(mean_skull(1), at, WINDOW), mean_skull(1)
    head = (seen.inside > 0) | oval
    normal = seen.place / skull.axes[:, None, None]
    tone = 0.75 - 0.25 * normal[2] / np.sqrt(np.square(normal).sum(0))
    x, y = (columns - at.shift[0]) / SCALE, (rows - at.shift[1]) / SCALE
    neck = (abs(x) < 0.75) & (y > 0.4) & (y < 2.4)
    shirt = y > 1.7 + 0.3 * abs(x)
    bald = wall()
    for mask, color in ((neck, SKIN), (shirt, SHIRT), (head, SKIN)):
        bald[mask] = color
    bald[head] *= tone[head][:, None]
    cap = (np.hypot(x / 1.4, (y + 0.75) / 1.55) < 1) & ~((abs(x) < 0.8) & (y > -0.95))
    cap &= y < 0.9
    picture = np.where(cap[..., None], HAIR, bald)
    body, alpha = (neck | shirt) & ~head & ~cap, (cap * 255).astype(np.uint8)
    person = head | body | cap
    labels = np.stack([~person, (head | neck) & ~cap & ~shirt, cap, shirt & ~cap & ~head, person])
    return (
        picture.astype(np.uint8), bald.astype(np.uint8), alpha,
        (labels * 255).astype(np.uint8), mesh.astype(np.float32),
    )  # fmt: skip


@cache
def given() -> dict[str, Any]:
    pictures, _, alpha, labels, mesh = map(np.stack, zip(*map(scene, range(FRAMES)), strict=True))
    yes = np.ones(FRAMES, bool)
    none = np.full((FRAMES, 0, 5), np.nan, np.float32)
    track = FaceTrack(mesh, yes, yes, np.arange(FRAMES) == 0, Box(0, 0, 90.0), none)
    matte = Matte(alpha, np.ones(FRAMES, np.float32), np.zeros((FRAMES, 3), np.float32))
    values: dict[str, Any] = {
        "frames": Frames.of_pixels(pictures), "matte": matte, "labels": Labels(labels),
        "track": track,
    }  # fmt: skip
    series = {name: InMemory(value) for name, value in values.items()}
    values["head_pose"] = head_pose(series["track"])
    values["skull"] = find_skull(series["track"], series["matte"], WINDOW)
    values["behind"] = behind(
        **series, head_pose=InMemory(values["head_pose"]), skull=values["skull"], region=REGION,
        hair_window=WINDOW, meter=lambda done, note="": None,
    )  # fmt: skip
    return values


def bared(**changes: Any) -> Bare:
    """With the frames' own levels where nothing is changed."""
    values = given() | changes
    made = bare(**values, region=REGION, hair_window=WINDOW, span=Span(0, FRAMES), at_once=map)
    assert not made.levels[made.changed == 0].any()
    levels = [made.over(row, frame) for row, frame in enumerate(values["frames"].pixels)]
    return replace(made, levels=np.stack(levels))


def test_hair_goes_and_nothing_else_changes() -> None:
    made = bared()
    for frame in range(FRAMES):
        picture, bald, alpha, *_ = scene(frame)
        untouched = made.changed[frame] == 0
        assert np.array_equal(made.levels[frame][untouched], picture[untouched])
        assert not untouched[alpha > 0].any()
        gone, like = np.abs(made.levels[frame] - np.array(HAIR)).sum(-1), 90
        assert (gone[alpha > 0] > like).mean() > 0.995
        away = np.abs(made.levels[frame].astype(int) - bald).mean(-1)
        assert away[alpha > 0].mean() < 14, "of more than 100 levels with hair"
        assert away[alpha == 0].mean() < 2


def test_the_scalp_is_where_skin_is_drawn() -> None:
    made = bared()
    _, bald, alpha, *_ = scene(1)
    is_skin = (bald[..., 0] > bald[..., 2] + 20) & (alpha > 0)
    rows = np.arange(HIGH)[:, None] < place(1).shift[1] - 1.1 * SCALE
    assert (made.scalp[1] > 200)[is_skin & rows].mean() > 0.85
    assert made.scalp[1][(alpha == 0) & (made.changed[1] == 0)].max() == 0


def test_what_is_drawn_holds_still_on_the_head() -> None:
    made = bared()
    first, third = (
        made.levels[frame][30:60, 50 + 3 * frame : 74 + 3 * frame].astype(int) for frame in (0, 2)
    )
    assert np.abs(first - third).mean() < 3


def test_without_the_person_or_without_hair_nothing_changes() -> None:
    values = given()
    track = replace(values["track"], present=np.zeros(FRAMES, bool))
    none = replace(values["matte"], alpha=np.zeros_like(values["matte"].alpha))
    for made in (bared(track=track), bared(matte=none)):
        assert not made.changed.any() and not made.scalp.any()
        assert np.array_equal(made.levels, values["frames"].pixels)


def test_layers_hold_for_the_shot_and_move_with_it() -> None:
    found: Behind = given()["behind"]
    assert found.wall.shape == (1, HIGH, WIDE, 3) and found.shot.tolist() == [0] * FRAMES
    usual = np.median(found.skin[0][100:156, 100:156].reshape(-1, 3), 0)
    assert np.abs(usual - SKIN).max() < 45
    assert found.hair.min() >= 0 and found.hair.max() <= 1
    assert np.allclose(found.wall_move, np.eye(3)[:2], atol=0.05), "the camera stands still"


def test_a_layer_takes_the_light_of_what_is_seen_around() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    layer, known = np.full((40, 40, 3), 80, np.float32), np.zeros((40, 40), bool)
    known[:, :20] = True
    assert np.allclose(relit(layer, picture, known, 90, 0.03), 100, atol=0.5)
    picture[:, :20] = 250  # which is something else
    assert np.allclose(relit(layer, picture, known, 90, 0.03), 80, atol=0.5)


def test_the_atlas_goes_there_and_back() -> None:
    place = from_atlas()
    middle = np.s_[:, 60:200, 60:200]
    rows, columns = np.mgrid[60:200, 60:200]
    assert np.allclose(to_atlas(place[middle]), np.stack([columns, rows], -1), atol=1e-3)
    seen = on_head(
        np.arange(TEXELS, dtype=np.float32)[None].repeat(TEXELS, 0),
        Look(np.zeros((140, 140), np.float32), place[middle].astype(np.float32)),
    )
    assert np.allclose(seen, columns, atol=1e-3)


@pytest.mark.parametrize("side", [-1, 1])
def test_light_goes_on_over_the_skull(side: int) -> None:
    normals = from_atlas()
    tone = 0.8 + 0.2 * side * normals[0] - 0.15 * normals[2]
    truth = (np.array(SKIN) * tone[..., None]).astype(np.float32)
    known = (normals[2] < -0.75) & (normals[1] > -0.6)
    made = lit(truth, known, normals, known)
    left, right = made[128, 70].mean(), made[128, 186].mean()
    assert (right - left) * side > 15


def test_shoulders_are_below_the_face() -> None:
    mesh = scene(0)[-1]
    figure, neck = usual_body(mesh.astype(np.float64), HIGH, WIDE)
    assert figure[-1, 62] == 1 and figure[40].max() == 0
    assert neck[110, 62] == 1 and figure[-1].sum() > 2 * neck[110].sum()


def test_values_have_rows() -> None:
    assert HeadPose.ROWS and Behind.ROWS and Bare.ROWS and not Skull.ROWS


def test_strands_on_a_neck_do_not_color_it() -> None:
    values = given()
    view = next(iter(views_of(values)))
    colors = np.full((HIGH, WIDE, 3), SKIN, np.float32)
    seen = np.zeros((HIGH, WIDE), bool)
    seen[100:110, 50:75] = True
    colors[100:105, 50:75] = (110, 100, 50)
    made = neck_color([view], colors, seen)
    assert np.allclose(made, SKIN, atol=3)


def test_a_neck_that_is_not_seen_has_the_color_of_the_face() -> None:
    view = next(iter(views_of(given())))
    nothing = np.zeros((HIGH, WIDE), bool)
    made = neck_color([view], np.zeros((HIGH, WIDE, 3), np.float32), nothing)
    assert np.ptp(made, axis=(0, 1)).max() == 0
    assert np.abs(tint(made[0, 0]) - tint(np.array(SKIN))).max() < 0.02


def views_of(values: dict[str, Any]) -> Iterator[View]:
    for frame in range(FRAMES):
        yield View(
            values["frames"].pixels[frame], values["matte"].alpha[frame],
            values["labels"].planes[frame], values["track"].mesh[frame],
            Place.of(values["head_pose"], frame), values["skull"], WINDOW, REGION,
        )  # fmt: skip


def test_skin_that_is_drawn_joins_the_face_where_it_meets_it() -> None:
    """A face whose temples and forehead are brighter towards the hair than its middle tells."""
    values = given()
    pixels = values["frames"].pixels.copy()
    _, _, alpha, *_ = scene(1)
    cap = alpha > 0
    view = list(views_of(values))[1]
    near = grown(cap, 16) & view.face & ~cap
    pixels[1][near] = (pixels[1][near].astype(int) + 30).clip(0, 255).astype(np.uint8)
    bright, plain = bared(frames=Frames.of_pixels(pixels)), bared()
    drawn = (bright.scalp[1] > 250) & grown(near, 6)
    gained = bright.levels[1][drawn].astype(int) - plain.levels[1][drawn]
    assert 18 < np.median(gained) < 40
    far = (bright.scalp[1] > 250) & (np.arange(HIGH)[:, None] < 40)
    assert np.median(bright.levels[1][far].astype(int) - plain.levels[1][far]) > 8


def test_bare_arms_are_no_clothes() -> None:
    view = list(views_of(given()))[1]
    view.picture = view.picture.copy()
    body = view.body & (view.label(Label.CLOTHES) > 0.9)
    rows = np.arange(HIGH)[:, None]
    upper, lower = body & (rows < 135), body & (rows >= 135)
    view.picture[upper], view.picture[lower] = SKIN, SHIRT
    wall_seen, skin, clothes = kinds(view)
    assert upper.sum() > 100 and skin[upper].all() and not clothes[upper].any()
    assert lower.sum() > 100 and clothes[lower].all() and not skin[lower].any()
    assert not (wall_seen & (skin | clothes)).any()


@pytest.mark.parametrize(("color", "stays"), [(SKIN, False), ((90, 110, 180), True)])
def test_a_hand_that_goes_by_is_no_wall(color: tuple[int, int, int], stays: bool) -> None:
    """What hair hides in all frames but one, in which a hand, or the wall's own blue, is seen."""
    patch = np.s_[100:116, 4:18]
    views = list(views_of(given()))
    for number, view in enumerate(views):
        view.picture, view.alpha = view.picture.copy(), view.alpha.copy()
        if number == 0:
            view.picture[patch] = color
        else:
            view.alpha[patch] = 1
    made = wall_of(views, Moves([STILL] * FRAMES, [None] * FRAMES))
    away = np.abs(made[patch].astype(int) - color).max(-1)
    assert (np.median(away) < 5) == stays


def test_where_hair_hides_all_of_a_body_it_is_not_black() -> None:
    views = list(views_of(given()))
    for view in views:
        view.alpha = view.alpha.copy()
        view.alpha[view.body] = 1
        vars(view).pop("body")
    made, cover = body_of(views, Moves([STILL] * FRAMES, [None] * FRAMES))
    assert (cover > 128).any() and made[cover > 128].min() > 40


def test_what_hair_hides_of_a_body_is_like_the_other_side() -> None:
    mesh = scene(0)[-1].astype(np.float64)
    axis, wide = middle_of(mesh)
    columns = np.arange(WIDE) + 0.5 - (axis + 0.2 * wide)
    bare_share = np.where(abs(columns) < 0.6 * wide, 1.0, 0.0)[None].repeat(HIGH, 0)
    known = np.ones((HIGH, WIDE), bool)
    known[:, columns > 0.3 * wide] = False
    at, there, alike = mirrored(bare_share, known, mesh)
    made = bare_share[:, at]
    hidden = ~known & there
    assert hidden[-1].sum() > 10 and not hidden[: int(mesh[152, 1])].any()
    assert np.abs(made - bare_share)[hidden].mean() < 0.15
    assert alike > 0.8
    other = np.where(columns < 0, bare_share, 1 - bare_share)
    assert mirrored(other, np.ones((HIGH, WIDE), bool), mesh)[2] < 0.3


def test_what_is_hidden_between_two_parts_of_a_body_is_body() -> None:
    rows = [".p..p.", "pw..p.", "p....w", "......"]
    person, wall = (np.array([[c == mark for c in row] for row in rows]) for mark in "pw")
    found = ["".join("x" if one else "." for one in row) for row in between(person, wall)]
    assert found == ["..xx..", "......", "......", "......"]


def test_an_ear_without_a_shape_goes_on_behind_the_head_without_a_seam() -> None:
    """What is drawn in place of an ear's hidden part has the head's own color on the head."""
    found: Behind = given()["behind"]
    flat, none = (
        bared(behind=replace(found, ears=np.full((1, 2), level, np.float32))) for level in (0, -1)
    )
    view = list(views_of(given()))[1]
    on_head_only = view.head > 0.999
    assert np.array_equal(flat.levels[1][on_head_only], none.levels[1][on_head_only])
    rim = (view.head > 0.2) & (view.head < 0.8) & (view.alpha > 0.99)
    ears = np.max([ear[1] for ear in view.ears if ear is not None], axis=0) > 0.99
    assert (rim & ears).any()
    color = np.median(flat.levels[1][ears & (view.alpha > 0.99)], 0)
    assert np.abs(flat.levels[1][rim & ears] - color).mean() < 25


@pytest.mark.parametrize(("color", "stays"), [(SKIN, False), (SHIRT, True)])
def test_a_hand_that_goes_by_is_no_body(color: tuple[int, int, int], stays: bool) -> None:
    """Beside a shoulder that is dressed; a sleeve of the shirt's color may be that shoulder."""
    patch = np.s_[118:132, 104:120]
    views = list(views_of(given()))
    for number, view in enumerate(views):
        view.picture, view.alpha = view.picture.copy(), view.alpha.copy()
        view._labels = view._labels.copy()
        if number == 0:
            view.picture[patch] = color
            kind = Label.SKIN if color == SKIN else Label.CLOTHES
            view._labels[:, *patch] = 0
            view._labels[[kind, -1], *patch] = 1
        else:
            view.alpha[patch] = 1
    _, cover = body_of(views, Moves([STILL] * FRAMES, [None] * FRAMES))
    assert (np.median(cover[patch]) > 128) == stays


def test_a_body_is_one_piece_or_comes_in_from_below() -> None:
    rows = ["....x.", ".xx...", ".xx..x", "...x.."]
    cover = np.array([[c == "x" for c in row] for row in rows], np.float32)
    found = in_one(cover, cover > 0)
    assert ["".join("x" if one else "." for one in row) for row in found] == [
        "......", ".xx...", ".xx...", "...x..",
    ]  # fmt: skip

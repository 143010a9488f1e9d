"""Hair taken away from a painted head before a painted wall, which are known."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import face_mesh
from tests.stages.hand import flat_hand
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.imaging.follow import STILL, inverse, moved
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT, FACE_OVAL, HAND_POINTS
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import (
    Bare,
    _beside_hair,
    _margin,
    _strands,
    bare,
    carried,
    relit,
)
from vidhair.stages.bare_skin import (
    TEXELS,
    from_atlas,
    lit,
    on_head,
    to_atlas,
    uneven,
    usual_color,
)
from vidhair.stages.bare_view import View, furthest, grown, tint
from vidhair.stages.behind import (
    NECK_SPAN,
    SKIN_TINT,
    Behind,
    Moves,
    Told,
    behind,
    between,
    body_of,
    collar_above,
    hidden_holes,
    in_one,
    in_own_light,
    kinds,
    lobes_of,
    middle_of,
    mirrored,
    neck_color,
    neck_shade,
    neck_ways,
    part_with,
    plain,
    rounded,
    tilt_of,
    usual_body,
    wall_of,
    without_crumbs,
)
from vidhair.stages.hands import MOST, Hands, hands_on
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
    ear_on,
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
NO_HANDS = Hands(np.full((FRAMES, MOST, HAND_POINTS, 2), np.nan, np.float32))
NO_BODY = np.zeros((HIGH, WIDE), np.uint8)
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
        **series, head_pose=InMemory(values["head_pose"]), hands=InMemory(NO_HANDS),
        skull=values["skull"], region=REGION, hair_window=WINDOW, meter=lambda done, note="": None,
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


def test_what_is_in_the_shade_is_as_red_as_the_face_tells() -> None:
    normals = from_atlas()
    tone = 0.8 + 0.3 * normals[0] - 0.15 * normals[2]
    truth = np.array(SKIN) * tone[..., None] ** [0.75, 1.1, 1.25]
    known = (normals[2] < -0.6) & (normals[1] > -0.6)
    made = lit(truth.astype(np.float32), known, normals, known)
    dark, bright = made[128, 80], made[128, 186]
    assert bright.mean() > dark.mean() + 20
    assert dark[0] / dark[2] > 1.07 * bright[0] / bright[2]


def test_a_forehead_that_hair_reddens_does_not_color_the_scalp() -> None:
    face, upper = np.tile([200.0, 165.0, 150.0], (900, 1)), np.tile([150.0, 100.0, 85.0], (400, 1))
    for reddened, pale in ((upper, face), (face, upper)):
        made = usual_color(pale, reddened)
        assert np.allclose(made.mean(), reddened[0].mean())
        assert np.allclose(made / made.mean(), face[0] / face[0].mean())
    assert np.allclose(usual_color(face, upper[:20]), face[0]), "too little to tell"


def test_what_is_around_the_eyes_does_not_color_the_scalp() -> None:
    view = a_view()
    pale = grown(view.parts(EYE_LEFT, EYE_RIGHT), 2)
    assert pale.any() and not (view.skin & pale).any()


def test_texture_is_carried_on_as_far_as_skin_has_it() -> None:
    known = np.zeros((TEXELS, TEXELS), bool)
    known[60:200, 60:200] = True
    smooth = np.full((TEXELS, TEXELS, 3), 150, np.float32)
    noise = np.random.default_rng(5).standard_normal((TEXELS, TEXELS, 1)).astype(np.float32)
    assert not uneven(smooth, known).any()
    faint, strong = (uneven(smooth + k * noise, known).std() for k in (2, 8))
    assert 0.1 < faint < 2 and 3 < strong / faint < 5
    assert not uneven(smooth + noise, np.zeros_like(known)).any()


def test_shoulders_are_below_the_face() -> None:
    mesh = scene(0)[-1]
    figure, neck = usual_body(mesh.astype(np.float64), HIGH, WIDE)
    assert figure[-1, 62] == 1 and figure[40].max() == 0
    assert neck[110, 62] == 1 and figure[-1].sum() > 2 * neck[110].sum()


def test_a_collar_goes_on_beside_the_neck_as_high_as_it_is_seen() -> None:
    mesh = scene(0)[-1].astype(np.float64)
    axis, wide = middle_of(mesh)
    _, usual = usual_body(mesh, HIGH, WIDE)
    column = int(axis)
    ends = int(np.flatnonzero(usual[:, column])[-1])
    above = np.arange(HIGH)[:, None] < ends - 0.3 * wide
    seen = np.abs(np.arange(WIDE) - column) < 0.2 * wide
    skin, cloth = above & seen, ~above & seen
    told = collar_above(mesh, skin, cloth)
    assert told == pytest.approx(0.3, abs=0.15)
    _, neck = usual_body(mesh, HIGH, WIDE, told)
    aside = int(axis + 0.6 * wide)
    assert 0 < neck[:, aside].sum() < usual[:, aside].sum()
    nothing = np.zeros_like(skin)
    lower = np.arange(HIGH)[:, None] < ends + 0.3 * wide
    for known in ((skin, nothing), (nothing, cloth), (lower & seen, ~lower & seen)):
        assert collar_above(mesh, *known) == 0


@pytest.mark.parametrize(
    ("name", "values"), [("collar_above", (lambda *_: 0.0, lambda *_: 0.6)), ("PLAIN", (1e-3, 0.3))]
)
def test_collars_and_hidden_necklines_count_in_what_is_drawn(
    name: str, values: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    views, made = list(views_of(given())), []
    for value in values:
        monkeypatch.setattr(f"vidhair.stages.behind.{name}", value)
        made.append(body_of(views, Moves([STILL] * len(views), [None] * len(views)))[0])
    assert not np.array_equal(made[0], made[1])


def test_a_neckline_that_hair_hides_has_no_bends() -> None:
    side, columns = 100.0, np.arange(80)
    border = 40 + 4 * np.sin(columns * 0.6)
    share = (np.arange(80)[:, None] < border).astype(np.float32)

    def bends(known: NDArray[np.bool_]) -> float:
        return float(plain(share, known, side).sum(0)[15:-15].std())

    hidden = np.zeros_like(share, bool)
    assert bends(hidden) < 0.4 < 2 < bends(~hidden)


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


def test_a_neck_is_round_and_lies_in_the_shade_of_the_jaw() -> None:
    mesh = face_mesh(62, 60, 32).astype(np.float64)
    shade = neck_shade(mesh, HIGH, WIDE)
    axis, wide = middle_of(mesh)
    low, middle, half = round(mesh[152, 1]), round(axis), round(0.6 * wide)
    down = shade[low + 1 : low + 16, middle]
    assert (np.diff(down) > 0).all() and down[0] < 0.87 and down[-1] > 0.9
    row = shade[low + 10]
    assert max(row[middle - half], row[middle + half]) < row[middle] - 0.04
    assert shade[-1].min() > 0.95, "what lies below the neck does not"


def views_of(values: dict[str, Any]) -> Iterator[View]:
    for frame in range(FRAMES):
        yield View(
            values["frames"].pixels[frame], values["matte"].alpha[frame],
            values["labels"].planes[frame], values["track"].mesh[frame],
            Place.of(values["head_pose"], frame), values["skull"], WINDOW, REGION,
        )  # fmt: skip


def test_a_hidden_side_of_a_neck_is_darker_than_its_middle() -> None:
    views = list(views_of(given()))[:1]
    for view in views:
        view.alpha = view.alpha.copy()
        view.alpha[96:115, 68:] = 1
    made, cover = body_of(views, Moves([STILL], [None]))
    neck = slice(102, 108)
    seen, hidden = made[neck, 58:62].mean(), made[neck, 74:77].mean()
    assert cover[neck, 74:77].min() > 200
    assert 0.7 * seen < hidden < 0.97 * seen


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


def test_skin_next_to_hair_tells_that_of_the_scalp_beside_it() -> None:
    """A face that one side lights, though only where it meets its hair."""
    values = given()
    pixels = values["frames"].pixels.copy()
    _, _, alpha, *_ = scene(1)
    view = list(views_of(values))[1]
    left = np.arange(WIDE) < 56
    near = grown(alpha > 0, 7) & view.face & (alpha == 0)
    pixels[1][near & left] = (pixels[1][near & left].astype(int) + 30).clip(0, 255)
    bright, plain = bared(frames=Frames.of_pixels(pixels)), bared()
    gained = bright.levels[1].astype(int) - plain.levels[1]
    drawn = (bright.scalp[1] > 250) & grown(near, 6)
    assert np.median(gained[drawn & (np.arange(WIDE) < 50)]) > 12
    assert np.median(gained[drawn & (np.arange(WIDE) > 76)]) < 6


def test_thin_hair_on_the_forehead_goes_and_colors_nothing() -> None:
    """Next to hair, of a third of its color; the matte lacks it."""
    values = given()
    pixels, _, _ = copies_of(values)
    _, bald, alpha, *_ = scene(1)
    view = list(views_of(values))[1]
    near = grown(alpha > 0, 8) & view.face & (alpha == 0) & ~view.inner
    near &= np.arange(HIGH)[:, None] < place(1).shift[1] - 0.4 * SCALE
    pixels[1][near] = np.rint(0.7 * pixels[1][near] + 0.3 * np.array(HAIR))
    made = bared(frames=Frames.of_pixels(pixels))
    away = made.levels[1].astype(int) - bald
    assert near.sum() > 100 and np.median(np.abs(away[near])) < 12, "of 40 with hair"
    drawn = (made.scalp[1] > 250) & grown(near, 6) & ~near
    assert abs(np.median(away[drawn])) < 12


def test_values_go_evenly_on() -> None:
    values, weight = np.zeros((40, 40, 3), np.float32), np.zeros((40, 40), np.float32)
    weight[36:], values[36:, :20] = 1, 10
    found = carried(values, weight, 2.0)[..., 0]
    assert np.abs(found[38] - values[38, :, 0])[[4, 35]].max() < 0.5
    steps = np.diff(found[36::-1, 10])
    assert steps.max() < 0.1 and steps.min() > -0.6 and found[0, 10] > found[0, 30]
    assert not carried(values, np.zeros_like(weight), 2.0).any()


def test_clothes_of_the_other_side_are_lit_as_on_this_one() -> None:
    columns = np.arange(40)
    colors = np.full((30, 40, 3), 120, np.float32)
    colors[:, 20:] -= 60  # in shade
    colors[:, 30:34] += 9  # a fold
    known = np.ones((30, 40), bool)
    known[6:12, 4:16] = False
    colors[~known] = 0
    found = in_own_light(colors, known, columns[::-1])
    hidden = found[6:12, 4:16, 0]
    assert np.abs(hidden[:, [0, 1, 6, 7, 11]] - 120).max() < 12
    assert hidden[:, 3:5].mean() - hidden[:, [0, 10]].mean() > 5, "folds come with them"
    nothing = in_own_light(colors, np.zeros_like(known), columns[::-1])
    assert np.array_equal(nothing, colors[:, ::-1])


def test_clothes_of_the_other_side_keep_their_tint() -> None:
    """Where a red thing lies opposite of a blue one, neither side gets colors that nothing has."""
    columns = np.arange(40)
    colors = np.full((30, 40, 3), (120, 110, 100), np.float32)
    colors[:, 14:20], colors[:, 20:26] = (200, 30, 30), (30, 60, 210)
    known = np.ones((30, 40), bool)
    known[:, :14] = False
    found = in_own_light(colors, known, columns[::-1])[:, :14]
    assert np.abs(tint(found) - tint(colors[0, -1])).max() < 0.01


def test_a_strap_opposite_of_a_bare_shoulder_tells_nothing_of_the_light() -> None:
    columns = np.arange(40)
    colors = np.full((30, 40, 3), (200, 150, 125), np.float32)
    colors[:, 22:38] = 240, 240, 235  # cloth that the other side shows little of
    known = np.ones((30, 40), bool)
    known[6:20, 10:18] = False
    found = in_own_light(colors, known, columns[::-1])[6:20, 10:18]
    assert np.array_equal(found, np.broadcast_to((240, 240, 235), found.shape))


def bare_chest(beside: Levels) -> tuple[Levels, Levels, Levels]:
    """A picture, its matte and labels, of somebody without clothes, with a block of hair before
    the chest and something of a color beside it that the matte lacks."""
    picture, _, alpha, labels, _ = scene(0)
    shirt = labels[Label.CLOTHES] > 0
    labels[Label.SKIN][shirt], labels[Label.CLOTHES][shirt] = 255, 0
    picture[shirt], block = SKIN, np.s_[125:145, 30:50]
    picture[block], alpha[block] = HAIR, 255
    picture[STRAND] = beside
    return picture, alpha, labels


STRAND = np.s_[130:140, 50:55]


@pytest.mark.parametrize(
    ("color", "goes"), [(HAIR, True), ((120, 88, 72), True), (SKIN, False), ((40, 60, 200), False)]
)
def test_strands_on_bare_skin_and_their_shade_go(color: tuple[int, int, int], goes: bool) -> None:
    """Which a matte lacks. Something of another color stays."""
    picture, alpha, labels = bare_chest(np.array(color))
    view = a_view(picture, alpha, None, labels)
    assert view.body[STRAND][2:-2, 3:].any()
    shown = view.hair_on_skin[STRAND]
    assert shown.min() > 0.9 if goes else shown.max() == 0
    assert not view.clear_body[STRAND].any() or not goes
    away = np.ones_like(view.body)
    away[120:150, 25:60] = False
    assert not view.hair_on_skin[away].any()
    made, _ = body_of([view], Moves([STILL], [None]))
    assert not goes or np.abs(made[STRAND].astype(int) - SKIN).max() < 25


def test_a_neck_in_the_shade_of_hair_is_skin() -> None:
    """Labels say so, and what is as dark elsewhere is worn."""
    shade = (44, 32, 26)
    picture, alpha, labels = bare_chest(np.array(shade))
    picture[136:146, 90:100] = shade
    _, skin, clothes = kinds(a_view(picture, alpha, None, labels))
    assert skin[132:138, 53:55].all() and not clothes[STRAND].any()
    assert clothes[138:144, 92:98].all()


@pytest.mark.parametrize("tee", [20, 90])
def test_a_jacket_between_strands_counts_beside_a_tee_of_which_little_is_seen(tee: int) -> None:
    """Else all that hair hides is like what is worn below it."""
    picture, _, alpha, labels, _ = scene(0)
    alpha[112:] = 255
    wide = np.s_[136:, 65 - tee // 2 : 65 + tee // 2]
    picture[wide], alpha[wide] = (240, 240, 235), 0
    for left in (6, 14, 116):
        gap = np.s_[126:, left : left + 4]
        alpha[gap] = 0
    clothes = labels[Label.CLOTHES] > 0
    body = a_view(picture, alpha).body & clothes
    assert body[wide].any() and body[138:, 7:9].all() == (tee == 20)


def test_skin_that_hangs_together_with_a_hand_is_no_body() -> None:
    picture, alpha, labels = bare_chest(np.array(SKIN))
    own = np.ones(alpha.shape, np.float32)
    own[140:, 90:110] = 0
    body, with_hand = a_view(picture, alpha, None, labels).body, a_view(picture, alpha, own, labels)
    near = np.s_[142:, 84:88]
    assert body[near].all() and not with_hand.body[near].any()
    assert with_hand.body[128:, 54:60].any(), "what is far from it stays"


def test_corners_and_fingers_that_hair_leaves_of_a_body_are_rounded_off() -> None:
    cover, known = np.zeros((40, 60), np.float32), np.zeros((40, 60), bool)
    cover[20:] = 1
    cover[8:10, 4:20] = cover[10:20, 30:60] = 1
    found = rounded(cover, known, 6.0)
    assert found[9, 4:20].max() == 0 and found[10, 30] == 0 and found[22, 2] == 1
    assert found[16, 44:].min() == 1, "it goes on beyond the border"
    known[8:10, 4:20] = True
    assert rounded(cover, known, 6.0)[9, 4:20].min() == 1


def test_tanned_shoulders_are_bare_as_the_neck_says() -> None:
    """Labels took them for clothes, and they are not quite of the face's color."""
    view = list(views_of(given()))[1]
    view.picture = view.picture.copy()
    tanned = (215, 132, 88)
    neck = view.body & (view.label(Label.SKIN) > 0.9)
    arms = view.body & (view.label(Label.CLOTHES) > 0.9)
    assert furthest(tint(np.array(tanned)) - tint(np.array(SKIN))) > SKIN_TINT
    view.picture[arms] = tanned
    assert not kinds(view)[1][arms].any()
    view.picture[neck] = 208, 140, 105
    assert kinds(view)[1][arms].all()


def test_strands_on_a_cheek_go_where_long_hair_hangs_beside_it() -> None:
    """Next to short hair they are a beard, or the shade of the cheek."""
    values = given()
    gone = []
    for long in (True, False):
        pixels, alpha, planes = copies_of(values)
        view = list(views_of(values))[1]
        low = view.mesh[152, 1]
        rows = np.arange(HIGH)[:, None]
        beside = grown(view.oval, 8) & ~view.oval & (rows > 60) & (rows < low)
        if long:
            pixels[1][beside], alpha[1][beside] = HAIR, 255
        strand = grown(~view.oval, 9) & view.oval & (rows > low - 24) & (rows < low - 14)
        pixels[1][strand & (alpha[1] == 0)] = (60, 43, 33)
        made = bared(
            frames=Frames.of_pixels(pixels), matte=replace(values["matte"], alpha=alpha),
            labels=Labels(planes),
        )  # fmt: skip
        inside = strand & ~grown(~view.oval, 5) & grown(~view.oval, 8)
        gone.append(float((made.levels[1][inside].astype(int).mean(-1) > 95).mean()))
    assert gone[0] > 0.7 and gone[1] < 0.3, gone


@pytest.mark.parametrize(("first_row", "color"), [(0, SKIN), (147, SHIRT)])
def test_bare_shoulders_go_on_where_hair_lay_on_them_and_a_piece_of_an_arm_does_not(
    first_row: int, color: tuple[int, int, int]
) -> None:
    """Beside a top that is seen between them."""
    picture, _, alpha, labels, mesh = scene(0)
    axis, wide = middle_of(mesh.astype(np.float64))
    outer = np.abs(np.arange(WIDE) + 0.5 - axis) > NECK_SPAN * wide
    outer = outer & (np.arange(HIGH) >= first_row)[:, None]
    picture[(labels[Label.CLOTHES] > 0) & outer] = SKIN
    alpha[100:143, :32] = 255
    made, cover = body_of([a_view(picture, alpha)], Moves([STILL], [None]))
    there = np.s_[136:143, :24]
    hidden = made[there][cover[there] > 250].astype(int)
    assert len(hidden) > 100
    assert np.abs(hidden - color).max(-1).mean() < 40, "of 140"


@pytest.mark.parametrize("hidden", [True, False])
def test_clothes_between_strands_are_known_where_hair_hides_most_others(hidden: bool) -> None:
    """Else those are what is bare between them."""
    picture, _, alpha, labels, _ = scene(0)
    gap = np.zeros_like(alpha, bool)
    gap[138:, 10:14] = True
    alpha[120:, : None if hidden else 40] = 255
    alpha[gap] = 0
    clothes = labels[Label.CLOTHES] > 0
    body = a_view(picture, alpha).body
    assert clothes[gap].all() and body[gap].mean() == hidden
    assert (body & clothes).sum() < 100 or not hidden


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


@pytest.mark.parametrize(("share", "is_skin"), [(0.2, False), (0.6, True)])
def test_what_is_called_skin_and_far_darker_than_the_face_is_worn(
    share: float, is_skin: bool
) -> None:
    values = given()
    planes = values["labels"].planes.copy()
    shirt = planes[1, Label.CLOTHES] > 0
    planes[1, Label.CLOTHES][shirt], planes[1, Label.SKIN][shirt] = 0, 255
    view = list(views_of(values | {"labels": Labels(planes)}))[1]
    view.picture = view.picture.copy()
    body = view.body & shirt
    view.picture[body] = np.array([1.0, 0.7, 0.75]) * share * np.array(SKIN)
    _, skin, clothes = kinds(view)
    assert body.sum() > 100
    assert np.array_equal(skin[body], np.full(body.sum(), is_skin))
    assert np.array_equal(clothes[body], ~skin[body])


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
    made = wall_of(views, Moves([STILL] * FRAMES, [None] * FRAMES), NO_BODY)
    away = np.abs(made[patch].astype(int) - color).max(-1)
    assert (np.median(away) < 5) == stays


def test_slivers_of_what_goes_by_are_no_wall() -> None:
    """The border of a dark thing that is mostly told from a wall, where hair else hides that."""
    views, dark = list(views_of(given())), (20, 20, 24)
    for number, view in enumerate(views):
        view.picture, view.alpha = view.picture.copy(), view.alpha.copy()
        view.alpha[95:125, 4:18] = number != 0
        if number == 0:
            view.picture[100:116, 9:12] = dark
    made = wall_of(views, Moves([STILL] * FRAMES, [None] * FRAMES), NO_BODY)
    assert made[100:116, 9:12].min() > 60
    assert np.abs(made[95:125, 4:18].astype(int) - dark).max(-1).min() > 40


def test_a_gap_between_two_things_tells_nothing_of_the_wall() -> None:
    wide, narrow = np.s_[90:120, 2:16], np.s_[90:120, 20:23]
    view = next(iter(views_of(given())))
    view._labels = view._labels.copy()
    view._labels[-1, 85:125, :26] = 1
    for gap in (wide, narrow):
        view._labels[-1][gap] = 0
    assert view.wall[95:115, 7:11].all() and not view.wall[narrow].any()


def test_crumbs_tell_nothing_of_a_body() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:4, 2:4] = mask[8:14, 5:15] = True
    kept = without_crumbs(mask, 10)
    assert not kept[:6].any() and kept[8:14, 5:15].all()
    assert not without_crumbs(np.zeros((20, 20), bool), 10).any()


def test_a_hand_that_was_held_there_once_is_no_shoulder() -> None:
    views = list(views_of(given()))
    place = np.s_[118:130, 110:124]
    for number, view in enumerate(views):
        view.picture, view.alpha, view._labels = (
            view.picture.copy(), view.alpha.copy(), view._labels.copy()
        )  # fmt: skip
        view.alpha[112:136, 104:130] = number != 0
        view._labels[-1, 112:136, 104:130] = 1
        if number == 0:
            view.picture[place] = (210, 158, 130)
    made, cover = body_of(views, Moves([STILL] * FRAMES, [None] * FRAMES))
    shown = np.abs(made[place].astype(int) - (210, 158, 130)).max(-1) < 25
    assert not (shown & (cover[place] > 128)).any()


def test_a_hand_beside_the_body_is_no_body() -> None:
    person, figure = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    person[18:, 4:26] = figure[22:, 8:22] = True
    person[4:9, 20:26] = True
    kept = in_one(person.astype(np.float32), figure) > 0
    assert kept[18:, 4:26].all() and not kept[:12].any()


def with_a_dark_lock(color: tuple[int, int, int]) -> tuple[View, tuple[slice, slice]]:
    """Below hair on the right, on the shirt, of a color; the matte lacks it."""
    view = list(views_of(given()))[1]
    view.picture, view.alpha = view.picture.copy(), view.alpha.copy()
    hair, lock = np.s_[112:126, 84:100], np.s_[126:134, 86:98]
    view.picture[hair], view.alpha[hair] = (150, 105, 70), 1
    view.picture[lock] = color
    return view, lock


def copies_of(values: dict[str, Any]) -> tuple[NDArray[np.uint8], ...]:
    """Pixels, alpha and planes of labels, to be changed."""
    whole = values["frames"].pixels, values["matte"].alpha, values["labels"].planes
    return tuple(array.copy() for array in whole)


@pytest.mark.parametrize(("color", "goes"), [((120, 95, 76), True), ((60, 190, 190), False)])
def test_the_thin_end_of_a_lock_before_the_wall_goes(
    color: tuple[int, int, int], goes: bool
) -> None:
    """What the labels take for a person, and the matte not for hair; a thing beside it stays."""
    values = given()
    pixels, alpha, planes = copies_of(values)
    lock, end = np.s_[60:72, 114:126], np.s_[72:78, 116:124]
    pixels[1][lock], alpha[1][lock], pixels[1][end] = (150, 105, 70), 255, color
    planes[1][-1][lock] = planes[1][-1][end] = 255
    made = bared(
        frames=Frames.of_pixels(pixels), matte=replace(values["matte"], alpha=alpha),
        labels=Labels(planes),
    )  # fmt: skip
    gone = (np.abs(made.levels[1].astype(int) - color).max(-1) > 12)[end]
    assert gone[1:-1, 1:-1].mean() > 0.8 if goes else gone.mean() < 0.6


def test_a_beard_that_the_matte_takes_for_hair_stays() -> None:
    values = given()
    pixels, alpha, _ = copies_of(values)
    for frame, view in enumerate(views_of(values)):
        low = view.mesh[152, 1]
        rows = np.arange(HIGH)[:, None]
        beard = grown(view.oval, 2) & (rows > low - 12) & (alpha[frame] == 0)
        pixels[frame][beard], alpha[frame][beard] = (70, 55, 45), 255
    changed = replace(values["matte"], alpha=alpha)
    made, plain = bared(frames=Frames.of_pixels(pixels), matte=changed), bared()
    gained = np.abs(made.levels.astype(int) - pixels)[(alpha > 0) & (values["matte"].alpha == 0)]
    assert np.percentile(gained, 95) < 6 and np.mean(made.changed) < np.mean(plain.changed) + 1


def test_a_wall_near_hair_stays_but_for_strands_before_it() -> None:
    picture, _, alpha, labels, _ = scene(0)
    above = np.flatnonzero(alpha[:, 62] > 0)[0] - np.array([5, 3])
    empty = np.broadcast_to(np.array([120, 130, 110], np.uint8), picture.shape)
    picture = np.where((labels[-1] > 0)[..., None], picture, empty)
    plain = a_view(picture=picture.astype(np.uint8))
    picture[above[0] - 4 : above[1], 62] = HAIR
    drawn = [_margin(view)[slice(*above)] for view in (plain, a_view(picture=picture))]
    assert drawn[0].max() < 0.2 and drawn[1][1, 62] > 0.5
    assert plain.wall[above[0]].mean() > a_view(picture=picture).wall[above[0]].mean()


@pytest.mark.parametrize("called_hair", [False, True])
def test_a_collar_that_the_matte_takes_for_hair_stays(called_hair: bool) -> None:
    """It hangs together with no hair; labels know what it is."""
    picture, _, alpha, labels, _ = scene(0)
    collar = np.s_[125:135, 40:52]
    assert not alpha[115:].any()
    picture, alpha, labels = picture.copy(), alpha.copy(), labels.copy()
    picture[collar], alpha[collar] = HAIR, 120
    labels[2][collar] = 255 * called_hair
    kept = a_view(picture, alpha, labels=labels).alpha[collar]
    assert kept.min() > 0.4 if called_hair else not kept.any()


def test_a_strand_before_clothes_goes_though_light_shines_through_it() -> None:
    """Brighter than the hair nearest, of its tint; the matte lacks it."""
    values = given()
    pixels, alpha, _ = copies_of(values)
    lock, strand = np.s_[124:138, 68:82], np.s_[124:138, 64:68]
    pixels[1][lock], alpha[1][lock], pixels[1][strand] = (100, 75, 25), 255, (150, 140, 110)
    made = bared(
        frames=Frames.of_pixels(pixels), matte=replace(values["matte"], alpha=alpha)
    ).levels[1][126:136, 64:68]
    assert np.abs(made.astype(int) - SHIRT).max() < 30, "of 90"


def test_a_cheek_that_lies_beyond_its_mesh_stays() -> None:
    """Its color may lie between that of hair and that of the wall."""
    values = given()
    pixels, alpha, planes = copies_of(values)
    lock, cheek = np.s_[60:84, 114:126], np.s_[68:78, 108:114]
    pixels[1][lock], alpha[1][lock], pixels[1][cheek] = (150, 105, 70), 255, (124, 99, 79)
    planes[1][-1][lock] = planes[1][-1][cheek] = planes[1][Label.SKIN][cheek] = 255
    made = bared(
        frames=Frames.of_pixels(pixels), matte=replace(values["matte"], alpha=alpha),
        labels=Labels(planes),
    )  # fmt: skip
    inner = made.levels[1][69:77, 108:112].astype(int)
    assert np.abs(inner - (124, 99, 79)).max(-1).mean() < 5


def test_hair_in_deep_shade_is_hair() -> None:
    view, lock = with_a_dark_lock((60, 42, 28))
    assert view.dark_hair[lock].mean() > 0.9 and not (view.body & view.dark_hair).any()
    assert view.dark_hair.sum() < 2.2 * 8 * 12


@pytest.mark.parametrize("color", [SHIRT, SKIN, (50, 42, 42), (8, 6, 4)])
def test_shirts_skin_and_what_is_black_are_no_dark_hair(color: tuple[int, int, int]) -> None:
    view, lock = with_a_dark_lock(color)
    assert view.dark_hair[lock].mean() < 0.5


def test_a_neck_lies_behind_a_face_that_looks_aside() -> None:
    mesh = scene(0)[-1].astype(np.float64)
    assert abs(neck_ways(mesh)[1]) < 1
    turned = mesh.copy()
    turned[[10, 152], 0] += 10
    lean, back = neck_ways(turned)
    assert abs(lean) < 1 and -4 < back < -1.5
    tilted = mesh.copy()
    tilted[10, 0] -= 12
    tilted[152, 0] += 12
    assert 4 < neck_ways(tilted)[0] < 12


def test_where_hair_hides_all_of_a_body_it_is_not_black() -> None:
    views = list(views_of(given()))
    for view in views:
        view.alpha = view.alpha.copy()
        view.alpha[view.body] = 1
        vars(view).pop("body")
    made, cover = body_of(views, Moves([STILL] * FRAMES, [None] * FRAMES))
    assert (cover > 128).any() and made[cover > 128].min() > 40


def test_of_clothes_that_are_hardly_seen_borders_of_other_things_tell_nothing() -> None:
    """A corner of a shirt, next to which a white thing is taken for a part of it."""
    views = list(views_of(given()))[:1]
    view = views[0]
    view.picture, view.alpha = view.picture.copy(), view.alpha.copy()
    view.alpha[100:, :] = 1
    view.alpha[136:, 2:24] = 0
    view.picture[136:, 17:24] = 250
    made, cover = body_of(views, Moves([STILL], [None]))
    there = made[138:, 30:90][cover[138:, 30:90] > 250].astype(int)
    assert len(there) > 300
    assert np.abs(there - SHIRT).max(-1).mean() < 12, "of 190"


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
    assert mirrored(other, np.ones((HIGH, WIDE), bool), mesh)[2] < 0.4
    assert mirrored(bare_share, np.zeros((HIGH, WIDE), bool), mesh)[2] == 1, "as bodies mostly are"


def a_view(
    picture: Levels | None = None, alpha: Levels | None = None, own: NDArray[Any] | None = None,
    labels: Levels | None = None,
) -> View:  # fmt: skip
    """Of the first frame, or of another picture, matte or labels in its place."""
    seen, _, hair, planes, mesh = scene(0)
    given = seen if picture is None else picture, hair if alpha is None else alpha
    planes = planes if labels is None else labels
    return View(*given, planes, mesh, place(0), mean_skull(1), WINDOW, REGION, own)


def test_an_ear_that_is_seen_is_no_hair_and_what_hangs_from_it_stays() -> None:
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    ear = cover[1] > 0.5
    lobe = np.argwhere(ear).max(0)[0], round(float(np.argwhere(ear)[:, 1].mean()))
    pearl = np.zeros_like(ear)
    pearl[lobe[0] + 2 : lobe[0] + 6, lobe[1] - 2 : lobe[1] + 2] = True
    picture, alpha = picture.copy(), alpha.copy()
    picture[ear], picture[pearl] = SKIN, (20, 20, 30)
    alpha[ear] = alpha[pearl] = 90
    view = a_view(picture=picture, alpha=alpha)
    assert view.alpha[ear].max() == 0 and view.alpha[pearl].max() == 0
    assert view.jewels[pearl].all()
    kept = ~(grown(pearl, 1) ^ pearl)
    assert _margin(view)[pearl & kept].max() < 0.4
    # What hair hides, and its color, stay hair.
    alpha[ear] = 255
    assert a_view(picture=picture, alpha=alpha).alpha[ear].min() == 1
    alpha[ear], picture[ear] = 90, HAIR
    above = ear & (np.arange(HIGH)[:, None] < lobe[0] - 0.3 * SCALE)
    assert a_view(picture=picture, alpha=alpha).alpha[above].min() > 0.3


def test_what_hangs_before_hair_stays() -> None:
    """A ring below an ear that hair hides; a strand as thin as it, which a matte lacks, goes."""
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    bottom, column = np.argwhere(cover[1] > 0.5).max(0)[0], 84
    hair, ring, strand = (np.zeros(alpha.shape, bool) for _ in range(3))
    hair[bottom - 30 : bottom + 20, 74:100] = True
    ring[bottom + 4 : bottom + 6, column - 4 : column + 5] = True
    strand[bottom + 10 : bottom + 12, column - 4 : column + 5] = True
    picture, alpha = picture.copy(), alpha.copy()
    picture[hair], alpha[hair] = HAIR, 255
    picture[ring], alpha[ring | strand] = (230, 200, 90), 0
    view = a_view(picture, alpha)
    assert view.jewels[ring].all() and not view.jewels[strand].any()
    assert _margin(view)[ring].mean() < 0.5 < _margin(view)[strand].mean()


@pytest.mark.parametrize(("rows", "stays"), [((4, 14), True), ((4, 44), False), ((16, 19), False)])
def test_what_hangs_from_an_ear_stays_or_goes_as_a_whole(
    rows: tuple[int, int], stays: bool
) -> None:
    """Of a pendant that is longer than what is looked at a stump was left, and of one that hangs by
    a hidden hook a piece in the air."""
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    bottom, column = np.argwhere(cover[1] > 0.5).max(0)[0], 84
    picture[bottom - 30 : bottom + 50, 74:100], alpha[bottom - 30 : bottom + 50, 74:100] = HAIR, 255
    pendant = np.s_[bottom + rows[0] : bottom + rows[1], column - 2 : column + 3]
    picture[pendant], alpha[pendant] = (230, 200, 90), 0
    jewels = a_view(picture, alpha).jewels[pendant]
    assert jewels.any() == stays


def test_the_shade_in_an_ear_is_no_hair() -> None:
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    ear = cover[1] > 0.5
    middle = np.rint(np.argwhere(ear).mean(0)).astype(int)
    shade = np.zeros_like(ear)
    shade[middle[0] - 2 : middle[0] + 3, middle[1] - 1 : middle[1] + 2] = True
    picture, alpha = picture.copy(), alpha.copy()
    picture[cover[1] > 0], alpha[grown(cover[1] > 0, 2)] = SKIN, 0
    picture[shade], alpha[shade] = HAIR, 200
    assert a_view(picture, alpha).alpha[shade].max() == 0
    lock = np.zeros_like(ear)  # over the ear, from above
    lock[: middle[0], middle[1] - 1 : middle[1] + 2] = True
    picture[lock], alpha[lock] = HAIR, 255
    assert a_view(picture, alpha).alpha[shade & lock].min() > 0.9


def test_an_ear_that_is_larger_than_most_stays_whole() -> None:
    """Its outer half, which labels take for the wall, lies next to hair."""
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    ear = cover[1] > 0.5
    outer = grown(ear, 4) & ~ear & (np.arange(WIDE) > np.argwhere(ear)[:, 1].mean())
    outer &= np.arange(HIGH)[:, None] > np.argwhere(ear).mean(0)[0]
    picture, alpha = picture.copy(), alpha.copy()
    picture[ear | outer], alpha[ear | outer] = SKIN, 0
    view = a_view(picture=picture, alpha=alpha)
    inner = ~grown(~(ear | outer), 2)
    assert _margin(view)[inner].max() < 0.3


def test_the_rim_of_an_ear_stays_beside_strands_that_go() -> None:
    """They are drawn over with their borders, which took notches out of it."""
    picture, _, alpha, labels, _ = scene(0)
    lock, end, ear = np.s_[60:72, 114:126], np.s_[72:78, 116:124], np.s_[73:77, 124:128]
    picture[lock], alpha[lock], picture[end] = (150, 105, 70), 255, (120, 95, 76)
    labels[-1][lock] = labels[-1][end] = 255
    shares = []
    for known in (False, True):
        view = a_view(picture, alpha, None, labels)
        vars(view)["own_ears"] = np.zeros(alpha.shape, bool)
        view.own_ears[ear] = known
        found = _strands(view, wall().astype(np.float32), np.zeros(alpha.shape, np.float32))
        assert found[end].mean() > 0.5
        shares.append(float(found[ear][1:-1, 0].max()))
    assert shares[0] > 0.9 and shares[1] < 0.6, shares


def test_a_head_is_as_wide_as_the_ears_that_stand_on_it() -> None:
    """The right one stands off the skull, with hair between them; above it the skull stays."""
    picture, _, alpha, labels, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    rows, columns = np.nonzero(cover[1] > 0.5)
    middle, edge = int(rows.mean()), columns.max()
    own, gap = np.zeros(alpha.shape, bool), np.zeros(alpha.shape, bool)
    own[middle - 9 : middle + 10, edge - 2 : edge + 6] = True
    gap[middle - 12 : middle + 3, edge - 6 : edge - 2] = True
    picture, alpha, labels = picture.copy(), alpha.copy(), labels.copy()
    around = (cover[1] > 0) | own
    picture[around], alpha[around], picture[gap], alpha[gap] = SKIN, 0, HAIR, 255
    labels[-1][own] = 255
    view = a_view(picture=picture, alpha=alpha, labels=labels)
    assert view.look.inside[middle, edge - 3] < 0, "beyond the skull"
    assert view.head[middle, edge - 6 : edge - 2].min() > 0.8
    assert max(view.head[: middle - 30, edge:].max(), view.head[middle, edge + 1 :].max()) < 0.1


def test_what_a_matte_takes_for_hair_in_the_middle_of_a_face_stays() -> None:
    """Skin in the shade, as labels say, beside hair that hangs over a brow."""
    picture, _, alpha, labels, mesh = scene(0)
    nose = np.zeros(alpha.shape, bool)
    x, y = np.rint(mesh[list(EYE_LEFT)].mean(0)).astype(int)
    nose[y - 3 : y + 8, x - 3 : x + 9] = True
    picture, alpha, labels = picture.copy(), alpha.copy(), labels.copy()
    picture[nose], alpha[nose] = (90, 62, 50), 200
    labels[1][nose] = 255
    inner = ~grown(~nose, 2)
    assert a_view(picture, alpha, labels=labels).alpha[inner].mean() < 0.1
    labels[1][nose], labels[2][nose], alpha[nose] = 0, 255, 255
    assert a_view(picture, alpha, labels=labels).alpha[inner].min() > 0.9, (
        "what labels call hair is hair"
    )


def test_the_lobe_of_a_hidden_ear_stays_with_its_stud() -> None:
    picture, _, alpha, _, _ = scene(0)
    cover = ear_on(1, place(0), WINDOW)
    assert cover is not None
    ear, rows = cover[1] > 0.5, np.arange(HIGH)[:, None]
    bottom = np.argwhere(ear).max(0)[0]
    lobe, stud = np.zeros_like(ear), (bottom - 2, 85)
    lobe[bottom - 7 : bottom + 1, 80:90] = True
    picture, alpha = picture.copy(), alpha.copy()
    hair = grown(ear, 4) & (np.arange(WIDE) >= 80)
    picture[hair], alpha[hair] = HAIR, 255
    picture[lobe], picture[stud] = (150, 102, 79), (250, 250, 120)
    shown, hidden = a_view(picture, alpha), a_view(np.where(lobe[..., None], HAIR, picture), alpha)
    worn, away = lobes_of([shown, shown, hidden])
    assert worn[stud] > 200 and worn[lobe].mean() > 120
    assert worn[ear & (rows < bottom - 11)].max() == 0
    assert np.abs(away).max() < 0.15
    shown.keep(worn / np.float32(255))
    assert shown.alpha[stud] < 0.2 and shown.jewels[stud]
    assert not lobes_of([shown, hidden, hidden])[0].any(), "few views tell nothing"


def test_no_shadow_is_taken_off_what_is_seen_of_hidden_ears() -> None:
    view = a_view()
    light, free = view.picture.astype(np.float32) + 30, view.alpha == 0
    assert _beside_hair(view, light)[1][free].max() > 0.5
    view.keep(free.astype(np.float32))
    assert _beside_hair(view, light)[1][free].max() == 0


def test_a_drawn_ear_ends_where_its_own_lobe_does() -> None:
    values = given()
    behind = values["behind"]
    behind.ears[0] = 1
    lower = replace(behind, lobes=np.array([[[0, 0], [0, 0.25]]]))
    usual, moved_down = bared(), bared(behind=lower)
    changed = np.abs(usual.levels[0].astype(int) - moved_down.levels[0]).max(-1) > 8
    across = np.argwhere(changed)[:, 1]
    assert changed.any() and across.min() > 62, "the right one alone"


def test_clothes_that_are_seen_next_to_hair_are_known() -> None:
    picture, _, alpha, *_ = scene(0)
    hair = np.zeros((HIGH, WIDE), bool)
    hair[128:140, 58:66] = True
    picture, alpha = picture.copy(), alpha.copy()
    picture[hair], alpha[hair] = HAIR, 255
    next_to_it = grown(hair, 2) & ~hair
    stray = np.zeros_like(hair)
    stray[130:138, 66:68] = True
    picture[stray] = HAIR
    view = a_view(picture, alpha)
    _, _, clothes = kinds(view)
    assert not view.body[next_to_it].any()
    assert clothes[next_to_it & ~stray].all() and not clothes[stray | hair].any()


def test_a_hand_that_all_frames_show_is_no_body() -> None:
    """What it hides is what clothes are around it."""
    values, points = given(), NO_HANDS.points.copy()
    for frame in range(FRAMES):
        points[frame, 0] = flat_hand((40.0 + 3 * frame, 136.0), 18.0)
    pixels = values["frames"].pixels.copy()
    for frame, marks in enumerate(points):
        pixels[frame][hands_on(marks, WINDOW) > 0] = 200, 40, 40
    series = {name: InMemory(values[name]) for name in ("matte", "labels", "track", "head_pose")}
    there = hands_on(points[0], WINDOW) > 0
    away = []
    for known in (Hands(points), NO_HANDS):
        made = behind(
            InMemory(Frames.of_pixels(pixels)), **series, hands=InMemory(known),
            skull=values["skull"], region=REGION, hair_window=WINDOW,
            meter=lambda done, note="": None,
        )  # fmt: skip
        away.append(np.abs(made.body[0][there].astype(int) - SHIRT).mean())
    assert away[0] < 12 and away[1] > 60


def test_what_is_thin_next_to_hair_is_no_body() -> None:
    """Tips that a matte lacks made a block of all that lies between them and the neck."""
    seen, _, alpha, labels, mesh = scene(0)
    alpha, labels = alpha.copy(), labels.copy()
    rows, lock = slice(118, 134), slice(96, 102)
    alpha[rows, lock] = 255
    for wide, body in ((2, False), (12, True)):
        tip = np.s_[rows, 105 : 105 + wide]
        planes = labels.copy()
        planes[:, rows, 90:], planes[0, rows, 90:] = 0, 255
        planes[:, *tip] = 0
        planes[Label.CLOTHES][tip] = planes[-1][tip] = 255
        given = seen, alpha, planes, mesh, place(0), mean_skull(1), WINDOW, REGION, None
        found = View(*given).body[tip][4:-4]
        assert found[:, wide // 2].all() == body and found.any() == body


def test_a_neighbour_is_no_body() -> None:
    own = np.ones((HIGH, WIDE), np.float32)
    own[:, 90:] = 0
    assert a_view().body[:, 90:].any()
    assert not a_view(own=own).body[:, 90:].any()
    assert np.array_equal(a_view(own=own).body[:, :90], a_view().body[:, :90])


def test_each_side_of_a_wall_goes_on_until_the_person() -> None:
    picture, _, alpha, labels, _ = scene(0)
    around = labels[Label.BACKGROUND] > 127
    left = np.arange(WIDE) < 62
    picture = np.where((around & left)[..., None], 220, np.where(around[..., None], 60, picture))
    view = a_view(picture=picture.astype(np.uint8))
    made = wall_of([view], Moves([STILL], [None]), NO_BODY).mean(-1)
    hidden = (alpha > 127) & (view.head < 0.01)
    assert hidden[:, :62].any() and made[hidden & left].min() > 180
    assert hidden[:, 62:].any() and made[hidden & ~left].max() < 100


def told_of(angle: float) -> tuple[Told, NDArray[np.bool_]]:
    """Of a body that is inclined, half of which hair hides, and where it is."""
    mesh = scene(0)[-1].astype(np.float64)
    figure = usual_body(mesh, HIGH, WIDE)[0] > 0.5
    upright = Told(
        np.full((HIGH, WIDE, 3), SHIRT, np.float32), figure, (~figure).astype(np.float32),
        np.zeros((HIGH, WIDE), np.float32), figure.astype(np.float32), figure, mesh,
    )  # fmt: skip
    told = upright.turned(-angle)[0]
    return told, told.clothes > 0.5


@pytest.mark.parametrize("degrees", (-25, 0, 25))
def test_a_body_is_inclined_as_its_sides_say(degrees: int) -> None:
    angle = np.deg2rad(degrees)
    assert abs(tilt_of(told_of(angle)[0]) - angle) < 0.02
    # A head that leans alone is no inclined body.
    upright, _ = told_of(0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = upright.mesh.mean(0)
    assert tilt_of(replace(upright, mesh=(upright.mesh - middle) @ turn.T + middle)) == 0


def test_what_is_turned_comes_back_where_it_was() -> None:
    told, body = told_of(0)
    there, back = told.turned(0.5)
    found = moved(there.clothes, inverse(back), (slice(0, HIGH), slice(0, WIDE)))
    inner = ~(grown(body, 3) & grown(~body, 3))
    inner[[*range(4), *range(-4, 0)]] = inner[:, [*range(4), *range(-4, 0)]] = False
    assert np.abs(found - told.clothes)[inner].max() < 0.05
    assert there.wall[0, 0] == there.clothes[-1, -1] == 0, "nothing is seen beyond the window"


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


def test_bare_skin_hangs_together_with_the_neck() -> None:
    share = np.array([[0, 1, 0, 0.5], [0, 1, 0, 0.0]], np.float32)
    neck = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    assert part_with(share, neck).tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]
    assert np.array_equal(part_with(share, np.zeros_like(neck)), share)


def test_a_hole_in_a_body_is_one_only_where_a_wall_is_seen() -> None:
    cover, wall = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    cover[20:] = True
    cover[30:40, 10:20] = cover[30:40, 40:50] = False
    wall[34:36, 14:16] = True
    filled = hidden_holes(cover, wall)
    assert filled[33:37, 43:47].min() > 0.9
    assert not filled[33:37, 13:17].any() and not filled[:18].any()


def test_a_body_is_one_piece_or_comes_in_from_below() -> None:
    rows = ["....x.", ".xx...", ".xx..x", "...x.."]
    cover = np.array([[c == "x" for c in row] for row in rows], np.float32)
    found = in_one(cover, cover > 0)
    assert ["".join("x" if one else "." for one in row) for row in found] == [
        "......", ".xx...", ".xx...", "...x..",
    ]  # fmt: skip

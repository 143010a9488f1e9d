import numpy as np
import pytest
import torch

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.series import InMemory
from vidhair.edits import Attribute, Bald, HairColor, HairLength, Reconstruct
from vidhair.edits.colors import HAIR_COLOURS
from vidhair.edits.directions import AttributeSpace
from vidhair.errors import InvalidSetting
from vidhair.geometry import Box
from vidhair.models.aligned import AlignedGenerator
from vidhair.models.face_landmarks import POINTS
from vidhair.models.mappers import BaldMapper
from vidhair.models.stylegan3 import Extent
from vidhair.ops.color import rgb_to_lab
from vidhair.stages import edit as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.edit import (
    HAIR_COLOUR,
    LARGEST,
    NO_HAIR,
    CodeChange,
    Probe,
    TargetColor,
    edit_styles,
    recolored,
    solve_hair_color,
)
from vidhair.stages.matte import HeadRegion, Matte
from vidhair.stages.render import Canvas, Codes, Drawer, drawn_share, input_transforms
from vidhair.stages.smooth import Pivots

D, LAYERS, COUNT = 20, 4, 7
NAMES = (*NO_HAIR, "smile", *HAIR_COLOUR)
PRESENT = np.array([1, 1, 0, 1, 1, 1, 0], bool)
CUTS = np.arange(COUNT) == 4


NOWHERE = np.full((COUNT, POINTS, 2), np.nan, np.float32)
TRACK = FaceTrack(NOWHERE, PRESENT, PRESENT, CUTS, Box(0.0, 0.0, 1.0), np.zeros((len(CUTS), 0, 5)))


def space_of(names: tuple[str, ...] = NAMES) -> AttributeSpace:
    """Attribute k is coordinate k of the code, less a tenth."""
    directions = torch.eye(D)[: len(names)]
    offset = torch.full((len(names),), -0.1)
    return AttributeSpace(names, directions, directions, offset, offset, offset)


SPACE = space_of()


def styles() -> np.ndarray:
    return random(COUNT, LAYERS, D).numpy()


def edited(edit, space=SPACE, **options) -> np.ndarray:
    return edit_styles(edit, styles(), PRESENT, CUTS, space, **options)


class TestStyles:
    @pytest.mark.parametrize("space", [SPACE, None])
    def test_a_reconstruction_keeps_the_codes(self, space):
        assert np.array_equal(edited(Reconstruct(), space), styles())

    @pytest.mark.parametrize("edit", [Bald(), HairLength(), Attribute()])
    def test_a_pack_without_attributes_cannot_make_most_edits(self, edit):
        with pytest.raises(InvalidSetting, match=f"edit.kind = '{edit.kind}'.*another pack"):
            edited(edit, None)

    def test_an_attribute_is_moved_by_its_strength(self):
        change = edited(Attribute(name="smile", strength=-0.7)) - styles()
        want = np.zeros((COUNT, LAYERS, D), np.float32)
        want[PRESENT, :, NAMES.index("smile")] = -0.7
        np.testing.assert_allclose(change, want, atol=1e-6)

    def test_hair_grows_by_the_amount(self):
        change = edited(HairLength(amount=0.5)) - styles()
        want = np.zeros((COUNT, LAYERS, D), np.float32)
        want[PRESENT, :, NAMES.index("hair_length")] = 0.5
        np.testing.assert_allclose(change, want, atol=1e-6)

    def test_an_unknown_attribute_is_said_with_those_there_are(self):
        with pytest.raises(InvalidSetting) as error:
            edited(Attribute(name="height"))
        assert "edit.name = 'height'" in str(error.value)
        assert all(name in str(error.value) for name in NAMES)

    def test_hair_length_where_the_pack_has_none(self):
        with pytest.raises(InvalidSetting, match="hair_length"):
            edited(HairLength(), space_of(("smile", "yaw")))

    def test_baldness_where_the_pack_knows_no_hair(self):
        with pytest.raises(InvalidSetting):
            edited(Bald(), space_of(("smile", "yaw")))

    @pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
    def test_baldness_brings_the_mean_of_every_shot_towards_no_hair(self, strength):
        got = edited(Bald(strength=strength))
        for shot in (slice(0, 4), slice(4, 7)):
            rows = np.flatnonzero(PRESENT[shot]) + shot.start
            before, after = (
                SPACE.read(torch.from_numpy(codes[rows].mean(0))) for codes in (styles(), got)
            )
            bare = list(range(len(NO_HAIR)))
            torch.testing.assert_close(
                after[bare], before[bare] * (1 - strength), atol=1e-5, rtol=0
            )
            torch.testing.assert_close(after[len(bare) :], before[len(bare) :])

    def test_a_mapper_makes_heads_bald_where_a_pack_has_one(self):
        bald = BaldMapper(D, depth=2, strength=0.7).requires_grad_(False)
        for space in (None, SPACE):
            change = edited(Bald(strength=0.5), space, bald=bald) - styles()
            for shot in (slice(0, 4), slice(4, 7)):
                mean = torch.from_numpy(styles()[shot][PRESENT[shot]].mean(0))
                want = (0.5 * 0.7 * bald(mean[None])).numpy()
                got = change[shot][PRESENT[shot]]
                np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-6)

    def test_baldness_changes_all_frames_of_a_shot_alike(self):
        change = edited(Bald()) - styles()
        assert not change[~PRESENT].any()
        for shot in (slice(0, 4), slice(4, 7)):
            assert np.ptp(change[shot][PRESENT[shot]], axis=(0, 1)).max() < 1e-6
        assert np.abs(change[0] - change[4]).max() > 0.01

    def test_a_hair_colour_adds_what_is_found_for_it(self):
        found = random(D, seed=1).numpy()
        change = recolored(Codes(styles()), TRACK, CodeChange(found, np.zeros(3))).styles - styles()
        want = np.broadcast_to(found, change[PRESENT].shape)
        np.testing.assert_allclose(change[PRESENT], want, atol=1e-6)
        assert not change[~PRESENT].any()

    def test_the_codes_given_are_left_alone(self):
        given = styles()
        for edit in (Bald(), HairLength(), Attribute()):
            edit_styles(edit, given, PRESENT, CUTS, SPACE)
        assert np.array_equal(given, styles())


class Painter:
    """Stands in for a generator whose colours are known: the first three numbers of a code are
    the colour of the left half; the right half it cannot change."""

    def __call__(self, ws: torch.Tensor, *, transform, canvas, dtype) -> torch.Tensor:
        colour = ws.mean(1)[:, :3, None, None].expand(-1, -1, 12, 12).clone()
        colour[..., 6:] = 0.9
        return colour * 2 - 1


def painted(*colours: tuple[float, float, float], hair: float = 1.0) -> Probe:
    ws = torch.zeros(len(colours), LAYERS, D)
    ws[..., :3] = torch.tensor(colours)[:, None]
    matte = torch.full((len(colours), 1, 12, 12), hair)
    eye = torch.eye(3).repeat(len(colours), 1, 1)
    return Probe(Painter(), ws, eye, matte, Canvas(12, Extent(), 0.0, 0.0, 1.0))


def lab(*rgb: float) -> torch.Tensor:
    return rgb_to_lab(torch.tensor(rgb)[None, :, None, None]).flatten()


COLOUR_SPACE = AttributeSpace(
    # Directions that mix the channels: the attributes are not what they are called.
    HAIR_COLOUR,
    torch.tensor([[1, 0.2, 0], [0.1, 0.8, 0.1], [0, 0.3, 1.2]]) @ torch.eye(D)[:3],
    torch.eye(D)[:3],
    *torch.zeros(3, 3),
)


class TestColour:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((0.25, 0.16, 0.09), (0.42, 0.16, 0.08)),  # brown → auburn
            ((0.76, 0.60, 0.36), (0.25, 0.16, 0.09)),  # blonde → brown
            ((0.25, 0.16, 0.09), (0.86, 0.86, 0.86)),  # brown → white
            ((0.76, 0.60, 0.36), (0.16, 0.30, 0.72)),  # blonde → blue
        ],
    )
    def test_the_hair_that_can_change_reaches_the_colour(self, before, after):
        probe, wanted = painted(before), lab(*after) - lab(*before)
        change = solve_hair_color(probe, COLOUR_SPACE, wanted)
        assert change.shape == (D,)
        got = probe.lab(change)[0, :, 6, 2]
        assert float((got - lab(*after)).norm()) < 0.1 * float(wanted.norm())

    def test_frames_of_several_colours_move_by_it_on_average(self):
        probe = painted((0.3, 0.2, 0.1), (0.4, 0.3, 0.2), (0.35, 0.2, 0.15))
        wanted = torch.tensor([15.0, 8, -5])
        change = solve_hair_color(probe, COLOUR_SPACE, wanted)
        moved = (probe.lab(change) - probe.lab(torch.zeros(D)))[..., :6].mean((0, 2, 3))
        torch.testing.assert_close(moved, wanted, atol=2.5, rtol=0)

    def test_only_colours_are_used(self):
        change = solve_hair_color(painted((0.3, 0.2, 0.1)), COLOUR_SPACE, torch.ones(3) * 5)
        assert change[:3].abs().max() > 0.01 and not change[3:].any()

    def test_no_change_wanted_is_none_made(self):
        change = solve_hair_color(painted((0.3, 0.2, 0.1)), COLOUR_SPACE, torch.zeros(3))
        assert not change.any()

    def test_what_cannot_be_reached_is_approached_within_bounds(self):
        probe, wanted = painted((0.3, 0.2, 0.1)), torch.tensor([0.0, 90, 0])
        change = solve_hair_color(probe, COLOUR_SPACE, wanted)
        amounts = torch.linalg.solve(COLOUR_SPACE.directions[:, :3].t(), change[:3])
        assert amounts.abs().max() == pytest.approx(LARGEST)
        got = probe.lab(change)[0, :, 6, 2] - lab(0.3, 0.2, 0.1)
        assert (got - wanted).norm() < 0.5 * wanted.norm()

    @pytest.mark.parametrize(
        ("before", "after"),
        [((0.76, 0.60, 0.36), (0.045, 0.04, 0.04)), ((0.25, 0.16, 0.09), (0.86, 0.86, 0.86))],
    )
    def test_more_than_black_and_more_than_white_are_approached(self, before, after):
        """As `edit.strength` = 1.5 asks."""
        probe, wanted = painted(before), 1.5 * (lab(*after) - lab(*before))
        change = solve_hair_color(probe, COLOUR_SPACE, wanted)
        got = probe.lab(change)[0, :, 6, 2] - lab(*before)
        assert (got - wanted).norm() < 0.6 * wanted.norm()

    def test_without_hair_nothing_is_changed(self):
        probe = painted((0.3, 0.2, 0.1), hair=0.0)
        assert not solve_hair_color(probe, COLOUR_SPACE, torch.tensor([10.0, 0, 0])).any()

    @pytest.mark.parametrize("space", [None, space_of(("smile", "yaw"))])
    @pytest.mark.parametrize(
        ("before", "after"),
        [((0.3, 0.2, 0.1), (0.45, 0.2, 0.1)), ((0.2, 0.15, 0.1), (0.75, 0.6, 0.4))],
    )
    def test_without_attributes_for_it_gradients_lead_there(self, space, before, after):
        probe, wanted = painted(before), lab(*after) - lab(*before)
        change = solve_hair_color(probe, space, wanted)
        assert change.shape == (LAYERS, D)
        got = probe.lab(change)[0, :, 6, 2]
        assert float((got - lab(*after)).norm()) < max(2.0, 0.05 * float(wanted.norm()))
        assert not change[:, 3:].any(), "numbers that do nothing stay"
        assert not change[[0, 1, 3]].any(), "only the codes that colour hair are moved"

    def test_without_hair_or_effect_gradients_change_nothing(self):
        wanted = torch.tensor([10.0, 0, 0])
        assert not solve_hair_color(painted((0.3, 0.2, 0.1), hair=0.0), None, wanted).any()
        assert not solve_hair_color(painted((2.0, 2.0, 2.0)), None, wanted).any()

    def test_with_a_generator(self):
        """What some change of the attributes does can be asked for, and is found again."""
        generator = tiny_generator(16)
        generator.synthesis.layers[-1].weight.mul_(12)
        directions = random(3, 12, seed=3) * 0.3
        space = AttributeSpace(HAIR_COLOUR, directions, directions, *torch.zeros(3, 3))
        canvas = Canvas(16, Extent(2, 2, 2, 2), 0.0, 0.0, 1.0)
        hair = torch.ones(2, 1, 20, 20)
        eye = torch.eye(3).repeat(2, 1, 1)
        probe = Probe(generator.synthesis, random(2, 16, 12, seed=4), eye, hair, canvas)
        plain = probe.lab(torch.zeros(12))
        moved = probe.lab(torch.tensor([0.6, -0.4, 0.3]) @ directions) - plain
        wanted = moved.mean((0, 2, 3))
        change = solve_hair_color(probe, space, wanted)
        got = (probe.lab(change) - plain).mean((0, 2, 3))
        assert (got - wanted).norm() < 0.6 * wanted.norm()


# ---- stages


class TestTargetColorStage:
    @pytest.mark.parametrize(
        ("color", "want"), [("auburn", HAIR_COLOURS["auburn"]), ("#ff0033", (1, 0, 0.2))]
    )
    def test_a_name_or_code_is_its_colour(self, color, want):
        got = stages.target_color(HairColor(color=color), parser=None).rgb
        np.testing.assert_allclose(got, want)

    def test_a_picture_is_the_colour_of_its_hair(self, monkeypatch):
        asked = []

        def seen(path, parser):
            asked.append((path, parser))
            return 0.1, 0.2, 0.3

        monkeypatch.setattr(stages, "mean_hair_color", seen)
        got = stages.target_color(HairColor(color="friend.PNG"), parser="the parser").rgb
        assert got.tolist() == [0.1, 0.2, 0.3] and asked == [("friend.PNG", "the parser")]


class TestCodeChangeStage:
    """Frame 0 has next to no hair, frame 2 no face."""

    T, SIDE, CHOSEN = 8, 16, [1, 3, 5, 7]
    AREA = np.array([0.02, 0.25, 0.5, 0.25, 0.125, 0.25, 0.25, 0.25])
    SEEN = np.arange(T) != 2
    CANVAS = Canvas(SIDE, Extent(2, 4, 6, 5), 8.0, 16.0, 1.0)
    REGION = HeadRegion(0.0, 0.0, 2.0, 32, 32)  # the matte's grid has a step of one
    STYLES = random(T, 6, D, seed=3).numpy()
    FOUND = random(D, seed=6)

    @pytest.fixture
    def change(self, monkeypatch):
        """Calls the stage with another in the place of `solve_hair_color`: what it makes, and what
        that was given, if anything."""
        rng = np.random.default_rng(0)
        self.alpha = rng.integers(0, 256, (self.T, 64, 64), dtype=np.uint8)
        self.labs = rng.uniform(0, 50, (self.T, 3))
        self.transform = np.tile([5.0, 0, 0, 1.1], (self.T, 1))
        self.transform[:, 1] = 0.02 * np.arange(self.T)
        self.transform[2] = np.nan

        def change(*, area=None, strength=1.0, drawer=None, probe="float32", seen=None):
            given: list[tuple] = []

            def solve(*arguments):
                given.append(arguments)
                return self.FOUND

            monkeypatch.setattr(stages, "solve_hair_color", solve)
            seen = self.SEEN if seen is None else seen
            nowhere = np.full((self.T, POINTS, 2), np.nan, np.float32)
            track = FaceTrack(
                nowhere,
                seen,
                seen,
                np.arange(self.T) == 0,
                Box(10.0, 20.0, 16.0),
                np.zeros((self.T, 0, 5)),
            )
            area = self.AREA if area is None else area
            matte = Matte(self.alpha, area, self.labs)
            made = stages.code_change(
                InMemory(Codes(self.STYLES)),
                InMemory(Pivots(self.STYLES + 9, self.transform)),
                InMemory(track),
                InMemory(matte),
                TargetColor(np.array([0.4, 0.2, 0.1])),
                self.CANVAS,
                self.REGION,
                drawer or Drawer(tiny_generator(self.SIDE, num_layers=4).synthesis),
                SPACE,
                probe,
                HairColor(strength=strength),
            )
            return (made, *given)

        return change

    @pytest.mark.parametrize("seen", [SEEN, np.arange(T) == 2])
    def test_a_clip_without_hair_on_a_face_is_left_alone(self, change, seen):
        """What is seen in frames without a face is nobody's hair."""
        (made,) = change(area=np.where(seen, 0.0, self.AREA), seen=seen)
        assert made.styles.shape == (D,) and made.styles.dtype == np.float32
        assert not made.styles.any() and made.lab.tolist() == [0, 0, 0]

    @pytest.mark.parametrize("strength", [1.0, 0.5])
    def test_the_hairs_mean_is_to_become_the_colour(self, change, strength):
        made, (_, space, wanted) = change(strength=strength)
        weight = np.where(self.SEEN, self.AREA, 0)
        mean = (self.labs * weight[:, None]).sum(0) / weight.sum()
        want = (lab(0.4, 0.2, 0.1).numpy() - mean) * strength
        np.testing.assert_allclose(wanted, want, atol=1e-4)
        np.testing.assert_allclose(made.lab, want, atol=1e-4)
        assert space is SPACE

    def test_what_is_found_is_the_change(self, change):
        made, _ = change()
        assert np.array_equal(made.styles, self.FOUND.numpy())

    def test_it_is_measured_on_frames_with_much_hair_from_all_over_the_clip(self, change):
        _, (probe, *_) = change()
        assert np.array_equal(probe.styles.numpy(), self.STYLES[self.CHOSEN])
        places = input_transforms(Pivots(self.STYLES, self.transform).similarity)[self.CHOSEN]
        torch.testing.assert_close(probe.transforms, places)

    def test_all_of_them_where_there_are_few(self, change):
        _, (probe, *_) = change(area=np.where(np.isin(np.arange(8), [2, 4, 6]), 0.25, 0.0))
        assert np.array_equal(probe.styles.numpy(), self.STYLES[[4, 6]])

    def test_the_box_alone_is_drawn_with_the_hair_there(self, change):
        _, (probe, *_) = change()
        assert probe.canvas == Canvas(self.SIDE, Extent(), 10.0, 20.0, 1.0)
        want = torch.from_numpy(self.alpha[self.CHOSEN, None, 20:36, 10:26]).float() / 255
        torch.testing.assert_close(probe.hair, want, atol=1e-5, rtol=0)

    def test_hair_that_the_generator_cannot_draw_does_not_count(self, change):
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(self.SIDE, w_dim=D)))
        _, (probe, *_) = change(drawer=Drawer(generator.synthesis))
        assert probe.synthesis is generator.synthesis
        share = drawn_share(generator.synthesis, probe.transforms, probe.canvas)
        assert share.min() == 0
        hair = torch.from_numpy(self.alpha[self.CHOSEN, None, 20:36, 10:26]).float() / 255
        torch.testing.assert_close(probe.hair, hair * share, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("probe", ["float32", "bfloat16"])
    def test_layers_compute_in_what_the_flow_says(self, change, probe):
        _, (shown, *_) = change(probe=probe)
        assert shown.dtype == getattr(torch, probe)


class TestEditedCodesStages:
    def test_a_colour_is_one_change_of_all_frames_with_a_face(self):
        given = Codes(styles())
        for change in (random(D, seed=1).numpy(), random(LAYERS, D, seed=1).numpy()):
            got = recolored(given, TRACK, CodeChange(change, np.zeros(3))).styles
            want = np.where(PRESENT[:, None, None], styles() + change, styles())
            assert np.array_equal(got, want)
        assert np.array_equal(given.styles, styles())

    @pytest.mark.parametrize("edit", [HairLength(amount=0.5), Attribute(strength=-1.0)])
    def test_a_direction_moves_frames_with_a_face(self, edit):
        got = stages.moved(Codes(styles()), TRACK, edit, SPACE).styles
        assert np.array_equal(got, edited(edit))
        assert np.array_equal((got != styles()).any((1, 2)), PRESENT)

    @pytest.mark.parametrize("mapped", [False, True])
    def test_baldness_is_one_change_per_shot(self, mapped):
        bald = BaldMapper(D, depth=2, strength=0.7).requires_grad_(False) if mapped else None
        series = InMemory(Codes(styles())), InMemory(TRACK)
        got = stages.made_bald(*series, Bald(strength=0.5), SPACE, bald).styles
        change = got - styles()
        assert np.array_equal((change != 0).any((1, 2)), PRESENT)
        first, second = change[:4][PRESENT[:4]], change[4:][PRESENT[4:]]
        assert np.ptp(first, axis=0).max() < 1e-6 and np.ptp(second, axis=0).max() < 1e-6
        assert np.abs(first[0] - second[0]).max() > 1e-3
        assert np.array_equal(got, edited(Bald(strength=0.5), bald=bald))
        assert mapped == (np.abs(got - edited(Bald(strength=0.5))).max() > 1e-3)

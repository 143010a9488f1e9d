"""Rendered clips: the same again, smooth, and with other hair the same person."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.synthetic.clips import (
    SOUND_RATE,
    ClipSpec,
    FrameTruth,
    Motion,
    dye,
    perform,
    render_frame,
    voice,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ClipSpec(name="test", seed=3, style="long", seconds=2.0, size=(56, 40))
LONG = ClipSpec(name="long", seed=5, style="short", seconds=120.0)
PLACE = ("turn", "x", "y", "scale")
DYES = ("auburn", "dark blonde", "blue")


@pytest.fixture(scope="module")
def motion() -> Motion:
    return perform(SPEC)


@pytest.fixture(scope="module")
def long_motion() -> Motion:
    return perform(LONG)


class TestMotion:
    def test_as_many_frames_as_the_clip_lasts(self, motion: Motion) -> None:
        assert SPEC.frames == 50 == len(motion.faces)
        assert all(getattr(motion, name).shape == (50,) for name in PLACE)

    def test_the_same_spec_gives_the_same_motion(self, motion: Motion) -> None:
        again = perform(SPEC)
        assert torch.equal(again.faces.pack(), motion.faces.pack())
        assert all(np.array_equal(getattr(again, n), getattr(motion, n)) for n in PLACE)

    def test_another_seed_gives_another_person_and_motion(self, motion: Motion) -> None:
        other = perform(ClipSpec(name="test", seed=4, style="long", seconds=2.0))
        assert not torch.equal(other.faces.jaw_width, motion.faces.jaw_width)
        assert not np.allclose(other.turn, motion.turn)

    @pytest.mark.parametrize(
        "changes", [{"hair_colour": (0.8, 0.2, 0.1)}, {"melanin": 0.9}, {"size": (64, 64)}]
    )
    def test_colors_and_size_change_neither_person_nor_motion(
        self, motion: Motion, changes: dict[str, Any]
    ) -> None:
        plain: dict[str, Any] = {"name": "test", "seed": 3, "style": "long", "seconds": 2.0}
        other = perform(ClipSpec(**plain | changes))
        assert all(np.array_equal(getattr(other, n), getattr(motion, n)) for n in PLACE)
        for name in ("yaw", "smile", "mouth_open", "jaw_width", "hair_length", "light_azimuth"):
            assert torch.equal(getattr(other.faces, name), getattr(motion.faces, name))

    def test_the_person_stays_the_same_all_through(self, motion: Motion) -> None:
        for name in ("jaw_width", "melanin", "hair_colour", "hair_volume", "light_azimuth"):
            values = getattr(motion.faces, name)
            assert torch.equal(values, values[:1].expand_as(values))
        assert torch.allclose(motion.faces.hair_colour[0], torch.tensor(SPEC.hair_colour))

    def test_movement_is_smooth(self, long_motion: Motion) -> None:
        """A frame is foretold well by its neighbours."""
        tracks = {name: getattr(long_motion, name) for name in PLACE}
        tracks |= {n: getattr(long_motion.faces, n).numpy() for n in ("yaw", "pitch", "gaze_x")}
        for name, values in tracks.items():
            surprise = values[1:-1] - (values[2:] + values[:-2]) / 2
            assert np.abs(surprise).max() < 0.06 * np.ptp(values), name
            assert np.abs(np.diff(values)).max() < 0.2 * np.ptp(values), name

    def test_movement_is_as_large_as_meant(self, long_motion: Motion) -> None:
        for name, size in (("turn", 0.07), ("x", 0.10), ("y", 0.05)):
            values = getattr(long_motion, name)
            assert values.std() == pytest.approx(size, rel=0.25)
            assert abs(values.mean()) < size / 2
        assert np.log(long_motion.scale).std() == pytest.approx(0.04, rel=0.3)
        assert float(long_motion.faces.yaw.std()) == pytest.approx(0.16, rel=0.25)

    def test_expressions_stay_in_their_ranges(self, long_motion: Motion) -> None:
        faces = long_motion.faces
        for name, low, high in (
            ("mouth_open", 0, 1),
            ("blink_left", 0, 1),
            ("smile", -0.2, 0.9),
            ("gaze_x", -1, 1),
            ("yaw", -0.45, 0.45),
            ("pitch", -0.25, 0.25),
        ):
            values = getattr(faces, name)
            assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6, name

    def test_eyes_blink_every_few_seconds_and_briefly(self, long_motion: Motion) -> None:
        closed = long_motion.faces.blink_left.numpy()
        assert torch.equal(long_motion.faces.blink_left, long_motion.faces.blink_right)
        starts = np.flatnonzero((closed[1:] > 0.5) & (closed[:-1] <= 0.5))
        assert 120 / 4 < len(starts) < 120 / 1.5
        assert (closed > 0.5).mean() < 0.1
        assert closed.max() > 0.9

    def test_the_mouth_opens_and_rests(self, long_motion: Motion) -> None:
        opened = long_motion.faces.mouth_open.numpy()
        assert opened.max() > 0.3
        assert 0.1 < (opened < 0.02).mean() < 0.8

    def test_without_liveliness_only_the_mouth_and_lids_move(self) -> None:
        calm = perform(ClipSpec(name="calm", seed=3, style="long", seconds=4.0, liveliness=0.0))
        for name in ("turn", "x", "y"):
            assert not getattr(calm, name).any()
        assert np.all(calm.scale == 1)
        assert not calm.faces.yaw.any() and calm.faces.mouth_open.any()


class TestView:
    def test_moving_right_and_down_moves_the_head_so(self, motion: Motion) -> None:
        def pixel_of_head(**place: float) -> NDArray[Any]:
            at = {"turn": 0.0, "x": 0.0, "y": 0.0, "scale": 1.0} | place
            moved = Motion(motion.faces[:1], *(np.array([at[n]]) for n in PLACE))
            return moved.view(0, 56, 40).pixels(torch.zeros(1, 1, 2))[0, 0].numpy()

        still = pixel_of_head()
        unit = 3.5 / 40  # plane units per pixel
        np.testing.assert_allclose(
            pixel_of_head(x=0.35, y=-0.175) - still, [0.35 / unit, -0.175 / unit], atol=1e-4
        )

    def test_a_larger_scale_shows_the_head_larger(self, motion: Motion) -> None:
        ends = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])
        apart = []
        for scale in (1.0, 1.5):
            one = Motion(motion.faces[:1], *(np.array([v]) for v in (0.3, 0.1, 0.0, scale)))
            left, right = one.view(0, 56, 40).pixels(ends)[0]
            apart.append(float((right - left).norm()))
        assert apart[1] == pytest.approx(1.5 * apart[0], rel=1e-4)


VERSIONS: tuple[dict[str, Any], ...] = (
    {},
    {"hair_colour": (0.85, 0.3, 0.5)},
    {"hair_volume": 0.0},
)


@pytest.fixture(scope="module")
def frame(motion: Motion) -> list[FrameTruth]:
    """Source, other color, bald."""
    return render_frame(motion, 20, SPEC, VERSIONS)


@pytest.fixture(scope="module")
def dyed(motion: Motion) -> list[list[FrameTruth]]:
    """Three frames, each in all of DYES."""
    versions = [{"hair_colour": dye(SPEC, HAIR_COLORS[name])} for name in DYES]
    return [render_frame(motion, index, SPEC, versions) for index in (5, 30, 45)]


class TestFrames:
    def test_shapes(self, frame: list[FrameTruth]) -> None:
        for truth in frame:
            assert truth.picture.shape == (40, 56, 3) and truth.picture.dtype == np.uint8
            assert truth.hair.shape == (40, 56) and truth.hair.dtype == np.uint8
            assert truth.landmarks.shape == (6, 2)

    def test_the_head_lies_in_the_picture(self, frame: list[FrameTruth]) -> None:
        x, y = frame[0].landmarks.T
        assert x.min() > 0 and x.max() < 56 and y.min() > 0 and y.max() < 40

    def test_another_color_changes_the_hair_and_nothing_else(self, frame: list[FrameTruth]) -> None:
        source, colored, _ = frame
        assert np.array_equal(source.hair, colored.hair)
        assert np.array_equal(source.landmarks, colored.landmarks)
        change = (source.picture != colored.picture).any(-1)
        assert not change[maximum_filter(source.hair, 3) == 0].any()
        assert change[source.hair > 200].all()

    def test_the_bald_version_is_the_same_person_in_the_same_place(
        self, frame: list[FrameTruth]
    ) -> None:
        source, _, bald = frame
        assert bald.hair.max() == 0 < source.hair.max()
        np.testing.assert_allclose(source.landmarks, bald.landmarks, atol=1e-3)
        # The wall stays; skin may be lit a little differently where hair cast its shadow.
        far = maximum_filter(source.hair, 7) == 0
        change = np.abs(source.picture.astype(int) - bald.picture).max(-1)
        assert np.median(change[far]) == 0
        assert (change[far] > 60).mean() < 0.02

    def test_frames_are_the_same_however_many_versions_are_rendered(
        self, motion: Motion, frame: list[FrameTruth]
    ) -> None:
        (alone,) = render_frame(motion, 20, SPEC, VERSIONS[1:2])
        assert np.array_equal(alone.picture, frame[1].picture)
        assert np.array_equal(alone.hair, frame[1].hair)

    def test_the_next_frame_differs_a_little(self, motion: Motion, frame: list[FrameTruth]) -> None:
        (after,) = render_frame(motion, 21, SPEC, VERSIONS[:1])
        change = np.abs(after.picture.astype(int) - frame[0].picture)
        assert 0 < change.mean() < 8
        assert np.abs(after.landmarks - frame[0].landmarks).max() < 1.5

    @pytest.mark.parametrize("number", range(len(DYES)), ids=DYES)
    def test_dyed_hair_shows_the_color_on_average(
        self, dyed: list[list[FrameTruth]], number: int
    ) -> None:
        shown = []
        for frame in dyed:
            truth = frame[number]
            picture = torch.from_numpy(truth.picture).float() / 255
            shown.append(rgb_to_lab(picture[torch.from_numpy(truth.hair) > 127]))
        wanted = torch.tensor(HAIR_COLORS[DYES[number]])
        mean, want = torch.cat(shown).mean(0), rgb_to_lab(wanted[None])[0]
        assert delta_e_2000(mean, want, dim=0) < 4

    def test_dye_stays_within_what_can_be_seen(self) -> None:
        assert all(0 < c <= 1 for c in dye(SPEC, (1.0, 1.0, 1.0), frames=1))


class TestVoice:
    OPENED = np.repeat([0.0, 0.8, 0.0, 0.4], 25)

    def test_as_long_as_the_picture(self) -> None:
        samples = voice(self.OPENED, 25, 0)
        assert samples.dtype == np.float32 and len(samples) == 4 * SOUND_RATE
        assert np.abs(samples).max() <= 1

    def test_it_is_heard_while_the_mouth_is_open(self) -> None:
        samples = voice(self.OPENED, 25, 0).reshape(4, SOUND_RATE)
        loud = samples[:, SOUND_RATE // 4 : -SOUND_RATE // 4].std(1)
        assert loud[1] > loud[3] > 5 * max(loud[0], loud[2])

    def test_the_same_seed_gives_the_same_voice(self) -> None:
        one, same, other = (voice(self.OPENED, 25, seed) for seed in (1, 1, 2))
        assert np.array_equal(one, same) and not np.array_equal(one, other)

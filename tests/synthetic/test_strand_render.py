"""Frames of hair of strands: the matte composes them exactly, and twins differ by pigment alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.synthetic.few import thinned
from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.synthetic import strand_render
from vidhair.synthetic.clips import ClipSpec, perform
from vidhair.synthetic.occluders import OCCLUDERS, under_hat
from vidhair.synthetic.pigment import srgb_levels
from vidhair.synthetic.strand_render import Pigment, moved_points, render_strands
from vidhair.synthetic.strands import BEARD_STYLES, STRAND_STYLES, grow_strands

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (56, 48)
SPEC = ClipSpec(name="test", seed=3, style="bald", seconds=1.0, fps=12, size=SIZE)
DYES = ("blonde", "black", "blue")
BROWN = Pigment(color=HAIR_COLORS["brown"])
PIGMENTS = [BROWN, *(Pigment(color=HAIR_COLORS[name]) for name in DYES)]


@pytest.fixture(scope="module")
def motion() -> Any:
    return perform(SPEC)


@pytest.fixture(scope="module")
def grown(motion: Any) -> Any:
    face = motion.faces[0]
    styles = {name: thinned(STRAND_STYLES[name], 0.05) for name in ("long", "crop")}
    found = {name: grow_strands(face, style, 1) for name, style in styles.items()}
    beard = thinned(BEARD_STYLES["short"], 0.1)
    return {**found, "beard": grow_strands(face, beard, 2, beard=True)}


@pytest.fixture(scope="module")
def frame(motion: Any, grown: Any) -> Any:
    return render_strands(motion, 4, SIZE, hair=grown["long"], pigments=PIGMENTS)


def frame_of(motion: Any, hair: Any, **options: Any) -> Any:
    return render_strands(motion, 4, SIZE, hair=hair, **{"pigments": [BROWN], **options})


def without(hair: Any) -> Any:
    return replace(hair, widths=np.zeros_like(hair.widths))


def test_the_matte_composes_the_picture(
    frame: Any, motion: Any, grown: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Against the picture that the fine raster itself shows."""
    shown = []

    def kept(drawn: Any, bald: Any, over: Any) -> Any:
        whole = drawn.light[..., :3].sum(0) + drawn.clear[..., None] * bald
        shown.append(strand_render.reduced(whole))
        return behind(drawn, bald, over)

    behind = strand_render._behind
    monkeypatch.setattr(strand_render, "_behind", kept)
    again = frame_of(motion, grown["long"], beard=grown["beard"])
    np.testing.assert_allclose(again.picture, shown[0], atol=2e-3)
    for part in (frame.alpha, frame.beard):
        assert part.min() >= 0 and part.max() <= 1.0001
    assert 0.1 < frame.alpha.mean() < 0.6
    soft = (frame.alpha > 0.05) & (frame.alpha < 0.95)
    assert soft.mean() > 0.05


def test_twins_are_the_picture_outside_of_the_hair(frame: Any) -> None:
    bare = frame.alpha == 0
    assert bare.mean() > 0.2
    for version in range(len(DYES)):
        np.testing.assert_array_equal(frame.twin(version)[bare], frame.picture[bare])
        inside = frame.alpha > 0.5
        assert np.abs(frame.twin(version) - frame.picture)[inside].mean() > 0.01


def test_a_twin_is_what_hair_of_that_color_looks_like(frame: Any, motion: Any, grown: Any) -> None:
    blonde = frame_of(motion, grown["long"], pigments=PIGMENTS[1:2])
    np.testing.assert_allclose(blonde.picture, frame.twin(0), atol=1e-5)
    np.testing.assert_array_equal(blonde.alpha, frame.alpha)


def test_hair_shows_its_color_in_average_light(motion: Any, grown: Any) -> None:
    light = {"light_azimuth": 0.4, "light_elevation": 0.5, "light_strength": 0.95}
    faces = motion.faces.replace(**light, light_warmth=0.0, yaw=0.0, pitch=0.0)
    names = ("auburn", "blonde", "platinum", "blue")
    pigments = [Pigment(color=HAIR_COLORS[name]) for name in names]
    frame = frame_of(replace(motion, faces=faces), grown["long"], pigments=pigments)
    inside = frame.alpha > 0.5
    for name, light in zip(names, [frame.foreground, *frame.twin_foregrounds], strict=True):
        mean = torch.from_numpy(srgb_levels(light[inside].mean(0))[None] / 255.0)
        wanted = torch.tensor([HAIR_COLORS[name]], dtype=torch.float64)
        assert delta_e_2000(rgb_to_lab(mean), rgb_to_lab(wanted)).item() < 9, name


def test_the_same_again(frame: Any, motion: Any, grown: Any) -> None:
    again = render_strands(motion, 4, SIZE, hair=grown["long"], pigments=PIGMENTS)
    np.testing.assert_array_equal(again.picture, frame.picture)
    later = render_strands(motion, 8, SIZE, hair=grown["long"], pigments=PIGMENTS)
    assert np.abs(later.alpha - frame.alpha).max() > 0.2


def test_without_hair_the_head_is_bald(motion: Any, grown: Any) -> None:
    bald = frame_of(motion, without(grown["long"]))
    assert bald.alpha.max() == 0
    np.testing.assert_array_equal(bald.picture, bald.behind)


def test_hair_throws_its_shadow_on_what_is_behind(frame: Any, motion: Any, grown: Any) -> None:
    bald = frame_of(motion, without(grown["long"]))
    darker = np.where(frame.alpha == 0, (bald.behind - frame.behind).mean(-1), 0)
    assert darker.max() > 0.02 and darker.min() > -1e-3
    assert darker[:4, :4].max() < 1e-5  # the wall is far away


def test_grey_hair_has_some_strands_of_each_kind(motion: Any, grown: Any) -> None:
    dark = [Pigment(color=HAIR_COLORS["black"], grey=share) for share in (0.0, 0.5, 1.0)]
    frame = frame_of(motion, grown["long"], pigments=dark)
    means = [x[frame.alpha > 0.5].mean() for x in (frame.foreground, *frame.twin_foregrounds)]
    assert means[0] < 0.4 * means[1] < 0.4 * means[2]
    absorbed = dark[1].absorption(grown["long"])[:, 0, 0]
    assert (absorbed < 0.02).mean() == pytest.approx(0.5, abs=0.06)


def test_natural_hair_has_the_colors_of_melanin() -> None:
    black, brown, blonde = (Pigment.natural(*m) for m in ((4.0,), (0.5, 0.12), (0.05, 0.045)))
    assert max(black.color) < 0.12 < max(brown.color) < 0.35 < max(blonde.color)
    assert brown.color[0] > 1.4 * brown.color[1] > 1.4 * brown.color[2]


def test_hair_is_darker_at_its_roots(grown: Any) -> None:
    absorbed = BROWN.absorption(grown["long"])[..., 0]
    assert (absorbed[:, 0] > 1.2 * absorbed[:, 10]).all()


def test_a_beard_is_no_hair(motion: Any, grown: Any) -> None:
    shaven = frame_of(motion, grown["crop"])
    bearded = frame_of(motion, grown["crop"], beard=grown["beard"])
    assert bearded.beard.max() > 0.3 and shaven.beard.max() == 0
    assert np.abs(bearded.alpha - shaven.alpha).max() < 0.3
    chin = bearded.beard > 0.3
    assert bearded.behind[chin].mean() < 0.8 * shaven.behind[chin].mean()


@pytest.mark.parametrize("name", OCCLUDERS)
def test_what_is_before_the_hair_hides_it(motion: Any, grown: Any, frame: Any, name: Any) -> None:
    hidden = frame_of(motion, grown["long"], occluder=name)
    lost = frame.alpha - hidden.alpha
    assert lost.max() > 0.5 and lost.min() > -0.35
    gone = lost > 0.5
    assert np.abs(hidden.picture - frame.picture)[gone].mean() > 0.003


def test_nothing_is_seen_of_hair_under_a_hat(grown: Any) -> None:
    covered = under_hat(grown["crop"])
    top = grown["crop"].points[..., 1] > 1.0
    assert top.any() and covered.widths[top].max() == 0 < covered.widths.max()


def test_a_backdrop_is_behind_everything(motion: Any, grown: Any) -> None:
    red = np.zeros((2 * SIZE[1], 2 * SIZE[0], 3), np.float32) + np.array(
        [0.8, 0.1, 0.1], np.float32
    )
    frame = frame_of(motion, grown["long"], backdrop=red)
    np.testing.assert_allclose(frame.picture[0, 0], [0.8, 0.1, 0.1], atol=1e-6)


def test_light_multiplies_everything_but_the_matte(frame: Any) -> None:
    warm = frame.in_light(np.array([1.2, 1.0, 0.5], np.float32))
    np.testing.assert_allclose(warm.picture, frame.picture * [1.2, 1.0, 0.5], rtol=1e-5)
    np.testing.assert_allclose(warm.twin(1), frame.twin(1) * [1.2, 1.0, 0.5], rtol=1e-5)
    np.testing.assert_array_equal(warm.alpha, frame.alpha)


def test_short_hair_moves_as_the_head_does_and_long_hair_later(motion: Any, grown: Any) -> Any:
    def shape_of(points: Any) -> Any:
        return np.linalg.norm(points[:, None, -1] - points[None, :, 0], axis=-1)

    still, turned = (moved_points(grown["crop"], motion, index, 12) for index in (0, 9))
    assert np.abs(still - turned).max() > 0.02
    np.testing.assert_allclose(
        shape_of(still), shape_of(turned), atol=5e-3
    )  # its longest strands sway a little
    early, late = (moved_points(grown["long"], motion, index, 12) for index in (0, 9))
    assert np.abs(shape_of(early) - shape_of(late)).max() > 0.02


def test_larger_pictures_have_the_same_matte(motion: Any, grown: Any, frame: Any) -> None:
    double = render_strands(motion, 4, (112, 96), hair=grown["long"], pigments=[BROWN])
    halved = double.alpha.reshape(48, 2, 56, 2).mean((1, 3))
    assert np.abs(halved - frame.alpha).mean() < 0.02

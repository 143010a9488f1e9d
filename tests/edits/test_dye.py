"""What a dye makes of hair drawn by hand, beside a wall and with strands."""

import math

import pytest
import torch
from scipy.ndimage import maximum_filter
from torch import Tensor

from tests.models.tiny import random
from vidhair.edits.dye import MARGIN, Coat, Dyeing, Places, lighter_strands
from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.kernels import use_threads

HEIGHT, WIDTH, SIDE = 64, 96, 120.0
EDGE = 40  # where hair begins, from the left
INSIDE = (..., slice(4, -4), slice(60, -4))
DARK, FAIR, GREY = (22.0, 6.0, 9.0), (70.0, 5.0, 25.0), (60.0, 0.0, 2.0)
AUBURN, BLONDE, BLUE, BLACK = (
    (38.0, 26.0, 26.0), (66.0, 4.0, 26.0), (40.0, 5.0, -40.0), (10.0, 0.0, 0.0),
)  # fmt: skip


def lab_of(color: tuple[float, ...]) -> Tensor:
    return torch.tensor(color)


def matte(soft: float = 4.0) -> Tensor:
    x = torch.arange(WIDTH) + 0.5
    return ((x - EDGE) / soft + 0.5).clamp(0, 1).expand(1, 1, HEIGHT, WIDTH)


def hair(color: tuple[float, ...], contrast: float = 4.0) -> Tensor:
    """Lab [1, 3, h, w]: strands a few pixels wide, lighter in the middle than above and below."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    light = contrast * torch.sin(x / 0.9 + torch.sin(y / 5.0))
    light = light + 0.15 * color[0] * torch.sin(math.pi * y / HEIGHT)
    lab = lab_of(color).view(1, 3, 1, 1).repeat(1, 1, HEIGHT, WIDTH)
    lab[:, 0] += light
    return lab


def picture(color: tuple[float, ...], wall: tuple[float, ...] = (80.0, 2.0, 4.0)) -> Tensor:
    """sRGB [1, 3, h, w]: a wall on the left, that hair on the right."""
    front, back = lab_to_rgb(hair(color)), lab_to_rgb(lab_of(wall).view(1, 3, 1, 1))
    alpha = matte()
    return alpha * front + (1 - alpha) * back


def mean_of(rgb: Tensor) -> Tensor:
    return rgb_to_lab(rgb)[INSIDE].mean((0, 2, 3))


def dyeing(
    source: Tensor, target: tuple[float, ...], amount: float | Tensor = 1.0, *coats: Coat
) -> Dyeing:
    return Dyeing(source, lab_of(target), amount, SIDE, coats)


def dyed(
    color: tuple[float, ...], target: tuple[float, ...], amount: float | Tensor = 1.0, *coats: Coat
) -> tuple[Tensor, Tensor]:
    """(before, after)"""
    before = picture(color)
    return before, dyeing(mean_of(before), target, amount, *coats).apply(before, matte())


@pytest.mark.parametrize("target", [AUBURN, BLONDE, BLUE, BLACK])
@pytest.mark.parametrize("color", [DARK, FAIR, GREY])
class TestColors:
    def test_the_mean_comes_near_to_the_target(
        self, color: tuple[float, ...], target: tuple[float, ...]
    ) -> None:
        before, after = dyed(color, target)
        left = (mean_of(after) - lab_of(target)).norm()
        assert left < 7 and left < 0.3 * (mean_of(before) - lab_of(target)).norm() + 2

    def test_what_is_not_hair_stays_to_the_bit(
        self, color: tuple[float, ...], target: tuple[float, ...]
    ) -> None:
        before, after = dyed(color, target)
        none = (matte() == 0).expand_as(before)
        assert torch.equal(after[none], before[none]) and none.any()
        assert ((after - before).abs() * ~none).max() > 0.02

    def test_strands_keep_their_contrast(
        self, color: tuple[float, ...], target: tuple[float, ...]
    ) -> None:
        def contrast(rgb: Tensor) -> float:
            light = rgb_to_lab(rgb)[:, :1]
            return float((light - blur(light, 4.0))[INSIDE].std())

        before, after = dyed(color, target)
        # Grey hair differs in pigment, too, which the dye covers.
        least = 0.35 if color == GREY else 0.55
        assert least < contrast(after) / contrast(before) < 1.6

    def test_nothing_of_the_border_is_lighter_than_both_sides(
        self, color: tuple[float, ...], target: tuple[float, ...]
    ) -> None:
        before, after = (rgb_to_lab(x)[0, 0] for x in dyed(color, target))
        border = slice(EDGE - 6, EDGE + 7)
        sides = torch.stack([after[:, EDGE + 10 : EDGE + 30].amax(1), after[:, :20].amax(1)])
        most = maximum_filter(sides.amax(0).numpy(), 5)
        was = before[:, border].amax(1)
        allowed = torch.maximum(torch.from_numpy(most), was) + MARGIN + 0.5
        assert (after[:, border].amax(1) <= allowed).all()

    def test_what_is_lit_stays_lighter(
        self, color: tuple[float, ...], target: tuple[float, ...]
    ) -> None:
        _, after = dyed(color, target)
        light = rgb_to_lab(after)[0, 0, :, 60:-4].mean(1)
        assert light[HEIGHT // 2 - 4 : HEIGHT // 2 + 4].mean() > light[:8].mean()


class TestAmount:
    def test_none_changes_nothing(self) -> None:
        before, after = dyed(DARK, BLONDE, 0.0)
        torch.testing.assert_close(after, before, atol=1e-3, rtol=0)

    def test_half_is_half_of_the_way(self) -> None:
        before, whole = dyed(DARK, AUBURN)
        _, half = dyed(DARK, AUBURN, 0.5)
        middle = (mean_of(before) + mean_of(whole)) / 2
        torch.testing.assert_close(mean_of(half), middle, atol=1.0, rtol=0)

    def test_it_may_differ_by_place(self) -> None:
        where = torch.zeros(1, 1, HEIGHT, WIDTH)
        where[..., 32:, :] = 1
        (before, whole), (_, part) = dyed(DARK, BLUE), dyed(DARK, BLUE, where)
        torch.testing.assert_close(part[..., :32, :], before[..., :32, :], atol=1e-3, rtol=0)
        torch.testing.assert_close(part[..., 34:, :], whole[..., 34:, :], atol=1e-3, rtol=0)


class TestCoats:
    EVERYWHERE = torch.ones(1, 1, HEIGHT, WIDTH)

    def test_one_that_lies_nowhere_is_none(self) -> None:
        _, plain = dyed(DARK, AUBURN)
        _, coated = dyed(DARK, AUBURN, 1.0, Coat(lab_of(BLUE), 0 * self.EVERYWHERE))
        torch.testing.assert_close(coated, plain, atol=1e-5, rtol=0)

    def test_one_that_lies_everywhere_is_all(self) -> None:
        _, blue = dyed(DARK, BLUE)
        _, coated = dyed(DARK, AUBURN, 1.0, Coat(lab_of(BLUE), self.EVERYWHERE))
        torch.testing.assert_close(coated, blue, atol=1e-4, rtol=0)

    def test_the_last_lies_on_top(self) -> None:
        both = Coat(lab_of(BLUE), self.EVERYWHERE), Coat(lab_of(BLONDE), 0.5 * self.EVERYWHERE)
        results = [mean_of(dyed(DARK, AUBURN, 1.0, *coats)[1]) for coats in (both, both[::-1])]
        middle = (mean_of(dyed(DARK, BLUE)[1]) + mean_of(dyed(DARK, BLONDE)[1])) / 2
        torch.testing.assert_close(results[0], middle, atol=2.0, rtol=0)
        assert (results[1] - mean_of(dyed(DARK, BLUE)[1])).norm() < 1


class TestOf:
    """Hair by itself, under a matte of ones."""

    SURE = torch.ones(1, 1, HEIGHT, WIDTH)

    def test_what_shines_has_less_chroma_than_its_lightness_says(self) -> None:
        """It has the color of the light."""
        lab = hair(DARK, contrast=12.0)
        got = dyeing(lab.mean((0, 2, 3)), AUBURN).of(lab, self.SURE)
        tint = got[:, 1:] - 0.15 * (lab[:, 1:] - lab.mean((0, 2, 3)).view(1, 3, 1, 1)[:, 1:])
        chroma, full = tint.norm(dim=1), lab_of(AUBURN)[1:].norm()
        lit = got[:, 0] > AUBURN[0] + 6
        assert lit.any() and (chroma[lit] < 0.97 * full).all()

    def test_depth_shows_the_pigment_again(self) -> None:
        """What is twice as deep passes the same share once more: blonde turns to gold."""
        light = torch.tensor([10.0, 30.0, 50.0, BLONDE[0]]).view(1, 1, 1, 4)
        a, b = dyeing(lab_of(DARK), BLONDE)._tint(light)[0, :, 0]
        torch.testing.assert_close(torch.stack([a[3], b[3]]), lab_of(BLONDE)[1:])
        hue = torch.atan2(b, a)
        assert (hue.diff() > 0).all()  # redder, the darker
        assert b[2] > 0.9 * b[3] and b[0] < 0.6 * b[3]
        grey = dyeing(lab_of(DARK), (60.0, 0.0, 0.0))._tint(light)
        assert grey.abs().max() < 0.05

    def test_lightness_ends_before_white_and_black(self) -> None:
        lab = hair(DARK, contrast=60.0)
        lab[:, 0].clamp_(0, 100)
        for target in (BLONDE, BLACK, (95.0, 0.0, 3.0)):
            light = dyeing(lab.mean((0, 2, 3)), target).of(lab, self.SURE)[:, 0]
            assert light.min() >= 0 and light.max() <= 98

    def test_what_keeps_its_lightness_keeps_its_highlights(self) -> None:
        """Sun on some of the hair is several times as light as the rest; a dye of about the hair's
        own lightness made it dull."""
        lab = hair((30.0, 8.0, 20.0))
        lab[:, 0, :, 70:] += 45
        for target, kept in (((30.0, 6.0, 18.0), 35), ((36.0, 6.0, 18.0), 28), (AUBURN, 20)):
            got = dyeing(lab_of((30.0, 8.0, 20.0)), target).of(lab, self.SURE)[:, 0]
            assert got[..., 80:].mean() - got[..., :60].mean() > kept

    def test_its_own_hues_show_a_little(self) -> None:
        lab = hair(DARK)
        lab[:, 1, :, 50:] += 10
        got = dyeing(lab.mean((0, 2, 3)), BLUE).of(lab, self.SURE)
        step = got[:, 1, :, 60:].mean() - got[:, 1, :, :40].mean()
        assert 0.5 < step < 4

    @pytest.mark.parametrize("light", [60.0, 43.0])
    def test_grey_strands_keep_less_contrast_than_dull_ones(self, light: float) -> None:
        """Salt and pepper hair is grey in the mean, too."""
        kept = []
        for source in ((light, 0.0, 2.0), (light, 10.0, 20.0)):
            lab = hair(source)
            got = dyeing(lab_of(source), AUBURN).of(lab, self.SURE)
            kept.append(float((got[:, :1] - blur(got[:, :1], 4.0)).std()))
        assert kept[0] < 0.75 * kept[1]

    def test_light_and_shade_are_kept_in_proportion_and_less_so_on_dark_hair(self) -> None:
        """As one half of it is in the shadow."""

        def ratio(lab: Tensor) -> float:
            return float(lab[:, 0, :, 70:].mean() / lab[:, 0, :, :26].mean())

        for color, target, least, most in (
            (FAIR, AUBURN, 0.85, 1.1), (FAIR, BLACK, 0.85, 1.1), (DARK, BLONDE, 0.7, 0.87),
        ):  # fmt: skip
            lab = hair(color, contrast=0.0)
            lab[:, 0, :, 48:] *= 1.4
            got = dyeing(lab.mean((0, 2, 3)), target).of(lab, self.SURE)
            assert least < ratio(got) / ratio(lab) < most, (color, target)

    def test_what_is_hardly_hair_tells_little_of_its_light(self) -> None:
        lab, alpha = hair(DARK, contrast=0.0), self.SURE.clone()
        alpha[..., :EDGE] = 0.3
        lit = lab.clone()
        lit[:, 0, :, :EDGE] += 60
        plain, got = (dyeing(lab_of(DARK), AUBURN).of(x, alpha) for x in (lab, lit))
        assert (got - plain)[:, 0, :, EDGE : EDGE + 4].mean().abs() < 0.2


def test_a_border_into_which_the_wall_is_mixed_is_told_from_hair() -> None:
    """The matte says hair where a lens has mixed in some of the bright wall."""
    front, alpha = hair(DARK), matte(1.0)
    mixed = front.clone()
    mixed[:, 0, :, EDGE : EDGE + 2] += 25
    after = dyeing(lab_of(DARK), AUBURN)._inside(mixed, alpha, alpha > 0)
    change = (after - front)[:, 0, :, EDGE : EDGE + 2]
    assert change.mean() < 0.5 * 25
    torch.testing.assert_close(after[..., 60:], mixed[..., 60:], atol=0.02, rtol=0)


def test_a_border_is_as_dark_as_the_hair_next_to_it() -> None:
    """And not as the hair is on average: dark roots, into which a lens has mixed some wall."""
    front, alpha = hair(DARK, contrast=0.0), matte(1.0)
    front[:, 0, :, EDGE + 16 :] += 30
    mixed = front.clone()
    mixed[:, 0, :, EDGE : EDGE + 2] += 12
    after = dyeing(lab_of(DARK), BLONDE)._inside(mixed, alpha, alpha > 0)
    assert (after - front)[:, 0, :, EDGE : EDGE + 2].mean() < 2


class TestTiles:
    """What CPUs do, against the definition."""

    @pytest.mark.parametrize("size", [(64, 96), (50, 131), (17, 3), (1, 40), (37, 270)])
    @pytest.mark.parametrize("side", [60.0, 120.0, 500.0])
    def test_they_are_as_the_definition(self, size: tuple[int, int], side: float) -> None:
        before = random(1, 3, *size).sigmoid()
        alpha = (blur(random(1, 1, *size, seed=1), 3.0) * 8 + 0.3).clamp(0, 1)
        coat = Coat(lab_of(BLUE), random(1, 1, *size, seed=2).sigmoid())
        for target, amount, coats in (
            (BLONDE, 1.0, ()), (BLACK, torch.full((1, 1, 1, 1), 0.7), ()), (AUBURN, 0.8, (coat,)),
        ):  # fmt: skip
            dye = Dyeing(lab_of(DARK), lab_of(target), amount, side, coats)
            want, got = dye._apply(before, alpha), dye._apply_in_tiles(before, alpha)
            torch.testing.assert_close(got, want, atol=5e-4, rtol=0)
            assert torch.equal(got[(alpha == 0).expand_as(got)], want[(alpha == 0).expand_as(got)])
            assert got.min() >= 0 and got.max() <= 1

    def test_the_number_of_threads_does_not_matter(self) -> None:
        before, alpha = picture(DARK), matte(10.0)
        dye = dyeing(lab_of(DARK), BLONDE)
        threads = torch.get_num_threads()
        try:
            use_threads(1)
            alone = dye.apply(before, alpha)
        finally:
            use_threads(threads)
        assert torch.equal(alone, dye.apply(before, alpha))

    def test_without_hair_nothing_changes(self) -> None:
        before = picture(DARK)
        got = dyeing(lab_of(DARK), BLONDE).apply(before, torch.zeros_like(matte()))
        assert torch.equal(got, before) and got.data_ptr() != before.data_ptr()

    def test_other_numbers_take_the_definition(self) -> None:
        before, alpha = picture(DARK).double(), matte().double()
        got = dyeing(lab_of(DARK), BLONDE).apply(before, alpha)
        want = dyeing(lab_of(DARK), BLONDE).apply(before.float(), alpha.float())
        assert got.dtype == torch.float64
        torch.testing.assert_close(got.float(), want, atol=5e-4, rtol=0)


class TestLighterStrands:
    def test_they_are_those_lighter_than_their_neighbours(self) -> None:
        x = torch.arange(WIDTH)
        lab = lab_of(DARK).view(1, 3, 1, 1).repeat(1, 1, HEIGHT, WIDTH)
        lab[:, 0] += 8.0 * (x % 12 < 3)
        got = lighter_strands(lab, SIDE)
        assert got.shape == (1, 1, HEIGHT, WIDTH) and got.min() >= 0 and got.max() <= 1
        inner = got[0, 0, 10:-10, 24:72].mean(0).view(-1, 12)
        assert inner[:, 1].min() > 0.7 and inner[:, 7].max() < 0.2

    def test_even_hair_has_hardly_any_and_light_does_not_count(self) -> None:
        lab = hair(DARK, contrast=0.0)
        assert lighter_strands(lab, SIDE).mean() < 0.25
        noisy = lab.clone()
        noisy[:, 0] += 3 * random(HEIGHT, WIDTH)
        brighter = noisy.clone()
        brighter[:, 0] += 20
        torch.testing.assert_close(
            lighter_strands(brighter, SIDE), lighter_strands(noisy, SIDE), atol=1e-2, rtol=0
        )


class TestBorder:
    def test_it_is_a_mixture_of_what_is_dyed_and_what_is_behind(self) -> None:
        alpha, wall = matte(10.0), lab_to_rgb(lab_of((50.0, 0.0, 0.0)).view(1, 3, 1, 1))
        front = lab_to_rgb(lab_of(FAIR).view(1, 3, 1, 1))
        before = (alpha * front + (1 - alpha) * wall).expand(1, 3, HEIGHT, WIDTH)
        after = dyeing(lab_of(FAIR), BLACK).apply(before, alpha)
        inside = after[..., 70:90].mean((2, 3), keepdim=True)
        torch.testing.assert_close(after, alpha * inside + (1 - alpha) * wall, atol=0.05, rtol=0)

    def test_no_speck_of_it_begins_to_glow(self) -> None:
        """What is light there may be anything, and does not get lighter with the hair."""
        before = picture(DARK, wall=(30.0, 0.0, 0.0))
        alpha = matte()
        speck = (..., slice(30, 33), slice(EDGE - 1, EDGE + 1))
        before[speck] = lab_to_rgb(lab_of((75.0, 0.0, 0.0)), dim=0).view(3, 1, 1)
        assert alpha[speck].min() > 0.1 and alpha[speck].max() < 0.95
        after = dyeing(lab_of(DARK), BLONDE).apply(before, alpha)
        assert rgb_to_lab(after)[speck][0, 0].max() < 75 + MARGIN + 0.5

    def test_a_light_seam_in_it_is_dyed_as_the_hair_within(self) -> None:
        alpha = matte(1.0)
        lab = hair(DARK, contrast=0.0)
        lab[:, 0, :, EDGE : EDGE + 2] += 20
        before = torch.where(
            alpha > 0.5, lab_to_rgb(lab), lab_to_rgb(lab_of((42.0, 0.0, 0.0)).view(1, 3, 1, 1))
        )
        after = rgb_to_lab(dyeing(lab_of(DARK), AUBURN).apply(before, alpha))[0, 0]
        seam, within = after[:, EDGE : EDGE + 2].mean(), after[:, 60:80].mean()
        assert seam < within + 7


def test_places_are_taken_and_put_back() -> None:
    x = torch.arange(2 * 3 * 4.0).view(1, 2, 3, 4)
    places = Places(x[:, :1] % 2 == 0)
    taken = places.take(x)
    assert taken.tolist() == [[[[0, 2, 4, 6, 8, 10]], [[12, 14, 16, 18, 20, 22]]]]
    got = places.put(-taken, x.clone())
    torch.testing.assert_close(got, torch.where(x % 2 == 0, -x, x))

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidhair.errors import InvalidSetting
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.named_colors import HAIR_COLORS, LEVELS, TONES, is_picture, parse_color


@pytest.mark.parametrize("name", HAIR_COLORS)
def test_a_name_in_any_spelling(name: str) -> None:
    want = HAIR_COLORS[name]
    spellings = {name, name.upper(), f"  {name.title()} ", name.replace(" ", "-")}
    for spelling in spellings | {name.replace(" ", "_")}:
        assert parse_color(spelling) == want


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("blond", "blonde"),
        ("dark blond", "dark blonde"),
        ("Dark-Blond", "dark blonde"),
        ("gray", "grey"),
        ("silver", "grey"),
        ("brunette", "brown"),
    ],
)
def test_synonyms(other: str, name: str) -> None:
    assert parse_color(other) == HAIR_COLORS[name]


@given(st.tuples(*[st.integers(0, 255)] * 3), st.booleans(), st.booleans())
def test_hex_codes(levels: tuple[int, int, int], hash_sign: bool, capital: bool) -> None:
    digits = "{:02x}{:02x}{:02x}".format(*levels)
    code = ("#" if hash_sign else "") + (digits.upper() if capital else digits)
    assert parse_color(code) == pytest.approx([level / 255 for level in levels])


@given(st.tuples(*[st.integers(0, 15)] * 3))
def test_short_hex_codes_double_every_digit(digits: tuple[int, int, int]) -> None:
    short = "#" + "".join(f"{d:x}" for d in digits)
    long = "#" + "".join(f"{d:x}" * 2 for d in digits)
    assert parse_color(short) == parse_color(long)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        "#",
        "#12",
        "#1234",
        "#12345",
        "#1234567",
        "##123456",
        "#12345g",
        "#٣٣٣",
        "no color",
    ],
)
def test_what_is_no_color_is_said(wrong: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        parse_color(wrong)
    message = str(error.value)
    assert f"edit.color = {wrong!r}" in message
    assert all(name in message for name in HAIR_COLORS)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("aubrun", "auburn"), ("ligth brown", "light brown"), ("rde", "red")]
)
def test_a_slip_of_the_pen_is_guessed(wrong: str, meant: str) -> None:
    with pytest.raises(InvalidSetting, match=f"did you mean {meant}"):
        parse_color(wrong)


def test_names_keep_their_order_of_lightness() -> None:
    def lightness(name: str) -> float:
        red, green, blue = HAIR_COLORS[name]
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    assert all(0 <= level <= 1 for color in HAIR_COLORS.values() for level in color)
    for order in (
        ["black", "dark brown", "brown", "light brown", "dark blonde", "blonde", "platinum"],
        ["black", "grey", "white"],
        ["dark brown", "auburn", "ginger"],
    ):
        values = [lightness(name) for name in order]
        assert values == sorted(values)


@pytest.mark.parametrize("path", ["hair.png", "a/b.c/HAIR.JPG", "x.jpeg", "~/x.webp", "x y.bmp"])
def test_pictures_are_known_by_their_suffix(path: str) -> None:
    assert is_picture(path)


@pytest.mark.parametrize("color", [*HAIR_COLORS, "#8a4b2d", "png", "hair.mp4", "", "a.png/b"])
def test_anything_else_is_no_picture(color: str) -> None:
    assert not is_picture(color)


@pytest.mark.parametrize("text", ["8", "level 8", "8 natural", "Level_8-Natural"])
def test_a_level_may_do_without_a_tone(text: str) -> None:
    assert parse_color(text) == pytest.approx(LEVELS[7], abs=1e-4)


@pytest.mark.parametrize("tone", TONES)
def test_levels_of_every_tone_get_lighter(tone: str) -> None:
    labs = [rgb_to_lab(torch.tensor(parse_color(f"{n} {tone}")), dim=0) for n in range(1, 11)]
    assert all(light > dark + 2 for dark, light in pairwise(float(lab[0]) for lab in labs))


def test_tones_go_their_way() -> None:
    ash, plain, gold, copper = (
        rgb_to_lab(torch.tensor(parse_color(f"7 {tone}")), dim=0)
        for tone in ("ash", "natural", "gold", "copper")
    )
    assert ash[2] < plain[2] - 5 < gold[2] - 10 and copper[1] > plain[1] + 10


@pytest.mark.parametrize("text", ["0", "11", "8 blurple", "8 gold red"])
def test_levels_and_tones_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="a level from 1 to 10 with a tone"):
        parse_color(text)

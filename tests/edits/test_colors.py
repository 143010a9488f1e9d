import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidhair.edits.colors import HAIR_COLOURS, is_picture, parse_colour
from vidhair.errors import InvalidSetting


@pytest.mark.parametrize("name", HAIR_COLOURS)
def test_a_name_in_any_spelling(name):
    want = HAIR_COLOURS[name]
    spellings = {name, name.upper(), f"  {name.title()} ", name.replace(" ", "-")}
    for spelling in spellings | {name.replace(" ", "_")}:
        assert parse_colour(spelling) == want


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
def test_synonyms(other, name):
    assert parse_colour(other) == HAIR_COLOURS[name]


@given(st.tuples(*[st.integers(0, 255)] * 3), st.booleans(), st.booleans())
def test_hex_codes(levels, hash_sign, capital):
    digits = "{:02x}{:02x}{:02x}".format(*levels)
    code = ("#" if hash_sign else "") + (digits.upper() if capital else digits)
    assert parse_colour(code) == pytest.approx([level / 255 for level in levels])


@given(st.tuples(*[st.integers(0, 15)] * 3))
def test_short_hex_codes_double_every_digit(digits):
    short = "#" + "".join(f"{d:x}" for d in digits)
    long = "#" + "".join(f"{d:x}" * 2 for d in digits)
    assert parse_colour(short) == parse_colour(long)


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
        "no colour",
    ],
)
def test_what_is_no_colour_is_said(wrong):
    with pytest.raises(InvalidSetting) as error:
        parse_colour(wrong)
    message = str(error.value)
    assert f"edit.color = {wrong!r}" in message
    assert all(name in message for name in HAIR_COLOURS)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("aubrun", "auburn"), ("ligth brown", "light brown"), ("rde", "red")]
)
def test_a_slip_of_the_pen_is_guessed(wrong, meant):
    with pytest.raises(InvalidSetting, match=f"did you mean {meant}"):
        parse_colour(wrong)


def test_names_keep_their_order_of_lightness():
    def lightness(name: str) -> float:
        red, green, blue = HAIR_COLOURS[name]
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    assert all(0 <= level <= 1 for colour in HAIR_COLOURS.values() for level in colour)
    for order in (
        ["black", "dark brown", "brown", "light brown", "dark blonde", "blonde", "platinum"],
        ["black", "grey", "white"],
        ["dark brown", "auburn", "ginger"],
    ):
        values = [lightness(name) for name in order]
        assert values == sorted(values)


@pytest.mark.parametrize("path", ["hair.png", "a/b.c/HAIR.JPG", "x.jpeg", "~/x.webp", "x y.bmp"])
def test_pictures_are_known_by_their_suffix(path):
    assert is_picture(path)


@pytest.mark.parametrize("colour", [*HAIR_COLOURS, "#8a4b2d", "png", "hair.mp4", "", "a.png/b"])
def test_anything_else_is_no_picture(colour):
    assert not is_picture(colour)

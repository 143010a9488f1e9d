"""Hair colors: by name, by hex code, or from a picture."""

import difflib
import re
from pathlib import Path

import torch

from vidhair.errors import InvalidSetting
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab

# How hair of these names looks on average in average light; sRGB, 0 … 1.
HAIR_COLORS: dict[str, tuple[float, float, float]] = {
    "black": (0.11, 0.1, 0.1),
    "dark brown": (0.18, 0.12, 0.085),
    "brown": (0.25, 0.155, 0.09),
    "light brown": (0.41, 0.27, 0.16),
    "auburn": (0.42, 0.16, 0.075),
    "red": (0.55, 0.12, 0.07),
    "ginger": (0.68, 0.32, 0.12),
    "dark blonde": (0.55, 0.42, 0.25),
    "blonde": (0.72, 0.595, 0.425),
    "platinum": (0.88, 0.80, 0.66),
    "grey": (0.55, 0.55, 0.56),
    "white": (0.86, 0.86, 0.86),
    "pink": (0.82, 0.28, 0.48),
    "blue": (0.16, 0.30, 0.72),
    "green": (0.18, 0.50, 0.28),
    "purple": (0.45, 0.20, 0.62),
}
# Levels of depth as hairdressers count them, 1 black … 10 lightest blonde, without a tone; sRGB.
LEVELS: tuple[tuple[float, float, float], ...] = (
    (0.11, 0.1, 0.1), (0.15, 0.12, 0.105), (0.2, 0.15, 0.12), (0.28, 0.2, 0.15),
    (0.37, 0.27, 0.195), (0.47, 0.36, 0.26), (0.56, 0.445, 0.325), (0.66, 0.545, 0.405),
    (0.76, 0.66, 0.51), (0.86, 0.785, 0.655),
)  # fmt: skip
# What a tone adds to a level of middle depth, in a and b of Lab; darker ones take less of it.
TONES: dict[str, tuple[float, float]] = {
    "natural": (0, 0), "ash": (-3, -10), "pearl": (1, -9), "beige": (2, -3), "gold": (2, 11),
    "copper": (16, 15), "red": (26, 9), "mahogany": (15, -2), "violet": (11, -17),
}  # fmt: skip
TONED_FROM = 60.0  # lightness from which a tone counts fully
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SYNONYMS = {"blond": "blonde", "gray": "grey", "silver": "grey", "brunette": "brown"}


def is_picture(color: str) -> bool:
    """Whether a color names a picture whose hair is meant."""
    return Path(color).suffix.lower() in PICTURES


def parse_color(color: str, place: str = "edit.color") -> tuple[float, float, float]:
    """A name, a level with a tone ("8 gold", "6") or a hex code → sRGB in 0 … 1.

    place: of the setting. Raises InvalidSetting.
    """
    text = color.strip().lower().replace("_", " ").replace("-", " ")
    text = re.sub(r"\bblond\b", "blonde", _SYNONYMS.get(text, text))
    text = text.replace("gray", "grey")
    if text in HAIR_COLORS:
        return HAIR_COLORS[text]
    salon = re.fullmatch(rf"(?:level )?(10|[1-9])(?: ({'|'.join(TONES)}))?", text)
    if salon:
        return _toned(int(salon[1]), salon[2] or "natural")
    hexadecimal = re.fullmatch(r"#?([0-9a-f]{6}|[0-9a-f]{3})", text)
    if hexadecimal:
        digits = hexadecimal[1]
        digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
        red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
        return red, green, blue
    close = difflib.get_close_matches(text, HAIR_COLORS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InvalidSetting(
        f"{place} = {color!r} is no color; {hint}give one of {', '.join(HAIR_COLORS)}, "
        f"a level from 1 to 10 with a tone ({', '.join(TONES)}) such as '8 gold', "
        "a hex code such as #8a4b2d, or a picture of hair"
    )


def _toned(level: int, tone: str) -> tuple[float, float, float]:
    lab = rgb_to_lab(torch.tensor(LEVELS[level - 1]), dim=0)
    share = min(1.0, float(lab[0]) / TONED_FROM)
    red, green, blue = lab_to_rgb(lab + share * torch.tensor((0.0, *TONES[tone])), dim=0).tolist()
    return red, green, blue

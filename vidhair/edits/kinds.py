"""The kinds of edit and their settings."""

from dataclasses import dataclass
from typing import Any, ClassVar

from vidhair.cache import fingerprint
from vidhair.edits.colors import HAIR_COLOURS, is_picture, parse_colour
from vidhair.media import read_image
from vidhair.settings import identity, setting


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Base of all kinds. kind: its name in recipes."""

    kind: ClassVar[str]

    def identity(self) -> dict[str, Any]:
        """What results depend on, as plain values. Raises the errors of what cannot be read."""
        return {"kind": self.kind, **identity(self)}


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Edit):
    """No edit: shows what the generator makes of the person."""

    kind = "reconstruct"


@dataclass(frozen=True, kw_only=True)
class HairColor(Edit):
    kind = "hair_color"
    color: str = setting(
        "auburn", f"a hex code (#8a4b2d), a picture of hair, or a name: {', '.join(HAIR_COLOURS)}"
    )
    strength: float = setting(1.0, "share of the way to that colour", low=-1.0, high=2.0)

    def identity(self) -> dict[str, Any]:
        """The colour itself, so that its name or file does not matter."""
        if is_picture(self.color):
            color: Any = fingerprint(read_image(self.color))
        else:
            color = list(parse_colour(self.color))
        return super().identity() | {"color": color}


@dataclass(frozen=True, kw_only=True)
class HairLength(Edit):
    kind = "hair_length"
    amount: float = setting(
        0.5, "how much longer (1 is from the chin to below the shoulders)", low=-1.5, high=1.5
    )


@dataclass(frozen=True, kw_only=True)
class Bald(Edit):
    kind = "bald"
    strength: float = setting(1.0, "share of the way to no hair", low=0.0, high=2.0)


@dataclass(frozen=True, kw_only=True)
class Attribute(Edit):
    kind = "attribute"
    name: str = setting("smile", "an attribute of the pack")
    strength: float = setting(0.8, "change, in units of the attribute", low=-5.0, high=5.0)


EDITS: dict[str, type[Edit]] = {
    cls.kind: cls for cls in (HairColor, HairLength, Bald, Attribute, Reconstruct)
}

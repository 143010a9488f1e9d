"""No edit: shows what the generator makes of the person."""

from dataclasses import dataclass

from vidhair.edits.edit import Edit


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Edit):
    kind = "reconstruct"

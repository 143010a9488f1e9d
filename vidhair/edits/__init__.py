"""What an edit does to the latent codes."""

from vidhair.edits.kinds import EDITS, Attribute, Bald, Edit, HairColor, HairLength, Reconstruct

__all__ = ["EDITS", "Attribute", "Bald", "Edit", "HairColor", "HairLength", "Reconstruct"]

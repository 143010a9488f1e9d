"""Model packs that ship with vidhair."""

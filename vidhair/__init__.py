"""vidhair."""

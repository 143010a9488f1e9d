"""Weight files of others: what they hold, and how they become a pack."""

"""Results per frame and per clip, kept under readable and complete keys."""

from vidhair.cache.key import Key, file_fingerprint, fingerprint
from vidhair.cache.store import DiskStore, Entry, FramesMissing, MemoryStore, Store, StoredEntry

__all__ = [
    "DiskStore",
    "Entry",
    "FramesMissing",
    "Key",
    "MemoryStore",
    "Store",
    "StoredEntry",
    "file_fingerprint",
    "fingerprint",
]

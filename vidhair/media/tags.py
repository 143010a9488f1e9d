"""What a file says about itself: title, place, camera, time code; and what it holds besides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import Container, InputContainer
    from av.video.stream import VideoStream

# Of the file's making, not of its content: every muxer writes its own.
_TECHNICAL = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "alpha_mode", "duration",
    "com.apple.quicktime.software", "software",
}  # fmt: skip
# Frames per second that time codes count.
_RATES = (24, 25, 30, 48, 50, 60, 100, 120, 150)
# Apple's keys, by the names under which every muxer of ffmpeg knows them.
_APPLE = "com.apple.quicktime."
_RENAMED = {"location.iso6709": "location", "creationdate": "date"}


def tags_of(container: Container, stream: VideoStream) -> dict[str, str]:
    """By ffmpeg's names, in lower case. Text that is no UTF-8 has replacement characters."""
    found = {}
    stored = {**container.metadata}
    for other in (stream, *container.streams):
        if "timecode" in other.metadata:
            stored.setdefault("timecode", other.metadata["timecode"])
    for key, value in stored.items():
        name = key.lower()
        translation = re.fullmatch(r"(.+)-[a-z]{3}", name)  # "title-eng" beside "title"
        if name in _TECHNICAL or not value or (translation and translation[1] in stored):
            continue
        if name.startswith(_APPLE):
            name = _RENAMED.get(name.removeprefix(_APPLE), name.removeprefix(_APPLE))
        found[name] = value.encode(errors="surrogateescape").decode(errors="replace")
    return found


def tags_held(tags: Mapping[str, str], container: str, rate: Fraction) -> dict[str, str]:
    """Without a time code that .mp4 and .mov would refuse the whole file for."""
    code = tags.get("timecode", "")
    drop = ";" in code and rate not in (Fraction(30000, 1001), Fraction(60000, 1001))
    valid = re.fullmatch(r"\d\d:\d\d:\d\d[:;.]\d\d", code) and round(rate) in _RATES and not drop
    return {k: v for k, v in tags.items() if k != "timecode" or valid or container == "matroska"}


def lost_tags(wanted: Mapping[str, str], container: InputContainer) -> list[str]:
    """Those that a written file does not show."""
    written = tags_of(container, container.streams.video[0])
    return sorted(name for name in wanted if name not in written)


def left_behind(container: InputContainer, stream: VideoStream) -> list[str]:
    """What a file holds besides this picture, its sound and its tags, in words."""
    kinds = Counter(
        "further picture" if other.type == "video" else other.type
        for other in container.streams
        if other is not stream
        and other.type != "audio"
        and not (other.type == "data" and "timecode" in other.metadata)
    )
    words = [f"{count} {kind} track{'s' if count > 1 else ''}" for kind, count in kinds.items()]
    return words + (["chapters"] if container.chapters() else [])

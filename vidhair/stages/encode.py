"""Settings of the video that is written."""

from dataclasses import dataclass

from vidhair.settings import setting


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    codec: str = setting("auto", "auto (by the file's suffix), or an encoder of ffmpeg's by name")
    crf: int = setting(
        12,
        "quality: lower is better and larger; a note says what encoders make of it",
        low=0,
        high=51,
    )
    preset: str = setting(
        "medium",
        "speed of encoders that have presets",
        choices=(
            "ultrafast",
            "superfast",
            "veryfast",
            "faster",
            "fast",
            "medium",
            "slow",
            "slower",
        ),
    )
    odd: str = setting(
        "keep",
        "odd sizes: keep (an edit has its source's size; H.264 and H.265 then store 4:4:4 color, "
        "which QuickTime, Safari, phones and hardware decoders do not play), or pad (repeat the "
        "last column or row once, which plays everywhere)",
        choices=("keep", "pad"),
    )

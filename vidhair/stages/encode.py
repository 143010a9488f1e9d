"""Settings of the video that is written."""

from dataclasses import dataclass

from vidhair.settings import setting


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    codec: str = setting("auto", "auto (by the file's suffix), or an encoder of ffmpeg's by name")
    crf: int = setting(12, "quality: lower is better and larger", low=0, high=51)
    preset: str = setting(
        "medium",
        "speed of the encoder",
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

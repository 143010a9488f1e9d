"""Carrying sound into an output: packet for packet where its container allows, else re-encoded."""

from __future__ import annotations

import errno
import heapq
import io
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidhair.errors import EncodingFailed
from vidhair.media.ffmpeg import ffmpeg_path
from vidhair.media.files import scratch_file
from vidhair.media.source import open_container

if TYPE_CHECKING:
    from av.container import OutputContainer

_OPUS_LAYOUTS = "mono|stereo|3.0|quad|5.0|5.1|6.1|7.1"
# What each container is given in place of sound that it cannot hold: ffmpeg's encoder, bit rate.
_REPLACEMENTS = {"webm": ("libopus", "160k")}
_REPLACEMENT = ("aac", "192k")
# Sound that a container holds and that players are silent on: QuickTime and browsers know neither
# PCM by its name in .mp4 ("ipcm") nor the others there.
_NEVER = re.compile(r"(?!)")
_SILENT = {"mp4": re.compile(r"pcm_.*|vorbis|dts|truehd|mlp|wma.*")}


class SoundTrack:
    """Every audio stream of `source`, as streams of `output`.

    notes: sentences on what could not be copied.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        *,
        delay: Fraction,
        scratch: Path,
        resources: ExitStack,
    ) -> None:
        """delay: seconds by which the sound is moved. scratch: beside it lies re-encoded sound.

        resources: closes and removes what is needed while writing.
        """
        self.notes: tuple[str, ...] = ()
        self._output = output
        streams = []
        with open_container(source) as container:
            count = len(container.streams.audio)
        for number in range(count):
            stream = resources.enter_context(open_container(source)).streams.audio[number]
            name = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            silent = _SILENT.get(output.format.name, _NEVER).fullmatch(name)
            if silent or not _can_hold(output.format.name, stream):
                encoder, _ = _REPLACEMENTS.get(output.format.name, _REPLACEMENT)
                # WebM trims the padding of the last packet only where a packet says so.
                suffix = ".webm" if output.format.name == "webm" else ".mp4"
                part = resources.enter_context(scratch_file(scratch, suffix))
                _reencode(source, number, part, output.format.name)
                stream = resources.enter_context(open_container(part)).streams.audio[0]
                why = "is silent in many players of" if silent else "does not fit"
                self.notes += (
                    f"sound {number + 1} ({name}) {why} {output.format.name} "
                    f"and is re-encoded with {encoder}"
                    + ("; write to .mov or .mkv to keep it" if silent else ""),
                )
            copy = output.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            streams.append((stream, copy))
        self.rates = [stream.rate for stream, _ in streams]
        self._packets = heapq.merge(
            *(_packets(*pair, delay) for pair in streams), key=_decoding_time
        )
        self._next = next(self._packets, None)

    def mux(self, until: Fraction | None = None) -> None:
        """Write what is left of the sound, as far as `until` seconds or to the end."""
        while self._next is not None and (until is None or _decoding_time(self._next) <= until):
            self._output.mux(self._next)
            self._next = next(self._packets, None)


def _packets(stream: Any, copy: Any, delay: Fraction) -> Iterator[Any]:
    ticks = round(delay / stream.time_base)
    end = stream.start_time or 0
    for packet in stream.container.demux(stream):
        if packet.size:
            # Some have no stamp, such as the last of Vorbis in Ogg: they follow the one before.
            dts = packet.dts if packet.dts is not None else packet.pts
            dts = end if dts is None else dts
            pts = dts if packet.pts is None else packet.pts
            end = pts + (packet.duration or 0)
            packet.pts, packet.dts = pts + ticks, dts + ticks
            packet.stream = copy
            yield packet


def _decoding_time(packet: Any) -> Fraction:
    result: Fraction = packet.dts * packet.time_base
    return result


def _can_hold(container: str, stream: Any) -> bool:
    """Whether the muxer, asked for a header, accepts this stream."""
    import av

    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _reencode(source: Path, number: int, target: Path, container: str) -> None:
    import ffmpeg

    encoder, bit_rate = _REPLACEMENTS.get(container, _REPLACEMENT)
    sound = ffmpeg.input(str(source.absolute()))[f"a:{number}"]
    if encoder == "libopus":
        # It knows no others, such as the "5.1(side)" of most AC-3.
        sound = sound.filter("aformat", channel_layouts=_OPUS_LAYOUTS)
    # copyts: the sound keeps its place even where the source does not begin at zero.
    job = sound.output(str(target.absolute()), acodec=encoder, audio_bitrate=bit_rate, copyts=None)
    command = job.overwrite_output().compile(cmd=str(ffmpeg_path()))
    # Unlike ffmpeg-python's own, this stops the program if we are told to stop.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode == 0:
        return
    reasons = done.stderr.decode(errors="replace").strip().splitlines()
    for code in (errno.ENOSPC, errno.EDQUOT):
        if any(os.strerror(code) in line for line in reasons):
            raise OSError(code, os.strerror(code))
    raise EncodingFailed(
        f"sound {number + 1} of {source} cannot be re-encoded with {encoder} "
        f"({' '.join(reasons[-1:])}); write to .mkv, which holds most sound as it is"
    )

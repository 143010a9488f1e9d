"""One call from a clip to an edited clip."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vidhair.cache import DiskStore, Store
from vidhair.checkpoints.packs import BUNDLED
from vidhair.errors import DeviceUnavailable
from vidhair.flow.graph import Flow
from vidhair.flow.node import NodeReport
from vidhair.flow.runner import Reporter, Runner, Silent, at_once
from vidhair.forked import about_to_compute
from vidhair.media import VideoWriter, check_target, open_clip, try_out
from vidhair.media.files import scratch_folder
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import Recipe, load_recipe

CACHE_VARIABLE = "VIDHAIR_CACHE"
CACHE_BYTES = 20 * 2**30


@dataclass(frozen=True)
class Result:
    """What a run made. untouched: frames without anybody who is edited, passed through. notes: for
    people."""

    path: Path
    frames: int
    untouched: int
    seconds: float
    stages: tuple[NodeReport, ...]
    notes: tuple[str, ...]

    @property
    def reused(self) -> tuple[str, ...]:
        """Stages whose results all came from the cache."""
        return tuple(s.name for s in self.stages if s.status == "reused")


def default_cache() -> Path:
    """The environment variable VIDHAIR_CACHE, or a folder in the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vidhair"


def choose_device(device: str = "auto") -> str:
    """ "auto", "cpu" or "cuda[:n]" → a device that is there. Raises DeviceUnavailable."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise DeviceUnavailable(f"{device!r} is no device; use auto, cpu or cuda") from error
    if kind not in ("cpu", "cuda"):
        raise DeviceUnavailable(f"device {device!r} is not supported; use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable("no CUDA device is usable here; use --device cpu (or auto)")
    return device


@contextmanager
def _store(cache: str | os.PathLike | Store | bool | None) -> Iterator[Store]:
    """A store: at a path, the default one (True, None), a given one, or none that lasts (False).

    Without a cache results still go to disk, so that memory stays bounded; they are removed after.
    """
    if cache is False:
        with scratch_folder() as folder:
            yield DiskStore(folder)
    elif cache is True or cache is None:
        yield DiskStore(default_cache(), max_bytes=CACHE_BYTES)
    elif isinstance(cache, (str, os.PathLike)):
        yield DiskStore(Path(cache), max_bytes=CACHE_BYTES)
    else:
        yield cache


def edit_video(
    source: str | os.PathLike,
    recipe: str | os.PathLike | Recipe,
    target: str | os.PathLike,
    *,
    settings: Mapping[str, Any] | None = None,
    pack: str | os.PathLike | Pack = BUNDLED,
    device: str = "auto",
    cache: str | os.PathLike | Store | bool | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Edit a clip by a recipe and write the result.

    recipe: a name, a TOML file or a `Recipe`. settings: {"stage.key": value} over the recipe.
    pack: name or folder of a model pack. device: "auto", "cpu" or "cuda".
    cache: folder for the results of every stage; None for the default, False for none.
    The target appears only when it is complete. Every error is a `VidhairError`.
    """
    began = time.perf_counter()
    source, target = Path(source), Path(target)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen = chosen.override(settings) if settings else chosen
    check_target(target, source)
    about_to_compute()
    models = pack if isinstance(pack, Pack) else load_pack(pack, device=choose_device(device))
    reporter = reporter or Silent()
    flow = Flow(chosen, models)  # refuses what cannot be done, before any work
    with _store(cache) as store, open_clip(source) as reader, torch.inference_mode(False):
        encoding = asdict(chosen.encode)
        try_out(target, reader.clip, **encoding)
        runner = Runner(store, reader, reporter)
        runner.run(flow.nodes())
        work, clip = runner.work, reader.clip
        runner.run(flow.fanned_nodes(work))
        count = at_once(clip.width, clip.height)
        notes = list(reader.notes) + flow.notes(work)
        with (
            VideoWriter(target, clip, **encoding, sound_from=source) as writer,
            reporter.stage("compose", clip.frame_count, "frame") as meter,
        ):
            for start in range(0, clip.frame_count, count):
                stop = min(start + count, clip.frame_count)
                alpha = reader.alpha(start, stop) if writer.alpha else None
                writer.write(flow.compose(work, start, stop), alpha)
                meter(stop)
        notes += writer.notes
        untouched = int((~flow.shown(work)).sum())
        seconds = time.perf_counter() - began
        return Result(
            target,
            clip.frame_count,
            untouched,
            seconds,
            tuple(
                replace(r, computed=r.computed + work.mended.get(r.name, 0)) for r in runner.reports
            ),
            tuple(notes),
        )


__all__ = ["Result", "choose_device", "default_cache", "edit_video"]

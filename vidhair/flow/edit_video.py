"""One call from a clip to an edited clip."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vidhair.cache import DiskStore, Store
from vidhair.checkpoints.packs import BUNDLED
from vidhair.errors import DeviceUnavailable, OutputNotWritable
from vidhair.flow.encode import Encoding
from vidhair.flow.graph import CUT_OUT, GOAL, Flow
from vidhair.flow.node import NodeReport
from vidhair.flow.runner import Means, Reporter, Runner, Silent
from vidhair.forked import about_to_compute
from vidhair.media import PictureWriter, VideoWriter, check_target, open_clip, try_out
from vidhair.media.files import same_place, scratch_folder
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import Recipe, load_recipe
from vidhair.types import Clip

CACHE_VARIABLE = "VIDHAIR_CACHE"
CACHE_BYTES = 20 * 2**30
LYING = "the head lies on its side or upside down; frames are turned upright for the edit, and back"


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
def _store(cache: str | os.PathLike[str] | Store | bool | None) -> Iterator[Store]:
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
    source: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe,
    target: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    pack: str | os.PathLike[str] | Pack = BUNDLED,
    device: str = "auto",
    cache: str | os.PathLike[str] | Store | bool | None = None,
    reporter: Reporter | None = None,
    means: Means | None = None,
) -> Result:
    """Edit a clip by a recipe and write the result.

    recipe: a name, a TOML file or a `Recipe`. settings: {"stage.key": value} over the recipe.
    pack: name or folder of a model pack. device: "auto", "cpu" or "cuda".
    cache: folder for the results of every stage; None for the default, False for none.
    means: how much memory is used, and whether stages, decoding and encoding overlap.
    The target appears only when it is complete. Every error is a `VidhairError`.
    """
    target = Path(target)
    check_target(target, Path(source))
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen = chosen.override(settings) if settings else chosen
    return _make(Path(source), chosen, target, GOAL, pack, device, cache, reporter, means)


def write_matte(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    pack: str | os.PathLike[str] | Pack = BUNDLED,
    device: str = "auto",
    cache: str | os.PathLike[str] | Store | bool | None = None,
    reporter: Reporter | None = None,
    means: Means | None = None,
) -> Result:
    """Cut the hair out of a clip: its frames, with the matte as their alpha.

    target: a video (.mov: ProRes 4444, .mkv: FFV1, .webm: VP9; others hold no transparency and show
    the matte itself, white on black), or a name without suffix for a folder of PNGs, from which
    those of an earlier, longer clip are removed. The rest is as for `edit_video`, of whose cache
    both make use.
    """
    source, target = Path(source), Path(target)
    if target.suffix:
        check_target(target, source)
    chosen = load_recipe("hair_color", settings)
    return _make(source, chosen, target, CUT_OUT, pack, device, cache, reporter, means)


def _make(
    source: Path,
    recipe: Recipe,
    target: Path,
    goal: str,
    pack: str | os.PathLike[str] | Pack,
    device: str,
    cache: str | os.PathLike[str] | Store | bool | None,
    reporter: Reporter | None,
    means: Means | None,
) -> Result:
    began = time.perf_counter()
    about_to_compute()
    models = pack if isinstance(pack, Pack) else load_pack(pack, device=choose_device(device))
    reporter = reporter or Silent()
    means = means or Means()
    flow = Flow(recipe, models, goal, means)  # refuses what cannot be done, before any work
    given = Path(recipe.matte.from_) if recipe.matte.from_ else None
    if given is not None and given.exists() and same_place(target, given):
        raise OutputNotWritable(
            f"{target} is the matte that is read; choose another name for the output"
        )
    with (
        ExitStack() as turned,
        open_clip(source) as reader,
        flow.on(reader.clip),
        _store(cache) as store,
        torch.inference_mode(False),
    ):
        writer = _writer_of(target, reader.clip, recipe, goal == CUT_OUT)
        runner = Runner(store, reader, reporter, means)
        runner.run(flow.nodes())
        quarters = flow.quarters(runner.work)
        if quarters:
            upright = turned.enter_context(reader.turned(quarters))
            flow, runner = (
                Flow(recipe, models, goal, means),
                Runner(store, upright, reporter, means),
            )
            runner.run(flow.nodes())
        with Encoding(writer, recipe.encode, flow, means, quarters) as encoding:
            runner.run([*flow.fanned_nodes(runner.work), encoding.node])
        work, count = runner.work, reader.clip.frame_count
        untouched = int((~flow.shown(work)).sum())
        lying = [LYING] if quarters else []
        notes = [*reader.notes, *lying, *flow.notes(work), *encoding.notes]
        return Result(
            target,
            count,
            untouched,
            time.perf_counter() - began,
            tuple(
                replace(
                    report,
                    computed=report.computed + work.recomputed.get(report.name, 0),
                    seconds=encoding.seconds if report.name == "encode" else report.seconds,
                )
                for report in runner.reports
            ),
            tuple(notes),
        )


def _writer_of(
    target: Path, clip: Clip, recipe: Recipe, cut_out: bool
) -> VideoWriter | PictureWriter:
    """What writes a target, once it has shown that it can. cut_out: whether the frames have an
    alpha of their own, which takes the place of the clip's."""
    if not target.suffix:
        return PictureWriter(target)
    encoding, sound = asdict(recipe.encode), clip.path
    if cut_out:
        # Where the target holds no transparency, it holds what needs none: the matte itself.
        found = VideoWriter(target, replace(clip, alpha=True), **encoding, sound_from=sound)
        clip = replace(clip, alpha=found.alpha)
    try_out(target, clip, **encoding)
    return VideoWriter(target, clip, **encoding, sound_from=sound)


__all__ = ["Result", "choose_device", "default_cache", "edit_video", "write_matte"]

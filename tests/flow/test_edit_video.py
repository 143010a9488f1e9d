"""Whole runs on a tiny clip with a tiny pack: what comes out, and what is reused."""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import small
from tests.flow.in_fives import in_fives
from tests.media.clips import sound_packets
from vidhair.cache import DiskStore
from vidhair.errors import DeviceUnavailable, InvalidSetting, OutputNotWritable
from vidhair.flow import edit_video as module
from vidhair.flow.edit_video import CACHE_VARIABLE, choose_device, default_cache
from vidhair.flow.runner import EXECUTORS, Means
from vidhair.media import ClipReader, VideoWriter, open_clip
from vidhair.stages.doubts import SEEN_FRAMES
from vidhair.stages.labels import COLOR_FRAMES
from vidhair.stages.people import LOOKS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache in which a finished run lies."""
    return small.finished().copy(tmp_path / "cache")


class StopsAt:
    """A reporter that is interrupted once a stage has come as far as `done`."""

    def __init__(self, name: str, done: float = 0) -> None:
        self.name, self.done = name, done

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Callable[..., Any]]:
        if (name, self.done) == (self.name, 0):
            raise KeyboardInterrupt

        def meter(done: int, note: str = "") -> None:
            if name == self.name and done >= self.done:
                raise KeyboardInterrupt

        yield meter


def same_pictures(path: Path) -> bool:
    """Whether a run gave, bit for bit, the pictures of the finished one."""
    return np.array_equal(small.decoded(path), small.decoded(small.finished().result.path))


# ---- what comes out


def test_every_frame_comes_out_at_its_time_with_its_sound() -> None:
    result = small.finished().result
    with open_clip(small.clip()) as source, open_clip(result.path) as edited:
        a, b = source.clip, edited.clip
        assert b.frame_count == result.frames == small.FRAMES
        assert [p * b.time_base for p in b.pts.tolist()] == [
            p * a.time_base for p in a.pts.tolist()
        ]
        assert b.end_pts * b.time_base == a.end_pts * a.time_base
        assert len(set(np.diff(a.pts))) > 1, "the source should not have a constant rate"
        assert (b.width, b.height, b.color, b.sound) == (a.width, a.height, a.color, a.sound)
        assert edited.notes == ()
    assert len(sound_packets(small.clip())) > 10
    assert sound_packets(result.path) == sound_packets(small.clip())


def test_a_run_says_what_it_did() -> None:
    result = small.finished().result
    assert [stage.name for stage in result.stages] == [*small.STAGES, "encode"]
    assert all(stage.status == "computed" for stage in result.stages)
    assert result.reused == () and result.untouched == 0
    found, measured = result.notes
    assert "by the pack's parser" in found and "models pull mediapipe-hair" in found
    assert "features of the pack's parser" in measured and "models pull lpips-alex" in measured
    assert result.seconds >= sum(stage.seconds for stage in result.stages) > 0


def test_the_hair_changes_and_the_rest_does_not() -> None:
    before, after = small.decoded(small.clip()), small.decoded(small.finished().result.path)
    change = np.abs(after.astype(int) - before).max(-1).mean(0)
    width, height = small.SIZE
    hair, corner = change[18:28, width // 2 - 12 : width // 2 + 12], change[: height // 4, :24]
    assert hair.mean() > 4 * corner.mean()
    assert corner.mean() < 3, "codec error"


def test_a_dye_draws_nothing_and_the_next_color_only_dyes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = small.edit(tmp_path / "red.mp4", cache, name="hair_color")
    assert [stage.name for stage in first.stages] == [*small.DYEING, "encode"]
    blue = {"edit.color": "blue"}
    second = small.edit(tmp_path / "blue.mp4", cache, name="hair_color", changes=blue)
    assert set(small.DYEING) - set(second.reused) == {"target_color", "changes"}
    source, red, dyed = (
        small.decoded(path).astype(int) for path in (small.clip(), first.path, second.path)
    )
    hair = np.abs(red - source).max(-1) > 40
    assert hair.mean() > 0.01
    assert (dyed - red)[hair].mean(0)[2] > 40 > 0 > (dyed - red)[hair].mean(0)[0]


def test_settings_go_over_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="zzz"):
        module.edit_video(
            small.clip(), "hair_color", tmp_path / "a.mp4", settings={"zzz.zzz": 1}, cache=False
        )


def test_the_source_is_never_the_target(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritable, match="the source itself"):
        small.edit(small.clip(), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


# ---- what is reused


def test_a_second_run_reuses_every_stage(tmp_path: Path, cache: Path) -> None:
    again = small.edit(tmp_path / "again.mp4", cache)
    assert again.reused == tuple(small.STAGES)
    assert same_pictures(again.path)


def test_a_copy_under_another_name_reuses_every_stage(tmp_path: Path, cache: Path) -> None:
    copy = tmp_path / "elsewhere" / "renamed.mp4"
    copy.parent.mkdir()
    copy.write_bytes(small.clip().read_bytes())
    assert small.edit(tmp_path / "again.mp4", cache, source=copy).reused == tuple(small.STAGES)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"edit.strength": 0.3}, ["target_color", "code_change", "edited", "changes"]),
        ({"tune.seed": 5}, ["tuned", "rendered", "code_change", "edited", "changes"]),
        (
            {"smooth.latents": False},
            ["pivots", "tuned", "rendered", "code_change", "edited", "changes"],
        ),
        ({"compose.blur": 0.2}, ["changes"]),
        ({"encode.crf": 30}, []),
    ],
    ids=str,
)
def test_a_changed_setting_recomputes_what_follows(
    tmp_path: Path, cache: Path, changes: dict[str, float], expected: list[str]
) -> None:
    result = small.edit(tmp_path / "changed.mp4", cache, changes=changes)
    assert small.computed(result) == expected


@pytest.mark.slow
def test_tuning_with_lpips_says_so_and_gives_other_pictures(tmp_path: Path, cache: Path) -> None:
    path = str(small.classifier())
    changes = {"tune.perceptual": "lpips_alex", "tune.perceptual_weights": path}
    result = small.edit(tmp_path / "a.mp4", cache, changes=changes)
    assert small.computed(result) == ["tuned", "rendered", "code_change", "edited", "changes"]
    _, note = result.notes
    assert "LPIPS on AlexNet" in note and path in note
    assert not same_pictures(result.path)
    again = small.edit(tmp_path / "b.mp4", cache, changes=changes)
    assert again.reused == tuple(small.STAGES) and again.notes == result.notes
    assert not same_pictures(result.path)
    back = small.edit(tmp_path / "back.mp4", cache)
    assert small.computed(back) == [] and same_pictures(back.path)


@pytest.mark.slow
def test_without_a_cache_nothing_is_reused_and_nothing_stays(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    result = small.edit(tmp_path / "a.mp4", False)
    assert result.reused == () and same_pictures(result.path)
    assert list(scratch.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_the_default_cache_is_where_the_environment_says(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    assert default_cache() == cache
    assert small.edit(tmp_path / "a.mp4", None).reused == tuple(small.STAGES)
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "vidhair"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "vidhair"


# ---- interruption


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "done"),
    [("track", 0), ("labels", 12), ("tuned", 0), ("tuned", 2), ("edited", 0), ("encode", 12)],
)
def test_an_interrupted_run_leaves_no_output_and_goes_on(
    tmp_path: Path, cache: Path, stage: str, done: int
) -> None:
    """From the cache of a finished run, as far as it had come at that stage."""
    # What depends on the stage would not be there yet either.
    later = small.STAGES[small.STAGES.index(stage) :] if stage in small.STAGES else []
    small.forget(cache, *later)
    target = tmp_path / "out" / "a.mp4"
    target.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        small.edit(target, cache, reporter=StopsAt(stage, done))
    assert list(target.parent.iterdir()) == []
    result = small.edit(target, cache)
    # Its only chunk was stored before the interruption; glasses are looked for before labels are
    # made, mattes are made before the tuning, and looked at before the frames are drawn.
    stored = {
        "labels": {"labels", "glasses"},
        "tuned": {"hair_colors", "prior", "glasses", "eyewear", "matte"},
        "edited": {"doubts"},
    }
    assert small.computed(result) == [n for n in later if n not in stored.get(stage, set())]
    assert [p.name for p in target.parent.iterdir()] == ["a.mp4"]
    assert same_pictures(target)


def test_an_interrupted_run_leaves_an_older_output_as_it_was(tmp_path: Path, cache: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        small.edit(target, cache, reporter=StopsAt("encode", 12))
    assert target.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "cache"]


@pytest.fixture
def small_chunks() -> Iterator[None]:
    with in_fives():
        yield


def results(cache: Path) -> dict[str, NDArray[Any]]:
    """What a finished run with the usual recipe has left, and the frames that follow from it."""
    names = {"latents": "styles", "labels": "planes", "matte": "alpha"}
    names |= {"rendered": "levels", "edited": "levels"}
    with open_clip(small.clip()) as reader:
        flow, runner = small.flow_on(DiskStore(cache), reader)
        assert all(report.status == "reused" for report in runner.reports)
        work, count = runner.work, small.FRAMES
        found = {stage: work.per_frame(stage, 0, count)[name] for stage, name in names.items()}
        return found | {"composed": flow.pictures(work, 0, count)[0]}


@pytest.mark.slow
def test_chunks_do_not_show(tmp_path: Path, cache: Path, small_chunks: Any) -> None:
    """A run in small chunks that stops in the middle of a stage and goes on ends as the others."""
    fives = small.finished().copy(tmp_path / "fives")
    later = small.STAGES[small.STAGES.index("latents") :]
    small.forget(fives, *later)
    target = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        small.edit(target, fives, reporter=StopsAt("labels", 5))
    assert not target.exists()
    result = small.edit(target, fives)
    assert small.computed(result) == [name for name in later if name != "glasses"]
    together = {stage.name: stage for stage in result.stages if stage.status == "resumed"}
    assert list(together) == ["latents", "labels"], "they go over the clip together"
    for stage in together.values():
        assert (stage.computed, stage.total) == (7, small.FRAMES)
    got, want = results(fives), results(cache)
    for name, array in want.items():
        difference = np.abs(got[name].astype(float) - array)
        bound = 1e-4 if name == "latents" else 2.0
        assert difference.max() <= bound and difference.mean() < bound / 20, name


# ---- damage


def files_of(cache: Path, stage: str) -> list[Path]:
    return list(cache.glob(f"{stage}-v*/*.safetensors"))


@pytest.mark.parametrize("stage", ["faces", "tuned", "edited"])
def test_a_file_that_was_cut_short_is_made_again(tmp_path: Path, cache: Path, stage: str) -> None:
    (path,) = files_of(cache, stage)
    os.truncate(path, path.stat().st_size - 1)
    result = small.edit(tmp_path / "a.mp4", cache)
    assert small.computed(result) == [stage]
    assert same_pictures(result.path)


def flip_the_last_byte(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 255]))


def test_a_whole_clip_result_with_a_wrong_byte_is_made_again(tmp_path: Path, cache: Path) -> None:
    (path,) = files_of(cache, "tuned")
    flip_the_last_byte(path)
    result = small.edit(tmp_path / "a.mp4", cache)
    assert small.computed(result) == ["tuned"]
    assert same_pictures(result.path)


@pytest.mark.parametrize("stage", ["rendered", "edited", "changes"])
def test_frames_with_a_wrong_byte_are_made_again(tmp_path: Path, cache: Path, stage: str) -> None:
    (path,) = files_of(cache, stage)
    flip_the_last_byte(path)
    if stage != "changes":
        small.forget(cache, "changes")
    result = small.edit(tmp_path / "a.mp4", cache)
    assert small.computed(result) == list(dict.fromkeys([stage, "changes"]))
    assert same_pictures(result.path)


# ---- clips without a face in some frames


def test_frames_without_a_face_pass_through(tmp_path: Path) -> None:
    face, grey = small.person(), small.nobody(7)
    frames = np.concatenate([face[:6], grey, face[:4]])
    source = small.write_clip(tmp_path / "source.mp4", frames)
    off = {"tune.steps": 0, "tune.refine_steps": 0, "encode.crf": 4}
    result = small.edit(tmp_path / "a.mp4", tmp_path / "cache", source=source, changes=off)
    with open_clip(source) as a, open_clip(result.path) as b:
        assert a.clip.pts[13] - a.clip.pts[6] > 500, "longer than half a second"
        assert b.clip.pts.tolist() == a.clip.pts.tolist()
    assert (result.frames, result.untouched) == (17, 7)
    assert any("7 frames show no face" in note for note in result.notes)
    before, after = small.decoded(source).astype(int), small.decoded(result.path)
    change = np.abs(after - before)
    passed, edited = change[6:13], np.delete(change, range(6, 13), axis=0).mean((1, 2, 3))
    assert passed.mean((1, 2, 3)).max() < 1 and passed.max() < 12
    assert edited.min() > 2 * passed.mean()


# ---- devices


def test_devices_by_name() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda")
    with pytest.raises(DeviceUnavailable, match="'banana' is no device; use auto, cpu or cuda"):
        choose_device("banana")


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceUnavailable, match="no CUDA device"):
            choose_device(name)


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_devices_that_torch_knows_and_vidhair_does_not(name: str) -> None:
    with pytest.raises(DeviceUnavailable):
        choose_device(name)


# ---- executors


@pytest.mark.slow
def test_without_threads_it_is_the_same(tmp_path: Path, cache: Path) -> None:
    in_order = tmp_path / "in order"
    result = small.edit(tmp_path / "a.mp4", in_order, means=Means(executor="in-order"))
    assert (tmp_path / "a.mp4").read_bytes() == small.finished().result.path.read_bytes()
    got, want = results(in_order), results(cache)
    assert list(got) == list(want)
    for stage, array in want.items():
        assert np.array_equal(got[stage], array), stage
    assert [s.name for s in result.stages] == [*small.STAGES, "encode"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_stages_between_two_barriers_share_one_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    made: Counter[str] = Counter()
    to_rgb = ClipReader._rgb

    def counted(self: Any, frame: Any) -> NDArray[Any]:
        made[frame.pts] += 1
        return to_rgb(self, frame)

    monkeypatch.setattr(ClipReader, "_rgb", counted)
    monkeypatch.setattr(module, "try_out", lambda *given, **options: None)  # reads what it wrote
    off = {"tune.steps": 0, "tune.refine_steps": 0}
    small.edit(tmp_path / "a.mp4", False, changes=off, means=Means(executor=executor))
    # Faces and thumbnails; latents and labels; mattes; composing and encoding. Colors of hair are
    # learned from single frames, some are looked at to tell people apart, and some for notes.
    assert COLOR_FRAMES >= small.FRAMES
    assert len(made) == small.FRAMES and set(made.values()) <= {5, 6, 7}
    assert sum(made.values()) <= 5 * small.FRAMES + LOOKS + SEEN_FRAMES


def test_an_error_of_the_encoder_ends_the_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, frames: NDArray[Any], alpha: Any = None) -> None:
        raise OutputNotWritable("the disk is full")

    monkeypatch.setattr(VideoWriter, "write", full)
    monkeypatch.setattr(module, "try_out", lambda *given, **options: None)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputNotWritable, match="the disk is full"):
        small.edit(tmp_path / "out" / "a.mp4", cache)
    assert list((tmp_path / "out").iterdir()) == []
    assert {t.name for t in threading.enumerate()}.isdisjoint({"decode", "encode", "store"})


def test_an_executor_or_a_memory_that_cannot_be() -> None:
    with pytest.raises(
        InvalidSetting, match="executor 'ray' is unknown; use overlapped or in-order"
    ):
        Means(executor="ray")
    with pytest.raises(InvalidSetting, match="memory of 3 MiB is too little; give 512M or more"):
        Means(memory=3 << 20)


@pytest.mark.slow
def test_many_colors_share_what_comes_before_them(tmp_path: Path) -> None:
    """Twenty colors of a clip take at most 35 % of what they would take without a cache."""
    steps = {"tune.steps": 20, "tune.refine_steps": 5}  # a quarter of what is usual

    def processor_seconds(color: str) -> float:
        began = time.process_time()
        changes = steps | {"edit.color": color}
        small.edit(tmp_path / "a.mp4", tmp_path / "cache", changes=changes)
        return time.process_time() - began

    small.finished()  # kernels are compiled
    first, *others = (processor_seconds(color) for color in ("red", "blue", "green"))
    assert first + 19 * np.mean(others) < 0.35 * 20 * first


def test_a_head_that_lies_is_edited_as_an_upright_one(tmp_path: Path) -> None:
    with open_clip(small.clip()) as reader:
        clip = replace(
            reader.clip, width=reader.clip.height, height=reader.clip.width, sound=(),
            pts=reader.clip.pts[:2], end_pts=int(reader.clip.pts[2]),
        )  # fmt: skip
        upright = reader.read(0, 2)
    lying, target = tmp_path / "lying.mp4", tmp_path / "out.mp4"
    with VideoWriter(lying, clip, crf=1) as writer:
        writer.write(np.rot90(upright, 1, (1, 2)))
    result = small.edit(
        target, False, source=lying, name="hair_color", changes={"edit.color": "red"}
    )
    assert module.LYING in result.notes
    before, after = small.decoded(lying).astype(int), small.decoded(target).astype(int)
    assert before.shape == after.shape
    change = np.rot90(np.abs(after - before).max(-1).mean(0), -1)
    width = small.SIZE[0]
    hair, corner = change[18:28, width // 2 - 12 : width // 2 + 12], change[-36:, :24]
    assert hair.mean() > 4 * corner.mean()

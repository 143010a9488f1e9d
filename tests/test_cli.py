"""The command line: what it prints, what it ends with, and what it leaves behind."""

import errno
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests import small
from tests.models.official_files import pickled, psp, stylegan3, write
from vidhair import __version__, cli
from vidhair.checkpoints import download, packs
from vidhair.errors import DiskFull, EncodingFailed, ForkedTooLate, VidhairError
from vidhair.flow.edit_video import CACHE_VARIABLE, Result
from vidhair.media import open_clip, read_image
from vidhair.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = [item for key, value in small.QUICK.items() for item in ("--set", f"{key}={value}")]
UNTUNED = ["--set", "tune.steps=0", "--set", "tune.refine_steps=0"]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the user's is read or written: every folder that is used is the test's."""
    level = logging.getLogger("vidhair").level
    monkeypatch.setenv(packs.PACKS_VARIABLE, str(small.pack_folder().parent))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(download.WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    yield
    logging.getLogger("vidhair").setLevel(level)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The empty folder in which the commands run."""
    return tmp_path / "out"


@pytest.fixture
def cached(tmp_path: Path) -> None:
    """The cache holds a finished run."""
    small.finished().copy(tmp_path / "cache")


def vidhair(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def run(*more: object, clip: Path | None = None, recipe: str = small.RECIPE) -> int:
    """`vidhair run` on the tiny clip with the tiny pack; later arguments win."""
    source = small.clip() if clip is None else clip
    return vidhair(
        "run", source, "-r", recipe, "--pack", "tiny", "--device", "cpu", "-o", "out.mp4",
        *QUICK, *more,
    )  # fmt: skip


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- causes of failure


def missing_file(folder: Path) -> int:
    return run(clip=folder / "absent.mp4")


def folder_for_a_clip(folder: Path) -> int:
    return run(clip=folder)


def text_file(folder: Path) -> int:
    (folder / "letter.mp4").write_text("Dear reader,\nthis is no video.\n" * 20)
    return run(clip=folder / "letter.mp4")


def empty_file(folder: Path) -> int:
    (folder / "empty.mp4").touch()
    return run(clip=folder / "empty.mp4")


def no_frames(folder: Path) -> int:
    path = folder / "none.mp4"
    with av.open(str(path), "w", container_options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    return run(clip=path)


def no_face(folder: Path) -> int:
    return run(clip=small.faceless_clip())


def unknown_recipe(folder: Path) -> int:
    return run(recipe="hair_colour")


def unknown_key(folder: Path) -> int:
    return run("--set", "smooth.latent=false")


def bad_value(folder: Path) -> int:
    return run("--set", "tune.steps=many")


def no_setting(folder: Path) -> int:
    return run("--set", "steps")


def no_amount(folder: Path) -> int:
    return run("--memory", "lots")


def little_memory(folder: Path) -> int:
    return run("--memory", "80M")


def no_executor(folder: Path) -> int:
    return run("--executor", "parallel")


def no_color(folder: Path) -> int:
    return run("--set", "edit.color=blurple")


def short_matte(folder: Path) -> int:
    return run("--set", f"matte.from={small.matte()}")


def no_pack(folder: Path) -> int:
    return run("--pack", "absent")


def folder_of_no_pack(folder: Path) -> int:
    return run("--pack", folder)


def altered_pack(folder: Path) -> int:
    shutil.copytree(small.pack_folder(), folder / "pack")
    with (folder / "pack" / "encoder.safetensors").open("ab") as file:
        file.write(b"more")
    return run("--pack", folder / "pack")


def pack_without_a_file(folder: Path) -> int:
    shutil.copytree(small.pack_folder(), folder / "pack")
    (folder / "pack" / "encoder.safetensors").unlink()
    return run("--pack", folder / "pack")


def pack_with_a_broken_manifest(folder: Path) -> int:
    (folder / "pack").mkdir()
    (folder / "pack" / "manifest.json").write_text("{")
    return run("--pack", folder / "pack")


def missing_folder(folder: Path) -> int:
    return run("-o", folder / "absent" / "out.mp4")


def below_a_file(folder: Path) -> int:
    (folder / "file").touch()
    return run("-o", folder / "file" / "out.mp4")


def onto_a_folder(folder: Path) -> int:
    (folder / "folder.mp4").mkdir()
    return run("-o", folder / "folder.mp4")


def unknown_suffix(folder: Path) -> int:
    return run("-o", "out.gif")


def unknown_device(folder: Path) -> int:
    return run("--device", "banana")


def cache_below_a_file(folder: Path) -> int:
    (folder / "file").touch()
    return run("--cache", folder / "file" / "cache")


def unknown_weights(folder: Path) -> int:
    return vidhair("models", "pull", "stylegan4")


def other_weights(folder: Path) -> int:
    (folder / "weights").mkdir()
    (folder / "weights" / "vgg16-397923af.pth").write_bytes(b"<html>")
    return vidhair("models", "pull", "lpips-vgg")


def weights_file(folder: Path, value: object = None) -> Path:
    return write(folder / "weights.pt", stylegan3() if value is None else value)


def damaged_weights(folder: Path) -> int:
    return vidhair("models", "convert", weights_file(folder, b"<html>"), "-o", "made/pack")


def weights_of_nothing_known(folder: Path) -> int:
    return vidhair("models", "show", weights_file(folder, {"x": torch.ones(1)}))


def weights_onto_a_pack(folder: Path) -> int:
    return vidhair("models", "convert", weights_file(folder), "-o", "tiny")


CAUSES: dict[Callable[[Path], int], tuple[int, str]] = {
    missing_file: (10, "there is no such file"),
    folder_for_a_clip: (10, "it is a folder"),
    text_file: (11, "give a"),
    empty_file: (11, "is empty"),
    no_frames: (12, "without frames"),
    no_face: (13, "no face in any of the 4 frames"),
    unknown_recipe: (14, "did you mean hair_color?"),
    unknown_key: (15, "did you mean smooth.latents?"),
    bad_value: (15, "tune.steps = 'many' must be a whole number"),
    no_setting: (15, "write stage.key=value"),
    no_amount: (15, "--memory lots is no amount of memory; write 4G or 800M"),
    little_memory: (15, "memory of 80 MiB is too little; give 512M or more"),
    no_executor: (15, "executor 'parallel' is unknown; use overlapped or in-order"),
    no_color: (15, "'blurple' is no color"),
    no_pack: (16, "there is no pack 'absent'; known packs: "),
    folder_of_no_pack: (16, "has no manifest.json"),
    altered_pack: (17, "does not match its manifest"),
    pack_without_a_file: (17, "cannot be read"),
    pack_with_a_broken_manifest: (17, "is not a pack manifest"),
    missing_folder: (18, "there is no folder"),
    below_a_file: (18, "file; create it first"),
    onto_a_folder: (18, "is not a file"),
    unknown_suffix: (18, ".mp4, .m4v"),
    unknown_device: (20, "use auto, cpu or cuda"),
    cache_below_a_file: (21, "name one that you can write to"),
    short_matte: (27, "give a matte with one picture for every frame"),
    unknown_weights: (15, "is not among the known weights"),
    other_weights: (25, "has 6 bytes instead of 553433881"),
    damaged_weights: (23, "a web page, as a failed download leaves"),
    weights_of_nothing_known: (24, "no known network is recognised"),
    weights_onto_a_pack: (18, "exists already; choose another name"),
}


def assert_one_line(capfd: pytest.CaptureFixture[str], says: str) -> None:
    printed, complaint = capfd.readouterr()
    assert printed == ""
    assert complaint.count("\n") == 1 and complaint.endswith("\n"), complaint
    assert complaint.startswith("vidhair: ") and says in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_each_cause_gives_one_line_and_its_own_code(
    tmp_path: Path, out: Path, capfd: pytest.CaptureFixture[str], cause: Callable[..., Any]
) -> None:
    code, says = CAUSES[cause]
    assert cause(tmp_path) == code
    assert_one_line(capfd, says)
    assert contents(out) == []


def test_every_error_has_its_own_code() -> None:
    kinds: list[type[VidhairError]] = [VidhairError, *VidhairError.__subclasses__()]
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 2, cli.LEFT_TO_DO, cli.INTERRUPTED} & set(codes) and max(codes) < 126
    elsewhere = {DiskFull, EncodingFailed, ForkedTooLate}
    reached = {code for code, _ in CAUSES.values()} | {kind.exit_code for kind in elsewhere}
    assert reached == set(codes) - {3}


def test_a_codec_that_is_not_there(
    out: Path, capfd: pytest.CaptureFixture[str], cached: Any
) -> None:
    assert run("-q", "--set", "encode.codec=no_such_codec") == 22
    assert_one_line(capfd, "no_such_codec")
    assert contents(out) == []


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_at_the_end_of_the_output(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cached: Any
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    assert run("-q") == 19
    assert_one_line(capfd, "no room left")
    assert contents(out) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_on_which_every_write_fails(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cached: Any
) -> None:
    """The hidden file beside the output is led there."""
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0")
    (out / ".out.mp4.part-0.mp4").symlink_to("/dev/full")
    assert run("-q") == 19
    assert_one_line(capfd, "no room left")
    assert contents(out) == []


def test_a_disk_that_is_full_for_the_cache(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    assert run() == 19
    assert_one_line(capfd, "no room for the cache")
    assert contents(out) == []


def test_an_output_that_fails_leaves_the_older_one(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cached: Any
) -> None:
    (out / "out.mp4").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    assert run("-q") == 19
    assert contents(out) == ["out.mp4"] and (out / "out.mp4").read_bytes() == b"before"


def test_an_interruption_is_no_traceback(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vidhair.flow.graph.Flow.nodes", interrupted)
    assert run("-q") == cli.INTERRUPTED
    printed, complaint = capfd.readouterr()
    assert printed == "" and "Traceback" not in complaint
    assert complaint.strip().startswith("vidhair: stopped") and "goes on" in complaint
    assert contents(out) == []


# In a shell's background SIGINT is ignored, under nohup SIGHUP, which children inherit. The naps
# are short because a signal in the moment before one is seen only at its end.
STOPPED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from pathlib import Path
from vidhair import cli
from vidhair.media.files import scratch_folder, whole_file

def busy(options):
    with whole_file(Path("out.mp4")) as part, scratch_folder() as folder:
        part.write_bytes(b"half")
        print("half way", flush=True)
        for _ in range(6000):
            time.sleep(0.01)

cli._doctor = busy
sys.exit(cli.main(["doctor"]))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_nothing_behind(out: Path, tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], cwd=out, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]),
             "TMPDIR": str(tmp_path / "temporary")},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        process.send_signal(number)
        _, complaint = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert complaint.strip().startswith("vidhair: stopped") and "Traceback" not in complaint
    assert contents(out) == [] and contents(tmp_path / "temporary") == []


def test_the_code_outlives_its_listener(out: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vidhair.cli", "run", "absent.mp4", "-r", "bald", "--pack", "tiny"],
        cwd=out, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 10


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def doctor(_: Any) -> int:
        seen.append(signal.getsignal(signal.SIGHUP))
        return 0

    monkeypatch.setattr(cli, "_doctor", doctor)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert vidhair("doctor") == 0
        assert seen == [signal.SIG_IGN] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert vidhair("doctor") == 0
        assert seen[1] is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_in_a_process_of_its_own(out: Path, tmp_path: Path) -> None:
    """As the shell sees it: one line, a code, nothing on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "vidhair.cli", "run", "absent.mp4", "-r", "bald", "--pack", "tiny"],
        capture_output=True, text=True, cwd=out,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (10, "")
    assert done.stderr.startswith("vidhair: absent.mp4") and done.stderr.count("\n") == 1
    assert contents(out) == []


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run", "a.mp4"]], ids=str)
def test_a_wrong_command_shows_the_usage(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        vidhair(*arguments)
    assert caught.value.code == 2
    assert "usage: vidhair" in capfd.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "2147483648", "1.5", "x", ""])
@pytest.mark.parametrize(
    "command",
    [["synth"], ["train", "direction", "-o", "a"], ["train", "pack", "-o", "a", "--work", "b"]],
    ids=str,
)
def test_a_seed_is_a_whole_number(
    capfd: pytest.CaptureFixture[str], command: list[str], seed: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        vidhair(*command, f"--seed={seed}")
    assert caught.value.code == 2
    assert f"{seed!r} must be a whole number, 0 … 2147483647" in capfd.readouterr().err


# ---- run


def test_run_tells_what_it_wrote_and_what_it_reused(
    out: Path, capfd: pytest.CaptureFixture[str], cached: Any
) -> None:
    assert run() == 0
    printed, told = capfd.readouterr()
    assert printed.startswith(f"out.mp4  ({small.FRAMES} frames in ")
    assert printed.count("\n") == 1
    assert f"reused from the cache: {', '.join(small.STAGES)}" in told
    assert re.search(r"^computed: encode [\d.]+ s$", told, re.MULTILINE)
    assert contents(out) == ["out.mp4"]
    with open_clip(out / "out.mp4") as reader:
        assert reader.clip.frame_count == small.FRAMES


def test_quiet_says_nothing(out: Path, capfd: pytest.CaptureFixture[str], cached: Any) -> None:
    assert run("-q") == 0
    assert capfd.readouterr() == ("", "")
    assert contents(out) == ["out.mp4"]


def test_the_output_is_named_after_clip_and_recipe(
    out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copy(small.clip(), out.parent / "talk.mkv.mp4")
    command = ["run", source, "-r", "reconstruct", "--pack", "tiny", "-q", *QUICK, *UNTUNED]
    assert vidhair(*command) == 0
    assert contents(out) == ["talk.mkv-reconstruct.mp4"]
    assert capfd.readouterr() == ("", "")


def test_run_with_a_comparison(out: Path, capfd: pytest.CaptureFixture[str], cached: Any) -> None:
    assert run("--compare", "both.mp4") == 0
    assert "both.mp4  (before and after)" in capfd.readouterr().out
    assert contents(out) == ["both.mp4", "out.mp4"]
    with open_clip(out / "both.mp4") as reader:
        clip = reader.clip
        assert (clip.width, clip.height) == (2 * small.SIZE[0], small.SIZE[1])
        assert clip.frame_count == small.FRAMES


@pytest.mark.parametrize("name", ["./out.mp4", "../out/out.mp4", "link.mp4"])
@pytest.mark.parametrize("there", [False, True])
def test_a_comparison_is_not_written_over_the_output(
    out: Path, capfd: pytest.CaptureFixture[str], name: str, there: bool
) -> None:
    (out / "link.mp4").symlink_to("out.mp4")
    if there:
        (out / "out.mp4").write_bytes(b"before")
    assert run("--compare", name) == 15
    assert_one_line(capfd, "the output itself")
    assert contents(out) == ["link.mp4", "out.mp4"][: 1 + there]


def test_a_comparison_is_not_written_over_the_source(
    out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (out / "link.mp4").symlink_to(small.clip())
    assert run("--compare", "link.mp4") == 18
    assert_one_line(capfd, "the source itself")


def test_the_demo_does_not_write_one_file_over_another(
    out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (out / "demo").mkdir()
    (out / "demo" / "before-and-after.mp4").symlink_to("edited.mp4")
    assert vidhair("demo", "-q") == 18
    assert_one_line(capfd, "the same file")


def test_run_without_a_cache_leaves_none(
    tmp_path: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--no-cache", *UNTUNED, recipe="reconstruct") == 0
    told = capfd.readouterr().err
    assert "reused from the cache: nothing" in told and "thumbnails" in told
    assert contents(out) == ["out.mp4"] and contents(tmp_path) == ["out"]


def test_run_with_a_cache_elsewhere(
    tmp_path: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = small.finished().copy(tmp_path / "elsewhere")
    assert run("--cache", cache) == 0
    assert re.search(r"^computed: encode [\d.]+ s$", capfd.readouterr().err, re.MULTILINE)
    assert not (tmp_path / "cache").exists()


def test_run_repeats_the_notes(
    out: Path, capfd: pytest.CaptureFixture[str], cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidhair.flow.graph.Flow.notes", lambda self, work: ["look out"])
    assert run() == 0
    assert "note: look out\n" in capfd.readouterr().err
    assert run("-q") == 0
    assert capfd.readouterr().err == ""


# ---- the other commands


def test_explain_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("explain", "hair_color", "--set", "edit.color=blue") == 0
    printed, told = capfd.readouterr()
    assert told == ""
    assert printed.startswith("hair_color: Dye the hair")
    for stage in ("align", "invert", "smooth", "tune", "edit", "render", "matte", "compose"):
        assert f"\n[{stage}]\n" in printed
    assert 'color = "blue"' in printed


def test_explain_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("explain", "bald", "--json", "--set", "tune.steps=7") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["name"] == "bald"
    assert told["edit"] == {"kind": "bald", "strength": 1.0, "by": "auto", "stubble": 0.0}
    assert told["tune"]["steps"] == 7 and told["encode"]["codec"] == "auto"


def test_explain_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("explain", "absent") == 14
    assert_one_line(capfd, "hair_color")


def test_inspect_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("inspect", small.clip(), "--json") == 0
    printed, told = capfd.readouterr()
    facts = json.loads(printed)
    assert told == ""
    assert (facts["width"], facts["height"]) == small.SIZE
    assert (facts["frames"], facts["codec"], facts["shots"]) == (small.FRAMES, "h264", [0.0])
    assert facts["seconds"] == sum(small.STEPS) / 1000
    assert facts["sound"] == ["aac, 48000 Hz, 1 ch"]
    (person,) = facts["people"]
    assert (person["frames"], person["seconds"]) == (small.FRAMES, sum(small.STEPS) / 1000)
    assert 50 < person["crop_side_px"] < 160 and person["shots"] == [1]
    assert facts["most_faces_in_a_frame"] == 1


def test_inspect_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("inspect", small.clip()) == 0
    printed, told = capfd.readouterr()
    assert told == ""
    assert f"{small.FRAMES} frames, 1.2 s" in printed and "160×144" in printed
    assert "people  1; 1 face at most in a frame" in printed


def test_inspect_writes_a_sheet_of_everybody(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("inspect", small.clip(), "--sheet", "people.png") == 0
    capfd.readouterr()
    sheet = read_image("people.png")
    assert sheet.shape == (160, 160, 3) and sheet.std() > 20
    assert vidhair("inspect", small.clip(), "--sheet", small.clip()) == 18
    assert_one_line(capfd, "does not end in a known suffix; use .png")


def test_run_edits_the_person_who_is_asked_for(
    out: Path, capfd: pytest.CaptureFixture[str], cached: Any
) -> None:
    assert run("--person", "1") == 0
    capfd.readouterr()
    assert run("--person", "2") == 15
    assert_one_line(capfd, "align.person = '2'")
    assert run("--person", "absent.png") == 10
    assert_one_line(capfd, "absent.png")


def test_inspect_of_a_clip_without_a_face_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert vidhair("inspect", small.faceless_clip()) == 0
    assert "an edit would refuse this clip: no face in any" in capfd.readouterr().out
    assert vidhair("inspect", small.faceless_clip(), "--json") == 0
    assert json.loads(capfd.readouterr().out)["people"] is None


def test_inspect_of_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    assert vidhair("inspect", tmp_path / "a.mp4") == 11
    assert_one_line(capfd, "a.mp4")


def test_the_version(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        vidhair("--version")
    assert capfd.readouterr().out == f"vidhair {__version__}\n"


def test_the_doctor_lists_what_there_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidhair.report.doctor.bundled_folder", lambda: tmp_path / "none")
    assert vidhair("doctor") == 0
    printed, told = capfd.readouterr()
    assert told == ""
    assert "tiny" in printed and "complete: generator, encoder, parser, attributes" in printed
    for what in ("packages    torch ", "devices", "kernels", "filtered_lrelu", "ffmpeg", "cache"):
        assert what in printed
    assert "missing" not in printed.splitlines()[2], "a package that vidhair needs"


def test_the_doctor_finds_a_damaged_pack(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidhair.report.doctor.bundled_folder", lambda: tmp_path / "none")
    shutil.copytree(small.pack_folder().parent, tmp_path / "packs")
    monkeypatch.setenv(packs.PACKS_VARIABLE, str(tmp_path / "packs"))
    os.truncate(tmp_path / "packs" / "tiny" / "parser.safetensors", 1000)
    assert vidhair("doctor") == 1
    assert "does not match its manifest" in capfd.readouterr().out


def test_the_doctor_misses_packs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidhair.report.doctor.bundled_folder", lambda: tmp_path / "none")
    monkeypatch.setenv(packs.PACKS_VARIABLE, str(tmp_path / "none"))
    assert vidhair("doctor") == 1
    assert "install vidhair again" in capfd.readouterr().out


# ---- models


@pytest.fixture
def of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of packs."""
    monkeypatch.setenv(packs.PACKS_VARIABLE, str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_weights_of_others_become_a_pack(
    out: Path, capfd: pytest.CaptureFixture[str], of_the_user: Path
) -> None:
    write(out / "g.pkl", pickled(stylegan3(w_dim=8)))
    write(out / "e.pt", psp("restyle_e4e", changes={"num_ws": 16}, decoder=stylegan3(w_dim=8)))
    np.save(out / "age.npy", np.ones((1, 8)))
    assert vidhair("models", "convert", "g.pkl", "e.pt", "age.npy", "-o", "faces") == 0
    printed, told = capfd.readouterr()
    assert told == "" and printed.splitlines() == [
        "generator   from g.pkl",
        "encoder     from e.pt",
        "attributes  from age.npy",
        "generator   of e.pt is not used",
        "parser      from the bundled pack, when it is used",
        str(of_the_user / "faces"),
    ]
    assert contents(of_the_user) == ["faces"] and len(contents(out)) == 3
    assert vidhair("models", "verify", "faces") == 0
    printed, told = capfd.readouterr()
    assert told == "" and printed.count("are right\n") == 3
    assert vidhair("models", "show", "faces") == 0
    printed, told = capfd.readouterr()
    assert told == "" and "restyle_e4e" in printed and "made from age.npy" in printed


def test_a_pack_goes_to_a_folder_too(
    out: Path, capfd: pytest.CaptureFixture[str], of_the_user: Path
) -> None:
    write(out / "g.pt", stylegan3())
    assert vidhair("models", "convert", "g.pt", "-o", "./made", "-q") == 0
    assert capfd.readouterr() == ("", "")
    assert contents(out) == ["g.pt", "made"] and not of_the_user.exists()
    assert vidhair("models", "verify", "made", "-q") == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["pack", "weights", "direction"])
def test_show_as_json(out: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    write(out / "weights", pickled(stylegan3()))
    np.save(out / "direction.npy", np.ones(512))
    what = {"pack": "tiny", "weights": "weights", "direction": "direction.npy"}[name]
    assert vidhair("models", "show", what, "--json") == 0
    printed, told = capfd.readouterr()
    facts = json.loads(printed)
    assert told == ""
    if name == "pack":
        assert facts["pack"] == "tiny" and facts["parts"]["parser"]["kind"] == "face_parser"
    else:
        (network,) = facts["networks"]
        assert network["kind"] == {"weights": "stylegan3", "direction": "direction"}[name]


def test_verify_finds_an_altered_byte(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(small.pack_folder(), tmp_path / "pack")
    path = tmp_path / "pack" / "parser.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    assert vidhair("models", "verify", tmp_path / "pack") == 17
    printed, complaint = capfd.readouterr()
    assert "generator" in printed and "parser" not in printed
    assert complaint.count("\n") == 1 and f"vidhair: {path} does not match" in complaint


@pytest.mark.parametrize("action", ["verify", "show"])
def test_a_pack_that_is_not_there(capfd: pytest.CaptureFixture[str], action: str) -> None:
    assert vidhair("models", action, "absent") == 16
    assert_one_line(capfd, "there is no pack 'absent'")


@pytest.mark.parametrize(
    "arguments", [["convert"], ["convert", "a.pt"], ["convert", "-o", "a"], ["verify"], []], ids=str
)
def test_models_without_their_arguments(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        vidhair("models", *arguments)
    assert caught.value.code == 2
    assert "usage: vidhair models" in capfd.readouterr().err


def test_a_disk_that_is_full_for_a_pack(
    out: Path, capfd: pytest.CaptureFixture[str], of_the_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(out / "g.pt", stylegan3())
    monkeypatch.setattr(packs, "write_tensors", full)
    assert vidhair("models", "convert", "g.pt", "-o", "faces") == 19
    assert_one_line(capfd, "no room left")
    assert contents(of_the_user) == []


# ---- synth, demo, train

STYLEGANEX = ("train", "styleganex", "-o", "a", "--work", "b")


def test_synth_renders_a_clip_its_twin_and_the_truth(
    out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In two frames of 64×64 pixels, in the worker processes that a long one would use."""
    assert vidhair(
        "synth", "--seconds", "0.08", "--fps", "25", "--size", "64x64", "--style", "short",
        "--color", "light brown", "-o", "made",
    ) == 0  # fmt: skip
    printed, told = capfd.readouterr()
    assert printed == "made/synth_0_000.mp4\n" and told == ""
    assert contents(out / "made") == [
        "manifest.json", "synth_0_000-light_brown.mp4", "synth_0_000.mp4", "synth_0_000.truth.npz",
    ]  # fmt: skip
    manifest = json.loads((out / "made" / "manifest.json").read_text())
    (entry,) = manifest["clips"]
    assert entry["twins"] == {"light_brown": "synth_0_000-light_brown.mp4"}
    for name, digest in entry["sha256"].items():
        assert packs.file_sha256(out / "made" / name) == digest
    with open_clip(out / "made" / entry["file"]) as reader:
        clip = reader.clip
        assert (clip.frame_count, clip.width, clip.height) == (2, 64, 64)
        assert [sound.codec for sound in clip.sound] == ["aac"]
    truth = np.load(out / "made" / entry["truth"])
    assert truth["hair"].shape == (2, 64, 64)
    assert truth["hair"].max() > 150 and truth["hair"].mean() < 150


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["synth", "--size", "big"], 15, "WIDTHxHEIGHT"),
        (["synth", "--scene", "fight"], 15, "must be one of crossing, cuts, returning, strands"),
        (["synth", "--scene", "cuts", "--toon", "cel"], 15, "--toon would do nothing"),
        (["synth", "--scene", "cuts", "--size", "64x64"], 15, "--size would do nothing"),
        (["synth", "--style", "mohawk"], 15, "must be one of bald"),
        (["synth", "--seconds", "0"], 15, "--seconds"),
        (["synth", "--color", "blurple"], 15, "'blurple' is no color"),
        (["synth", "--toon", "oil"], 15, "'oil' must be one of cel, comic, doll"),
        (["synth", "-o", "file/made"], 18, "file/made"),
        (["demo", "-o", "file/made"], 18, "file/made"),
        (["train", "pack", "-o", "a", "--work", "b", "--preset", "huge"], 15, "must be one of cpu"),
        (["train", "pack", "-o", "a", "--work", "b", "--device", "banana"], 20, "banana"),
        (
            ["train", "direction", "-o", "a.safetensors", "--by", "beauty"],
            15,
            "--by 'beauty' is nothing that",
        ),
        (
            ["train", "direction", "-o", "a.safetensors"],
            15,
            "--by is not given; pack 'rendered-faces' can",
        ),
        (
            ["train", "channels", "-o", "a.safetensors", "--by", "smile", "--share", "2"],
            15,
            "--share 2.0 is no",
        ),
        (
            ["train", "channels", "-o", "a.safetensors", "--by", "smile", "--keep", "0"],
            15,
            "--keep 0 keeps",
        ),
        (
            ["train", "direction", "-o", "a.safetensors", "--by", "smile", "--count", "0"],
            15,
            "--count 0 must be",
        ),
        (["train", "direction", "-o", "a.npy", "--by", "smile"], 18, "give a .safetensors file"),
        (["train", "direction", "-o", "no/a.safetensors", "--by", "smile"], 18, "that is there"),
        (["train", "pack", "-o", "a", "--work", "file"], 18, "file is a file"),
        ([*STYLEGANEX[:4], "--work", "file/b"], 18, "file is a file; name another"),
        ([*STYLEGANEX, "--task", "caricature"], 15, "must be one of pretrain, inversion"),
        ([*STYLEGANEX, "--task", "edit", "--pictures", "x"], 15, "learns from pairs"),
        ([*STYLEGANEX, "--pictures", "nowhere", "--task", "pretrain"], 15, "nowhere is no folder"),
        ([*STYLEGANEX, "--pairs", "nowhere", "--task", "edit"], 15, "nowhere/target is no folder"),
        ([*STYLEGANEX[:3], "file/a", *STYLEGANEX[4:]], 18, "file/a"),
        ([*STYLEGANEX, "--preset", "huge"], 15, "must be one of cpu, gpu, small, tiny"),
        ([*STYLEGANEX, "--steps", "0"], 15, "--steps 0"),
        ([*STYLEGANEX, "--task", "mask", "--look", "doll"], 15, "'doll' is of rendered people's"),
        ([*STYLEGANEX, "--task", "toonify", "--pairs", "x", "--look", "doll"], 15, "leave it out"),
        (
            [*STYLEGANEX, "--task", "sketch", "--preset", "small"],
            15,
            "one of super_resolution, mask",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_commands_refuse_in_one_line(
    out: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    (out / "file").touch()
    monkeypatch.setattr("vidhair.samples.sample_clips", lambda: [small.clip()])
    assert vidhair(*arguments) == code
    assert_one_line(capfd, says)
    assert contents(out) == ["file"]


def test_the_demo_writes_what_a_person_looks_at(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cached: Any
) -> None:
    from vidhair.flow import edit_video

    real = edit_video.edit_video

    def quick(source: Path, recipe: Recipe, target: Path, **options: Any) -> Result:
        edit: Any = recipe.edits[0]
        recipe = small.recipe(changes={"edit.color": edit.color})
        return real(source, recipe, target, **{**options, "pack": "tiny"})

    monkeypatch.setattr(edit_video, "edit_video", quick)
    monkeypatch.setattr("vidhair.samples.sample_clips", lambda: [small.clip()])
    assert vidhair("demo", "-o", "shown", "--device", "cpu") == 0
    printed, told = capfd.readouterr()
    names = ["before-and-after.mp4", "before-and-after.png", "edited.mp4"]
    assert contents(out / "shown") == names
    assert all(str(out / "shown" / name) in printed for name in names)
    assert "small.mp4: hair to auburn" in told


def test_without_sample_clips_the_demo_says_so(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidhair.samples.sample_folder", lambda: out / "absent")
    assert vidhair("demo") == 10
    assert_one_line(capfd, "install vidhair again")
    assert contents(out) == []

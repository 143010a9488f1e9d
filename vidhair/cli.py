"""The command line. Messages go to the error stream, results to standard output."""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidhair import __version__, bench
from vidhair.errors import InvalidSetting, OutputNotWritable, VidhairError
from vidhair.process import prepare_process

if TYPE_CHECKING:  # what takes long to import is imported where it is used
    from vidhair.flow.edit_video import Result
    from vidhair.recipe import Recipe

Command = Callable[[argparse.Namespace], int]

MOST_CODES = 1_000_000
LEFT_TO_DO = 4  # some of what was asked for needs a person
INTERRUPTED = 130
# What `synth` takes for its clips, unless told otherwise; scenes are always the same.
CLIPS: dict[str, Any] = {
    "count": 1, "seconds": 4.0, "fps": 25, "size": "512x512", "style": None, "seed": 0,
    "color": None, "toon": [],
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    prepare_process()
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.verbose else logging.WARNING
    level = logging.DEBUG if options.verbose > 1 else level
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("vidhair").setLevel(level)
    command: Command = options.command
    try:
        with _told_to_stop():
            return command(options)
    except VidhairError as error:
        _complain(f"vidhair: {error}")
        return error.exit_code
    except KeyboardInterrupt as stop:
        _complain(
            "\nvidhair: stopped; what is finished is kept, and the same command goes on from there"
        )
        return 128 + stop.signal if isinstance(stop, _Stopped) else INTERRUPTED
    except BrokenPipeError:
        return 0


def _complain(text: str) -> None:
    """To standard error; the exit code stays the error's where nobody listens there any more."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class _Stopped(KeyboardInterrupt):
    """Raised in place of dying by a signal, so that what is unfinished is removed."""

    def __init__(self, number: int) -> None:
        self.signal = number


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """SIGTERM and SIGHUP are as Ctrl-C, unless the caller wants them ignored or otherwise."""
    here = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name) and here]
    numbers = [getattr(signal, name) for name in names]
    taken = [n for n in numbers if signal.getsignal(n) is signal.SIG_DFL]

    def stop(number: int, _: object) -> None:
        for each in taken:  # a second one shall not disturb the clearing up
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(number)

    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-v", "--verbose", action="count", default=0, help="say more (twice: everything)"
    )
    common.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")

    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--pack", default=None, help="model pack: a name or a folder")
    machine.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    machine.add_argument("--cache", type=Path, help="folder for the results of every stage")
    machine.add_argument(
        "--no-cache", action="store_true", help="keep no results after the run, and use none"
    )
    machine.add_argument(
        "--memory", default="4G", help="that may be used above the weights: 4G (default), 800M"
    )
    machine.add_argument(
        "--executor",
        default="overlapped",
        help="overlapped (default): decode, compute and encode at once; or in-order",
    )

    parser = argparse.ArgumentParser(
        prog="vidhair", description="Edit the hair and the head of a person in a video."
    )
    parser.add_argument("--version", action="version", version=f"vidhair {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        function: Command,
        about: str,
        *parents: argparse.ArgumentParser,
        to: "argparse._SubParsersAction[argparse.ArgumentParser]" = commands,
    ) -> argparse.ArgumentParser:
        sub = to.add_parser(name, help=about, description=about, parents=[common, *parents])
        sub.set_defaults(command=function)
        return sub

    run = add("run", _run, "edit a clip by a recipe", machine)
    run.add_argument("clip", type=Path, help="the video to edit")
    _recipe_arguments(run)
    run.add_argument("-o", "--output", type=Path, help="default: CLIP-RECIPE.mp4 in this folder")
    run.add_argument(
        "--person",
        help="who is edited: largest (default), all, a number of `vidhair inspect`, or a picture",
    )
    run.add_argument(
        "--samples", type=int, help="several faces on a sheet (sketch_to_face, mask_to_face)"
    )
    run.add_argument("--compare", type=Path, help="also write before and after side by side")

    matte = add("matte", _matte, "cut the hair out, for those who finish elsewhere", machine)
    matte.add_argument("clip", type=Path, help="the video")
    matte.add_argument(
        "-o", "--output", type=Path, required=True,
        help="a video (.mov and .mkv hold transparency), or a folder of PNGs",
    )  # fmt: skip
    matte.add_argument("--person", help="as for `vidhair run`")
    matte.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="STAGE.KEY=VALUE",
        help="change a setting, such as matte.edge; may be repeated",
    )  # fmt: skip

    styles = add("hairstyles", _hairstyles, "show other hair on a frame of a clip, to choose")
    styles.add_argument("clip", type=Path, help="the video")
    styles.add_argument(
        "styles", nargs="*", metavar="STYLE",
        help="photos of people with hair, or names such as bob; default: all that have a name",
    )  # fmt: skip
    styles.add_argument(
        "-o", "--output", type=Path, help="a PNG (default: CLIP-hairstyles.png in this folder)"
    )
    styles.add_argument("--pack", help="model pack: a name or a folder")
    styles.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    styles.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="STAGE.KEY=VALUE",
        help="change a setting of hair_reference; may be repeated",
    )  # fmt: skip

    demo = add("demo", _demo, "edit the sample clip and show before and after", machine)
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder to write to")
    demo.add_argument("--color", default="auburn", help="of the hair")

    explain = add("explain", _explain, "show a recipe's stages and settings; runs nothing")
    _recipe_arguments(explain, positional=True)
    explain.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    explain.add_argument("--json", action="store_true", help="as JSON")

    inspect = add("inspect", _inspect, "show what a clip holds: stream, shots, people")
    inspect.add_argument("clip", type=Path)
    inspect.add_argument("--sheet", type=Path, help="also write a PNG with a picture of everybody")
    inspect.add_argument("--pack", help="name or folder of the pack that tells people apart")
    inspect.add_argument("--json", action="store_true", help="as JSON")

    judge = add("eval", _eval, "measure what a new hair color did to a clip, or how it was drawn")
    judge.add_argument("source", type=Path, help="the clip")
    judge.add_argument("edited", type=Path, help="what became of it, frame by frame")
    judge.add_argument("--color", help="that was wanted, as edit.color (default: as it came out)")
    judge.add_argument(
        "--drawn", action="store_true", help="the whole clip is drawn: how steady the drawing is"
    )
    judge.add_argument(
        "--truth", type=Path, metavar="CLIP",
        help="with --drawn: how it should be drawn, as `vidhair synth --toon` does",
    )  # fmt: skip
    judge.add_argument(
        "--segmenter", default="auto", help="that says where hair is, as matte.segmenter"
    )
    judge.add_argument("--pack", help="name or folder of the pack that finds the person")
    judge.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    judge.add_argument("--json", action="store_true", help="as JSON")

    add("doctor", _doctor, "show versions, devices, kernels and packs of this installation")

    about = "packs, and the published weights that they can be made of"
    models = commands.add_parser("models", help=about, description=about)
    models_do = models.add_subparsers(required=True, metavar="ACTION")

    listing = add(
        "list",
        _models_list,
        "show the published weights that can be read, and their licences",
        to=models_do,
    )
    listing.add_argument("--json", action="store_true", help="as JSON")

    pull = add(
        "pull", _models_pull, "fetch published weights, and check what is there", to=models_do
    )
    pull.add_argument("names", nargs="+", metavar="NAME", help="as in `vidhair models list`")

    convert = add("convert", _models_convert, "make a pack of weight files", to=models_do)
    convert.add_argument("files", nargs="+", type=Path, metavar="FILE", help="weights of others")
    convert.add_argument(
        "-o", "--output", required=True, metavar="PACK",
        help="a name, kept among your packs, or the path of a folder (with a /)",
    )  # fmt: skip
    verify = add("verify", _models_verify, "check a pack's files and networks", to=models_do)
    verify.add_argument("pack", help="a name or a folder")
    show = add("show", _models_show, "show what a pack or a weight file holds", to=models_do)
    show.add_argument("pack", metavar="PACK|FILE", help="a pack's name or folder, or a file")
    show.add_argument("--json", action="store_true", help="as JSON")

    synth = add("synth", _synth, "render clips of made-up people, with the truth about them")
    synth.add_argument("-o", "--output", type=Path, default=Path("synth"), help="folder")
    synth.add_argument("-n", "--count", type=int, help="how many clips")
    synth.add_argument("--seconds", type=float)
    synth.add_argument("--fps", type=int)
    synth.add_argument("--size", help="WIDTHxHEIGHT")
    synth.add_argument("--style", help="hair style (default: a different one per clip)")
    synth.add_argument("--seed", type=_seed)
    synth.add_argument(
        "--scene",
        help="instead, what is always the same: a scene of several people (crossing, cuts or "
        "returning), or thirty short clips of hair made of strands, with exact mattes and twins "
        "(strands, or a group of them: fades, beards, occluders, to_blonde or long)",
    )
    synth.add_argument("--color", action="append", help="hair color of a twin; may be repeated")
    synth.add_argument(
        "--toon", action="append", metavar="LOOK",
        help="of a twin that is the clip as a cartoon: cel, comic or doll; may be repeated",
    )  # fmt: skip
    synth.set_defaults(**CLIPS)

    about = "measure how fast vidhair is here, against the machine's limits and against others"
    measure = add("bench", _bench, about)
    measure.formatter_class = argparse.RawDescriptionHelpFormatter
    measure.description = f"{about}\n\n{bench.__doc__}"
    measure.add_argument("what", metavar="WHAT", help="kernels, render, encode, dye, flow or long")
    measure.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    measure.add_argument("--threads", type=int, help="of the processor (default: as torch does)")
    measure.add_argument("--repeats", type=int, help="turns of every candidate (default: 5)")
    measure.add_argument(
        "--size", nargs="+", type=int, default=[], help="of the picture: 256, 1024"
    )
    measure.add_argument(
        "--config", nargs="+", default=[], metavar="NAME",
        help="such as 256-T, 1024-R, 1024-SG2, 1024-EX; encode: e4e, loop-256-T; flow: recipes",
    )  # fmt: skip
    measure.add_argument(
        "--seconds", nargs="+", type=float, default=[], help="long: of the clips (default: 10 600)"
    )
    measure.add_argument("--op", nargs="+", default=[], help="kernels: such as filtered_lrelu")
    measure.add_argument(
        "--dtype", nargs="+", default=[], help="float32, bfloat16, float16; the first is compared"
    )
    measure.add_argument("--vs", metavar="MODULE:FUNCTION", help="time this beside vidhair")
    measure.add_argument("--quick", action="store_true", help="less of it: seconds, not minutes")
    measure.add_argument("--json", action="store_true", help="as JSON")

    about = "make the bundled pack or a part of it, or find directions and channels of any pack"
    train = commands.add_parser("train", help=about, description=about)
    train_do = train.add_subparsers(required=True, metavar="WHAT", dest="what")
    for name, do, made in (
        ("pack", _train, "the bundled pack, from nothing"),
        ("parser", _train, "the bundled pack with a new parser"),
        ("effects", _train, "the bundled pack with what its attributes do to faces, seen anew"),
        ("proportions", _train, "the bundled pack with what a cartoon does to faces, seen anew"),
        ("styleganex", _train_styleganex, "a pack of StyleGANEX, a network for whole frames"),
    ):
        whole = add(name, do, f"make {made}", to=train_do)
        whole.add_argument(
            "-o", "--output", type=Path, required=True, help="folder of the new pack"
        )
        whole.add_argument("--work", type=Path, required=True, help="folder for data and progress")
        sizes = "cpu, gpu, small or tiny" if name == "styleganex" else "cpu, gpu or tiny"
        whole.add_argument("--preset", default="cpu", help=f"size of the training: {sizes}")
        whole.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
        whole.add_argument("--seed", type=_seed, default=1)
    wide = whole.add_argument_group("what StyleGANEX learns")

    wide.add_argument(
        "--task", default="inversion",
        help="pretrain, inversion, super_resolution, sketch, mask, edit or toonify; those that it "
        "goes on from come first",
    )  # fmt: skip
    source = wide.add_mutually_exclusive_group()
    source.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="to learn from (default: rendered people)"
    )
    source.add_argument(
        "--pairs", type=Path, metavar="FOLDER",
        help="with source and target, for edit and toonify: files of the same names",
    )  # fmt: skip
    wide.add_argument(
        "--start", metavar="PACK", help="with the network to go on from, or pSp's for pretrain"
    )
    wide.add_argument("--generator", metavar="PACK", help="with a StyleGAN2 that shall draw")
    wide.add_argument("--steps", type=int, help="of the task, in place of the preset's")
    wide.add_argument("--look", help="toonify: cel, comic or doll, of rendered people")

    about = "find a direction of codes, by labels or by what the pack sees (edit.kind=direction)"
    direction = add("direction", _train_direction, about, to=train_do)
    direction.add_argument(
        "--without", type=Path, action="append", default=[], metavar="FILE",
        help="a direction along which it must not move; may be repeated",
    )  # fmt: skip
    about = "find channels of styles, by labels or by what the pack sees (edit.kind=channels)"
    channels = add("channels", _train_channels, about, to=train_do)
    channels.add_argument("--keep", type=int, default=10, help="how many (default: 10)")
    channels.add_argument(
        "--region", help="only those that change background, skin, hair or clothes"
    )
    for found in (direction, channels):
        found.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
        found.add_argument(
            "--by", help="an attribute of the pack, what is seen, or a column of labels"
        )
        found.add_argument("--labels", type=Path, help="CSV: a number per code, or none if unknown")
        found.add_argument("--codes", type=Path, help="rows of a .npy file (default: drawn)")
        found.add_argument("--count", type=int, default=2000, help="codes that are drawn")
        found.add_argument(
            "--share", type=float, default=0.1, help="of them on either side (default: 0.1)"
        )
        found.add_argument("--pack", help="model pack: a name or a folder")
        found.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
        found.add_argument("--seed", type=_seed, default=0)
    return parser


def _recipe_arguments(parser: argparse.ArgumentParser, positional: bool = False) -> None:
    if positional:
        parser.add_argument("recipe", help="a name or a TOML file")
    else:
        parser.add_argument("-r", "--recipe", required=True, help="a name or a TOML file")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="change a setting of the recipe; may be repeated",
    )


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    from vidhair.recipe import parse_override

    return dict(parse_override(text) for text in options.settings)


def _seed(text: str) -> int:
    """Of whatever is drawn at random; argparse says what is wrong."""
    if not (text.isdecimal() and len(text) < 11 and int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 … {(1 << 31) - 1}")
    return int(text)


def _bytes(text: str) -> int:
    """ "4G" or "800M" as bytes. Raises InvalidSetting."""
    number, unit = text[:-1], {"G": 30, "M": 20}.get(text[-1:].upper())
    if unit is None or not number.isdecimal():
        raise InvalidSetting(f"--memory {text} is no amount of memory; write 4G or 800M")
    return int(number) << unit


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    """What `edit_video` and `write_matte` are told of the machine and of where results lie."""
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.flow.runner import Means, Silent
    from vidhair.report.progress import ProgressBars

    return {
        "pack": options.pack or BUNDLED,
        "device": options.device,
        "cache": False if options.no_cache else options.cache,
        "reporter": Silent() if options.quiet else ProgressBars(),
        "means": Means(executor=options.executor, memory=_bytes(options.memory)),
    }


def _tell(options: argparse.Namespace, result: "Result") -> None:
    if not options.quiet:
        for note in result.notes:
            print(f"note: {note}", file=sys.stderr)
        spent = ", ".join(f"{s.name} {s.seconds:.1f} s" for s in result.stages if s.computed)
        print(f"reused from the cache: {', '.join(result.reused) or 'nothing'}", file=sys.stderr)
        print(f"computed: {spent or 'nothing'}", file=sys.stderr)


def _edit(options: argparse.Namespace, clip: Path, recipe: "Recipe", target: Path) -> "Result":
    from vidhair.flow.edit_video import edit_video

    result = edit_video(clip, recipe, target, **_machine(options))
    _tell(options, result)
    return result


def _matte(options: argparse.Namespace) -> int:
    from vidhair.flow.edit_video import write_matte

    person = {} if options.person is None else {"align.person": options.person}
    settings = _settings(options) | person
    result = write_matte(options.clip, options.output, settings=settings, **_machine(options))
    _tell(options, result)
    if not options.quiet:
        print(f"{result.path}  ({result.frames} frames in {result.seconds:.1f} s)")
    return 0


def _run(options: argparse.Namespace) -> int:
    from vidhair.recipe import load_recipe

    person = {} if options.person is None else {"align.person": options.person}
    samples = {} if options.samples is None else {"edit.samples": options.samples}
    recipe = load_recipe(options.recipe, _settings(options) | person | samples)
    target = options.output or Path(f"{options.clip.stem}-{recipe.name}.mp4")
    if options.compare:
        from vidhair.media import check_target
        from vidhair.media.files import same_place

        check_target(options.compare, options.clip)
        if same_place(options.compare, target):
            raise InvalidSetting(f"--compare {options.compare} is the output itself; name another")
    result = _edit(options, options.clip, recipe, target)
    if options.compare:
        from vidhair.report.comparison import write_comparison

        write_comparison(options.clip, target, options.compare)
    if not options.quiet:
        print(f"{result.path}  ({result.frames} frames in {result.seconds:.1f} s)")
        if options.compare:
            print(f"{options.compare}  (before and after)")
    return 0


def _hairstyles(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.flow.edit_video import choose_device
    from vidhair.flow.runner import Silent
    from vidhair.report.hairstyles import hairstyles
    from vidhair.report.progress import ProgressBars

    target = options.output or Path(f"{options.clip.stem}-hairstyles.png")
    frame = hairstyles(
        options.clip,
        options.styles,
        target,
        settings=_settings(options),
        pack=options.pack or BUNDLED,
        device=choose_device(options.device),
        reporter=Silent() if options.quiet else ProgressBars(),
    )
    if not options.quiet:
        print(f"{target}  (frame {frame})")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from vidhair.media import check_distinct
    from vidhair.recipe import load_recipe
    from vidhair.report.comparison import write_comparison, write_sheet
    from vidhair.samples import sample_clips

    sample = sample_clips()[0]
    recipe = load_recipe("hair_color", {"edit.color": options.color})
    folder: Path = options.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(
            f"{folder} cannot be made ({error.strerror}); give another folder with -o"
        ) from error
    edited, both = folder / "edited.mp4", folder / "before-and-after.mp4"
    sheet = folder / "before-and-after.png"
    check_distinct(sample, edited, both, sheet)
    if not options.quiet:
        print(f"editing {sample.name}: hair to {options.color}", file=sys.stderr)
    _edit(options, sample, recipe, edited)
    write_comparison(sample, edited, both)
    write_sheet([sample, edited], sheet)
    for path, what in ((edited, "the edited video"), (both, "side by side"), (sheet, "stills")):
        print(f"{what + ':':<17} {path.resolve()}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from vidhair.flow.edit_video import choose_device
    from vidhair.recipe import explain, load_recipe, precisions

    recipe, device = load_recipe(options.recipe, _settings(options)), choose_device(options.device)
    if options.json:
        here = {place: decided.name for place, decided in precisions(recipe, device).items()}
        print(json.dumps({"name": recipe.name, **recipe.describe(), "here": here}, indent=2))
    else:
        from vidhair.report.plan import plan_text

        print(explain(recipe, device), plan_text(recipe), sep="\n\n")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.report.inspection import describe, inspect_clip

    facts = inspect_clip(options.clip, options.pack or BUNDLED, options.sheet)
    print(json.dumps(facts, indent=2) if options.json else describe(facts))
    return 0


def _eval(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.flow.edit_video import choose_device

    if options.drawn:
        return _eval_drawing(options)
    if options.truth is not None:
        raise InvalidSetting("--truth is for clips that were drawn as a whole; add --drawn")
    from vidhair.report.evaluation import evaluate, evaluation_text

    found = evaluate(
        options.source,
        options.edited,
        color=options.color,
        segmenter=options.segmenter,
        pack=options.pack or BUNDLED,
        device=choose_device(options.device),
    )
    print(json.dumps(found.as_data(), indent=2) if options.json else evaluation_text(found))
    return 0


def _eval_drawing(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.flow.edit_video import choose_device
    from vidhair.report.drawing import drawing_text, evaluate_drawing

    if options.color is not None:
        raise InvalidSetting(
            f"--color {options.color!r} has no meaning with --drawn; leave one of the two out"
        )
    found = evaluate_drawing(
        options.source,
        options.edited,
        truth=options.truth,
        pack=options.pack or BUNDLED,
        device=choose_device(options.device),
    )
    print(json.dumps(found.as_data(), indent=2) if options.json else drawing_text(found))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from vidhair.report.doctor import main as doctor

    return doctor()


def _models_list(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.download import weights_folder
    from vidhair.checkpoints.known import KNOWN
    from vidhair.report.known_weights import as_data, table

    folder = weights_folder()
    print(json.dumps(as_data(KNOWN, folder), indent=2) if options.json else table(KNOWN, folder))
    return 0


def _models_pull(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.download import pull, weights_folder
    from vidhair.checkpoints.known import find_weights
    from vidhair.report.known_weights import by_hand, terms
    from vidhair.report.progress import transfer_bar

    folder, left = weights_folder(), 0
    for entry in find_weights(options.names):
        there = (folder / entry.file).exists()
        if not there:
            # Told even to those who want to hear nothing: they are about to accept it.
            print(terms(entry), file=sys.stderr)
        if not there and entry.url is None:
            print(by_hand(entry, folder), file=sys.stderr)
            left = LEFT_TO_DO
            continue
        with nullcontext() if options.quiet or there else transfer_bar(entry.file) as progress:
            print(pull(entry, folder, progress))
    return left


def _models_convert(options: argparse.Namespace) -> int:
    from vidhair.conversion.convert import convert
    from vidhair.report.packs import conversion_text

    conversion = convert(options.files, options.output)
    if not options.quiet:
        print(conversion_text(conversion))
    return 0


def _models_verify(options: argparse.Namespace) -> int:
    from vidhair.models.pack import load_pack
    from vidhair.report.packs import verify_pack

    for line in verify_pack(load_pack(options.pack)):
        if not options.quiet:
            print(line)
    return 0


def _models_show(options: argparse.Namespace) -> int:
    from vidhair.checkpoints.packs import open_pack
    from vidhair.report.packs import describe_file, describe_pack, file_text, pack_text

    if Path(options.pack).is_file():
        facts, text = describe_file(Path(options.pack)), file_text
    else:
        facts, text = describe_pack(open_pack(options.pack)), pack_text
    print(json.dumps(facts, indent=2) if options.json else text(facts))
    return 0


def _synth(options: argparse.Namespace) -> int:
    if options.scene is not None:
        from vidhair.samples import render_scene

        for name, usual in CLIPS.items():
            if getattr(options, name) != usual:
                raise InvalidSetting(
                    f"--scene {options.scene} is always the same, so --{name} would do nothing; "
                    "leave one of the two out"
                )
        print(render_scene(options.scene, options.output))
        return 0
    from vidhair.samples import render_clips

    for path in render_clips(
        options.output,
        count=options.count,
        seconds=options.seconds,
        fps=options.fps,
        size=options.size,
        style=options.style,
        seed=options.seed,
        colors=options.color or ["blonde", "black"],
        toons=options.toon,
    ):
        print(path)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from vidhair.bench.baseline import find_baseline
    from vidhair.bench.options import Options, silent
    from vidhair.bench.run import bench as measure
    from vidhair.bench.table import text
    from vidhair.flow.edit_video import choose_device
    from vidhair.report.progress import case_bar

    asked = Options(
        device=choose_device(options.device),
        repeats=options.repeats,
        sizes=options.size,
        configs=options.config,
        dtypes=options.dtype,
        ops=options.op,
        seconds=options.seconds,
        baseline=None if options.vs is None else find_baseline(options.vs),
        quick=options.quick,
    )
    with nullcontext(silent) if options.quiet else case_bar() as progress:
        report = measure(options.what, asked, threads=options.threads, progress=progress)
    print(json.dumps(report, indent=2, allow_nan=False) if options.json else text(report))
    return 0


def _check_folder(folder: Path) -> None:
    """Raises OutputNotWritable if something else is in its way."""
    way = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not way.is_dir():
        raise OutputNotWritable(f"{folder} cannot be made, as {way} is a file; name another folder")


def _train(options: argparse.Namespace) -> int:
    from vidhair.flow.edit_video import choose_device
    from vidhair.training.pack import (
        RECIPES,
        measure_effects,
        measure_proportions,
        train_pack,
        train_parser_alone,
    )

    if options.preset not in RECIPES:
        raise InvalidSetting(f"--preset {options.preset!r} must be one of {', '.join(RECIPES)}")
    recipe = RECIPES[options.preset]
    device = choose_device(options.device)
    ways = {
        "pack": train_pack,
        "parser": train_parser_alone,
        "effects": measure_effects,
        "proportions": measure_proportions,
    }
    _check_folder(options.work)
    ways[options.what](recipe, options.work, options.output, seed=options.seed, device=device)
    print(options.output)
    return 0


def _train_styleganex(options: argparse.Namespace) -> int:
    from vidhair.flow.edit_video import choose_device
    from vidhair.training.styleganex_pack import Request, train_styleganex
    from vidhair.training.tasks import CONFIGS

    if options.preset not in CONFIGS:
        raise InvalidSetting(f"--preset {options.preset!r} must be one of {', '.join(CONFIGS)}")
    changes: dict[str, Any] = {}
    if options.look is not None:
        if options.task != "toonify" or options.pairs or options.pictures:
            raise InvalidSetting(
                f"--look {options.look!r} is of rendered people's cartoons, which --task "
                f"{options.task} {'with --pairs ' if options.pairs else ''}does not learn from; "
                "leave it out"
            )
        changes["look"] = options.look
    if options.steps is not None and options.steps < 1:
        raise InvalidSetting(f"--steps {options.steps} must be 1 or more")
    request = Request(
        task=options.task,
        config=replace(CONFIGS[options.preset], **changes),
        pictures=options.pictures,
        pairs=options.pairs,
        start=options.start,
        generator=options.generator,
        steps=options.steps,
    )
    device = choose_device(options.device)
    _check_folder(options.work)
    train_styleganex(request, options.work, options.output, seed=options.seed, device=device)
    print(options.output)
    return 0


def _asked(options: argparse.Namespace) -> tuple[Any, Any]:
    """The pack, and what `vidhair train direction` and `channels` are asked for."""
    from vidhair.checkpoints.packs import BUNDLED
    from vidhair.flow.edit_video import choose_device
    from vidhair.models.pack import load_pack
    from vidhair.training.directions import Asked

    if not 0 < options.share <= 0.5:
        raise InvalidSetting(f"--share {options.share} is no share; give one above 0, up to 0.5")
    if not 1 <= options.count <= MOST_CODES:
        raise InvalidSetting(f"--count {options.count} must be 1 … {MOST_CODES}")
    target: Path = options.output
    if target.suffix != ".safetensors" or target.is_dir() or not target.parent.is_dir():
        raise OutputNotWritable(
            f"{target} cannot be written; give a .safetensors file in a folder that is there"
        )
    pack = load_pack(options.pack or BUNDLED, device=choose_device(options.device))
    names = ("by", "labels", "codes", "count", "share", "seed")
    return pack, Asked(**{name: getattr(options, name) for name in names})


def _faces_bar(options: argparse.Namespace) -> Any:
    """Shows how many drawn faces were looked at."""
    from vidhair.flow.runner import Silent
    from vidhair.report.progress import ProgressBars

    bars = Silent() if options.quiet else ProgressBars()
    return bars.stage("drawn faces", options.count, "face")


def _train_direction(options: argparse.Namespace) -> int:
    from vidhair.training.directions import train_direction

    pack, asked = _asked(options)
    with _faces_bar(options) as progress:
        found = train_direction(pack, asked, options.without, options.output, progress)
    if not options.quiet:
        print(
            f"{options.output}  ({found.accuracy:.0%} of held-out codes on their side; faces "
            f"differ by {found.length:.2f} lengths)"
        )
    return 0


def _train_channels(options: argparse.Namespace) -> int:
    from vidhair.training.directions import train_channels

    if options.keep < 1:
        raise InvalidSetting(f"--keep {options.keep} keeps nothing; give 1 or more")
    pack, asked = _asked(options)
    with _faces_bar(options) as progress:
        found = train_channels(pack, asked, options.keep, options.region, options.output, progress)
    for one in found:
        if not options.quiet:
            where = f", {one.share:.0%} of its change in {one.region}" if one.region else ""
            print(f"{one.layer}/{one.channel}  {one.amount:+.2f} deviations{where}")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

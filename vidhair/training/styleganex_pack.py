"""Packs with a StyleGANEX network that was trained here, task by task: what a task goes on from is
trained first, unless it is given."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.checkpoints.packs import BUNDLED, bundled_folder, write_pack
from vidhair.errors import InvalidSetting, os_errors
from vidhair.models.pack import Pack, load_pack
from vidhair.models.parsers.face_parser import FaceParser
from vidhair.models.perceptual import find_perceptual
from vidhair.models.styleganex.network import StyleGANEX, StyleGANEXConfig
from vidhair.synthetic.toon import LOOKS
from vidhair.training.generator import Standardiser
from vidhair.training.pairs import (
    Examples,
    RenderedPairs,
    World,
    file_pairs,
    listed,
    paired,
    rendered_pairs,
)
from vidhair.training.styleganex import Judges, Training, asked_steps, train
from vidhair.training.tasks import TrainingConfig
from vidhair.training.views import one_hot, parsed

NEED_PAIRS = ("edit", "toonify")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `vidhair train styleganex` is asked for. pictures: a folder of them; pairs: one with the
    folders source and target; neither: rendered people. start: a pack with the network to go on
    from; generator: one with a StyleGAN2 that shall draw. steps: of the task itself."""

    task: str
    config: TrainingConfig
    pictures: Path | None = None
    pairs: Path | None = None
    start: str | None = None
    generator: str | None = None
    steps: int | None = None

    @property
    def own_config(self) -> TrainingConfig:
        """With the number of steps that is asked for."""
        if self.steps is None:
            return self.config
        if self.task == "pretrain":
            return replace(self.config, pretrain_steps=self.steps)
        return replace(self.config, steps=self.steps)

    def check(self) -> None:
        """Raises InvalidSetting."""
        known = self.config.tasks
        if self.task not in known:
            raise InvalidSetting(f"--task {self.task!r} must be one of {', '.join(known)}")
        if self.config.look not in LOOKS:
            raise InvalidSetting(f"--look {self.config.look!r} must be one of {', '.join(LOOKS)}")
        if self.pictures and self.pairs:
            raise InvalidSetting("--pictures and --pairs exclude each other; leave one out")
        if self.pictures and self.task in NEED_PAIRS:
            raise InvalidSetting(
                f"--task {self.task} learns from pairs; give --pairs a folder with source and "
                "target, or neither, for rendered people"
            )
        if self.pairs and self.task not in NEED_PAIRS:
            raise InvalidSetting(
                f"--task {self.task} makes its own pairs; give --pictures, a folder of pictures"
            )
        if self.pictures:
            listed(self.pictures)
        if self.pairs:
            paired(self.pairs)
        if self.generator and self.task == "pretrain" and not self.start:
            raise InvalidSetting(
                "--generator without --start has no encoder that knows its codes; give --start a "
                "pack with pSp's encoder and generator"
            )


def train_styleganex(request: Request, work: Path, target: Path, *, seed: int, device: str) -> None:
    """Train a task and write its pack; what is in `work` from an earlier run is taken up."""
    request.check()
    with os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    bundled = load_pack(bundled_folder() / BUNDLED, device=device)
    perceptual = find_perceptual("auto", "", lambda: bundled.parser.features, {}, device=device)
    start = _start(request, device)
    if request.generator is not None:
        _generator_of(request.generator, device)
    judges = Judges(
        perceptual=perceptual.build(),
        identity=load_pack(request.start, device=device).identity if request.start else None,
        parser=face_parser(bundled),
    )
    training = _trained(request, start, judges, bundled, work, seed=seed, device=device)
    network = training.network.cpu()
    assert isinstance(network, StyleGANEX)
    parts: dict[str, tuple[str, dict[str, Any], dict[str, Tensor]]] = {
        "styleganex": ("styleganex", asdict(network.config), network.state_dict())
    }
    if training.editing is not None:
        parts["editing_vector"] = "editing_vector", {}, {"editing_w": training.editing.cpu()}
    config = request.config
    about: dict[str, Any] = {
        "version": 1,
        "about": f"StyleGANEX for {request.task}, of faces whose crop has {config.aligned} pixels.",
        "training": {
            "command": f"vidhair train styleganex --task {request.task}",
            "seed": seed,
            "config": asdict(config),
            "steps": training.step,
            "likeness": perceptual.about.removeprefix("tuning measures likeness "),
        },
        "quality": {"held_out_loss": round(training.measured, 4)},
    }
    if not (request.pictures or request.pairs or request.start or request.generator):
        about["licence"] = "Apache-2.0"
    write_pack(target, f"styleganex-{request.task}", parts, about)


def _start(request: Request, device: str) -> StyleGANEX | None:
    """The network of a pack, or one of its pSp encoder and StyleGAN2. Raises InvalidSetting."""
    if request.start is None:
        return None
    pack = load_pack(request.start, device=device)
    parts = pack.files.parts
    if "styleganex" in parts:
        network: StyleGANEX = pack.build("styleganex")
        return network
    kinds = [parts[name].kind if name in parts else "none" for name in ("encoder", "generator")]
    if kinds != ["psp", "stylegan2"]:
        raise InvalidSetting(
            f"--start {request.start} holds neither StyleGANEX nor pSp's encoder with a StyleGAN2 "
            f"(its encoder: {kinds[0]}, its generator: {kinds[1]}); give a pack that does"
        )
    if request.task != "pretrain":
        raise InvalidSetting(
            f"--start {request.start} is pSp, which --task pretrain goes on from; train that first"
        )
    encoder, generator = pack.build("encoder"), pack.build("generator")
    c = generator.config
    network = StyleGANEX(
        StyleGANEXConfig(
            resolution=c.resolution,
            w_dim=c.w_dim,
            channel_base=c.channel_base,
            channel_max=c.channel_max,
            mapping_layers=c.mapping_layers,
        )
    )
    own = network.state_dict()
    own |= {f"encoder.{n}": t for n, t in encoder.network.state_dict().items()}
    own |= {f"generator.{n}": t for n, t in generator.state_dict().items()}
    network.load_state_dict(own)
    network.generator.mapping.w_avg.copy_(encoder.w_avg[0])
    return network


def _trained(
    request: Request,
    given: StyleGANEX | None,
    judges: Judges,
    bundled: Pack,
    work: Path,
    *,
    seed: int,
    device: str,
) -> Training:
    """The training of a task, done, after those that it goes on from."""
    task, start = request.config.tasks[request.task], given
    if start is None and task.start is not None:
        # Who has trained it here before decides how long.
        steps = asked_steps(work, task.start)
        before = replace(request, task=task.start, generator=None, steps=steps)
        if request.task in NEED_PAIRS and request.pairs is not None:
            before = replace(before, pairs=None, pictures=request.pairs / "source")
        options: dict[str, Any] = {"seed": seed, "device": device}
        start = _trained(before, None, judges, bundled, work, **options).network
    # One that was made here goes on learning, as long as no pack holds it.
    own = request.generator is None and (request.task == "toonify" or given is None)
    data, held_out = _examples(request, bundled, work, seed)
    standardiser = None
    if own and (request.task == "pretrain" or task.told) and isinstance(data, RenderedPairs):
        params = data.arrays["params"]
        if params.shape[1] < request.config.network.w_dim:
            standardiser = Standardiser(params.shape[1], request.config.network.w_dim)
            standardiser.fit(params)
            standardiser.to(device)
    torch.manual_seed(seed)
    training = Training(
        request.task, request.own_config, judges, start=start, own_generator=own,
        standardiser=standardiser, device=device,
    )  # fmt: skip
    if request.generator is not None:
        _take_generator(training.network, request.generator, device)
    train(training, data, held_out, work, seed=seed)
    training.measured = training.held_out(held_out)
    return training


def _generator_of(name: str, device: str) -> dict[str, Tensor]:
    """The weights of a pack's StyleGAN2. Raises InvalidSetting."""
    pack = load_pack(name, device=device)
    part = pack.files.parts.get("generator")
    if part is None or part.kind != "stylegan2":
        raise InvalidSetting(
            f"--generator {name} has no StyleGAN2 (its generator: {part.kind if part else 'none'});"
            " give a pack that has"
        )
    state: dict[str, Tensor] = pack.build("generator").state_dict()
    return state


def _take_generator(network: StyleGANEX, name: str, device: str) -> None:
    """The StyleGAN2 of a pack in place of a network's own. Raises InvalidSetting."""
    state = _generator_of(name, device)
    shapes = {n: t.shape for n, t in network.generator.state_dict().items()}
    if {n: t.shape for n, t in state.items()} != shapes:
        raise InvalidSetting(
            f"the StyleGAN2 of --generator {name} is not of the shape of the network's own; give "
            "one that was tuned from it"
        )
    network.generator.load_state_dict(state)


def _examples(request: Request, bundled: Pack, work: Path, seed: int) -> tuple[Examples, Examples]:
    """To learn from, and held out. Raises InvalidSetting."""
    config, side = request.config, request.config.rendered_side
    if request.pairs is None and request.pictures is None:
        target = {"edit": config.edit, "toonify": config.look}.get(request.task, "same")
        world = World(side=side, people=config.people, target=target)
        return rendered_pairs(work / "people", world, seed=seed)
    notes = work / "faces.json"
    if request.pairs is not None:
        return file_pairs(paired(request.pairs), notes, side)
    assert request.pictures is not None
    pairs = [(path, path) for path in listed(request.pictures)]
    if request.task != "mask":
        return file_pairs(pairs, notes, side)
    return file_pairs(pairs, notes, side, labels=lambda picture: labels_of(bundled, picture))


def face_parser(bundled: Pack) -> FaceParser:
    parser = bundled.parser
    assert isinstance(parser, FaceParser)
    return parser


@torch.no_grad()
def labels_of(bundled: Pack, picture: Tensor) -> Tensor:
    """What the bundled parser says of pictures uint8 [B, 3, M, M]: [B, 4, M, M], 0 or 255."""
    side = picture.shape[-1]
    logits = parsed(face_parser(bundled), picture.float().to(bundled.device) / 127.5 - 1)
    labels = one_hot(logits.cpu())
    return (F.interpolate(labels, size=(side, side)) * 255).to(torch.uint8)

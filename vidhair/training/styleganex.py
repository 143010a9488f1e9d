"""Training StyleGANEX's networks (Yang et al. 2023): their losses, on rendered people or a user's
pictures.

The encoder alone is trained, with its fusions, against a generator that stays as it is. Where
nobody gives a generator, it is made in the same steps: by `pretrain` one of the pictures, with
which the tasks behind go on, by `toonify` one of cartoons. Small networks (`SMALL`) begin with
nothing and go without what their task does not need.

Shapes: B pictures, S side of what a network sees, T = S · R/256 of what it draws, L codes of width
W.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from vidhair.media.images import write_png
from vidhair.models.faces.identity import FaceIdentity, face_of_aligned
from vidhair.models.generators.mapping import MAPPING_LR_MULTIPLIER
from vidhair.models.generators.stylegan2 import mix_codes
from vidhair.models.parsers.face_parser import FaceParser
from vidhair.models.perceptual import PerceptualDistance
from vidhair.models.styleganex.generator import NEARLY_NOTHING, SkipFusion
from vidhair.models.styleganex.network import (
    ENCODER_SIZE,
    LAYOUT_CODES,
    RGB,
    StyleGANEX,
)
from vidhair.training.discriminator import (
    Discriminator,
    gradient_penalty,
    real_or_drawn,
    windows,
)
from vidhair.training.generator import Standardiser, to_images
from vidhair.training.optim import (
    MuonAdam,
    Ranger,
    constant_then_linear,
    is_matrix,
    load_state_tensors,
    state_tensors,
)
from vidhair.training.pairs import (
    WIDER,
    Examples,
    Sample,
    in_other_colors,
)
from vidhair.training.placement import Placement, still, unaligned
from vidhair.training.state import Table, load_meta, load_state, prefixed, save_state, strip
from vidhair.training.tasks import TrainingConfig
from vidhair.training.views import (
    as_picture,
    lowered,
    middle,
    one_hot,
    parsed,
    resized,
    sketch_of,
    windowed,
    worn,
)

R1_EVERY = 16
GENERATOR_FACTOR = 5.0  # of its rate, in small networks
FEWEST = 8  # rows and columns of a convolution that Muon turns
HELD_OUT = 16  # pictures, at most, that a network is measured on
SHOWN = 6  # of them on a sheet
LEAST_PERCEIVED = 32  # pixels of a side, of which the perceptual distance makes something
COLUMNS = (
    "seconds", "loss", "l2", "perceptual", "identity", "parsed", "codes", "adversarial", "flicker",
    "discriminator", "generator", "held_out",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What pictures are compared by, beside their pixels. identity, parser: None if there is none,
    and then those losses play no part."""

    perceptual: PerceptualDistance
    identity: FaceIdentity | None = None
    parser: FaceParser | None = None


@dataclass(frozen=True)
class Shown:
    """A batch as a network is shown it, all in −1 … 1. seen: [B, 3, S, S], or labels in 0 … 1; face
    [B, 3, A, A], the aligned face of whose style it shall be; wanted [B, 3, T, T]. amount: [B].
    told: [K, Z], what the mapping takes for the style of the first K, in place of their faces."""

    seen: Tensor
    face: Tensor
    wanted: Tensor
    amount: Tensor
    told: Tensor | None = None


def step_seed(seed: int, name: str, step: int) -> int:
    """Of all that is drawn at random in a step, so that a resumed training goes on alike."""
    state = np.random.SeedSequence([seed, step, *name.encode()]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class Training:
    """One task: its network, and what trains it."""

    def __init__(
        self,
        name: str,
        config: TrainingConfig,
        judges: Judges,
        *,
        start: StyleGANEX | None,
        own_generator: bool,
        standardiser: Standardiser | None = None,
        device: str = "cpu",
    ):
        """start: the network to go on from; None: random weights. own_generator: whether the
        generator learns, too. standardiser: of rendered people's parameters, from which `pretrain`
        learns what its own generator draws of which numbers."""
        self.name, self.task, self.config, self.judges = name, config.tasks[name], config, judges
        self.own_generator, self.standardiser, self.device = own_generator, standardiser, device
        shape = config.of_task(name)
        if start is not None:
            shape = replace(shape, **{
                n: getattr(start.config, n)
                for n in ("resolution", "w_dim", "channel_base", "channel_max", "mapping_layers")
            })  # fmt: skip
        self.network = StyleGANEX(shape)
        if start is not None:
            fill(self.network, start)
        elif self.task.residual:
            begin_with_nothing(self.network)
        self.network.to(device)
        self.learning = list(self._learning())
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        for parameter in self.learning:
            parameter.requires_grad_(True)
        pretrain = name == "pretrain"
        self.steps = config.pretrain_steps if pretrain else config.steps
        self.lr = config.pretrain_lr if pretrain else config.lr
        self.optimiser = self._optimiser()
        self.discriminator: Discriminator | None = None
        if self.task.adversarial:
            side = 1 << (round(config.aligned * config.times)).bit_length() - 1
            c = self.network.config
            self.discriminator = Discriminator(side, c.channel_base, c.channel_max).to(device)
            self.against = torch.optim.Adam(
                self.discriminator.parameters(), lr=config.discriminator_lr
            )
        self.editing: Tensor | None = None  # [1, L, W]
        self.step, self.seconds, self.measured = 0, 0.0, float("nan")

    def _learning(self) -> list[nn.Parameter]:
        """The encoder and what merges its features; of pretraining against a given generator only
        the layer that makes the feature."""
        network = self.network
        if self.name == "pretrain" and not self.own_generator:
            return list(network.encoder.feature.parameters())
        found = [*network.encoder.parameters(), *network.fusions.parameters()]
        if self.own_generator:
            found += [p for n, p in network.generator.named_parameters() if "noise" not in n]
        return found

    def _optimiser(self) -> torch.optim.Optimizer:
        memory = self.config.memory
        if self.task.matrices:
            return MuonAdam(self._groups(), lr=self.lr, betas=(0.9, memory))
        if self.task.start is None:
            return torch.optim.Adam(self._groups(), lr=self.lr, betas=(0.9, memory), foreach=True)
        return Ranger(self._groups(), lr=self.lr, memory=memory)

    def _groups(self) -> list[dict[str, Any]]:
        """What learns, with the factor of its rate. The weights of a generator that begins with
        nothing are scaled when they are used, those of a mapping by a hundredth. Matrices that
        Muon turns have a rate that goes with their size."""
        generator, share = self.network.generator, self.task.matrices
        turned = [p for p in self.learning if share and p.ndim == 4 and is_matrix(p, FEWEST)]
        sizes = [float(p.detach().square().mean().sqrt()) for p in turned]
        groups: list[dict[str, Any]] = [
            {"params": [p], "lr": share * size, "factor": share * size / self.lr, "matrices": True}
            for p, size in zip(turned, sizes, strict=True)
        ]
        turned_ids = {id(p) for p in turned}
        factors = dict.fromkeys(self.learning, 1.0)
        if self.config.small:
            factors |= dict.fromkeys(generator.synthesis.parameters(), GENERATOR_FACTOR)
        factors |= dict.fromkeys(generator.mapping.parameters(), 1 / MAPPING_LR_MULTIPLIER)
        rest = [p for p in self.learning if id(p) not in turned_ids]
        return groups + [
            {"params": part, "lr": factor * self.lr, "factor": factor}
            for factor in sorted(set(factors.values()))
            if (part := [p for p in rest if factors[p] == factor])
        ]

    @property
    def window(self) -> int:
        """Side of what is seen at once."""
        task = self.task
        late = self.step >= task.whole * self.steps
        return self.config.side if late or not task.window else task.window

    # ---- what is shown

    def shown(self, sample: Sample, generator: torch.Generator, *, whole: bool = False) -> Shown:
        """A batch on the device, still aligned. whole: no windows of it."""
        c = self.config
        if self.task.recolored and not whole and "params" in sample:
            sample = sample | in_other_colors(sample, c.edit, generator)
        image, wanted, side = sample["image"], sample["target"], c.side
        if self.task.window and not whole:
            side = self.window
            image, wanted = windowed(image, wanted, side / c.side, generator)
        image, wanted = to_images(image, "cpu"), to_images(wanted, "cpu")
        seen, wanted = resized(image, side), resized(wanted, round(side * c.times))
        face = middle(seen)
        if self.name == "super_resolution":
            index = int(torch.randint(len(c.lowered), (), generator=generator))
            factor = c.lowered[index]
            blind, crisp = (
                torch.rand(2, generator=generator) < torch.tensor([c.blind, 0.5])
            ).tolist()
            seen = (
                worn(seen, factor, generator, c.worn)
                if blind
                else lowered(seen, factor, crisp=crisp)
            )
            face = middle(seen)
        elif self.name == "sketch":
            seen = sketch_of(seen)
        elif self.name == "mask":
            seen = one_hot(F.interpolate(sample["labels"].float(), size=seen.shape[2:]))
        elif self.name == "toonify":
            seen = torch.where(
                torch.rand(len(seen), 1, 1, 1, generator=generator) < 0.3,
                worn(seen, 1, generator), seen,
            )  # fmt: skip
        parts = (seen, face, wanted, sample["amount"].float())
        shown = Shown(*(part.to(self.device) for part in parts))
        count = round(self.task.told * len(seen))
        if whole or not count or self.standardiser is None or "params" not in sample:
            return shown
        return replace(shown, told=self.standardiser(sample["params"][:count].to(self.device)))

    def drawn(self, shown: Shown, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the network makes of it, [B, 3, ·, ·], and its codes [B, L, W].

        seen: in place of what is shown of the frame.
        """
        seen, face, amount = shown.seen if seen is None else seen, shown.face, shown.amount
        network = self.network
        if self.task.labels:
            ws, layout = network.encode(seen)
            count = 0 if shown.told is None else len(shown.told)
            styles = [network.encode_face(face[count:])] if count < len(face) else []
            if shown.told is not None:
                styles.insert(0, network.generator.mapping(shown.told))
            ws = mix_codes(ws, torch.cat(styles), min(LAYOUT_CODES, ws.shape[1]))
        else:
            ws, layout = network.encode_style(face), network.encode_layout(seen)
        editing = None
        if self.editing is not None:
            editing = amount[:, None, None] * self.editing
        noise = network.synthesis.no_noise()
        return network.render(layout, ws, editing=editing, noise=noise), ws

    # ---- losses

    def perceived(self, got: Tensor, want: Tensor) -> Tensor:
        """Pretraining looks at half the size, as far as that leaves something to see."""
        if self.name == "pretrain" and got.shape[-1] >= 2 * LEAST_PERCEIVED:
            got, want = F.avg_pool2d(got, 2), F.avg_pool2d(want, 2)
        return self.judges.perceptual(got, want)

    def compared(self, got: Tensor, want: Tensor, placed: Placement) -> dict[str, Tensor]:
        """Losses by name, weighted. At the size that the network sees, if that is smaller."""
        task = self.task
        if self.config.times > 1:
            whole = round(self.config.times)
            got, want = F.avg_pool2d(got, whole), F.avg_pool2d(want, whole)
        found = {"l2": task.l2 * F.mse_loss(got, want)}
        if task.perceptual:
            found["perceptual"] = task.perceptual * self.perceived(got, want)
        if task.identity and self.judges.identity is not None:
            # In the alignment that the network of identities knows.
            faces = [
                face_of_aligned(placed.aligned(x, ENCODER_SIZE, 1 / WIDER)) for x in (got, want)
            ]
            one, other = (self.judges.identity(face) for face in faces)
            found["identity"] = task.identity * (1 - (one * other).sum(1)).mean()
        return found

    def losses(self, shown: Shown, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Losses by name, and what was drawn."""
        task, batch = self.task, len(shown.seen)
        placed = unaligned(batch, generator) if task.moved else still(batch)
        placed = placed.cropped(self.config.side, generator) if task.cropped else placed
        labels = self.name == "mask"
        seen = placed(shown.seen, labels=labels) if task.moved else shown.seen
        wanted = placed(shown.wanted) if task.moved else shown.wanted
        got, ws = self.drawn(shown, seen)
        found = self.compared(got, wanted, placed)
        if task.parsed and self.judges.parser is not None:
            found["parsed"] = task.parsed * F.cross_entropy(
                logits := parsed(self.judges.parser, got), resized(seen, logits.shape[-1])
            )
        if task.codes:
            away = (ws - self.network.w_avg).flatten(1).norm(dim=1)
            found["codes"] = task.codes * away.mean()
        if self.discriminator is not None:
            window = windows(got, self.discriminator.side, generator)
            found["adversarial"] = task.adversarial * F.softplus(-self.discriminator(window)).mean()
        late = 2 * self.step >= self.steps
        if task.flicker and late:
            # What is drawn of a moved picture is what is drawn of the picture, moved.
            first, _ = self.drawn(shown)
            grows = min(1.0, 4 * (self.step / self.steps - 0.5))
            found["flicker"] = task.flicker * grows * F.mse_loss(got, placed(first))
        return found, got

    def generator_losses(self, shown: Shown, params: Tensor | None) -> Tensor:
        """Of a generator that is learned with its encoder: without a layout, too, it draws the
        aligned face of the codes, and its mapping gives such codes for what is known of a rendered
        person. Of a quarter of the batch."""
        network, share = self.network, max(1, len(shown.face) // 4)
        codes = network.encode_style(shown.face)
        noise = network.synthesis.no_noise()
        got = network.synthesis(codes[:share], noise=noise)
        want = middle(shown.wanted)[:share]
        got = F.adaptive_avg_pool2d(got, want.shape[-1])
        loss = self.task.l2 * F.mse_loss(got, want)
        loss = loss + self.task.perceptual * self.perceived(got, want)
        if params is not None and self.standardiser is not None:
            w = network.generator.mapping.w(self.standardiser(params.to(self.device)))
            loss = loss + F.mse_loss(w, codes.detach().mean(1))
        return loss

    # ---- steps

    def take_step(self, data: Examples, seed: int) -> dict[str, float]:
        own = step_seed(seed, self.name, self.step)
        generator = torch.Generator().manual_seed(own)
        torch.manual_seed(own)
        # As many pixels, whatever the windows' side.
        share = (self.task.window / self.window) ** 2 if self.task.window else 1.0
        count = max(1, round((self.task.batch or self.config.batch) * share))
        chosen = torch.randint(len(data), (count,), generator=generator).tolist()
        sample = data.take(chosen)
        shown = self.shown(sample, generator)
        self.network.train()
        if self.task.residual:
            # What is restored by the statistics of a window is not what a frame gets: norms scale
            # and shift alone (Lim et al. 2017 leave them out).
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        if self.task.falls:
            factor = constant_then_linear(self.step, self.steps)
            for group in self.optimiser.param_groups:
                group["lr"] = factor * group["factor"] * self.lr
        found, got = self.losses(shown, generator)
        if self.own_generator and self.name == "pretrain":
            found["generator"] = self.generator_losses(shown, sample.get("params"))
        loss = torch.stack(list(found.values())).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        values = {name: value.item() for name, value in found.items()}
        if self.discriminator is not None:
            real = windows(shown.wanted, self.discriminator.side, generator)
            fake = windows(got.detach(), self.discriminator.side, generator)
            against = real_or_drawn(self.discriminator, real, fake) * self.task.adversarial
            values["discriminator"] = against.item()
            if self.step % R1_EVERY == 0:
                against = against + gradient_penalty(self.discriminator, real)
            self.against.zero_grad()
            against.backward()
            self.against.step()
        self.step += 1
        return {"loss": loss.item(), **values}

    @torch.no_grad()
    def held_out(self, data: Examples, sheet: Path | None = None) -> float:
        """What pictures that were not trained on are told apart by: the first two losses alone, out
        of their alignment as in training, at the same places every time. sheet: a file for rows of
        what is seen, drawn and wanted."""
        total, rows = 0.0, []
        count = min(len(data), HELD_OUT)
        with self.judging():
            for index in range(count):
                generator = torch.Generator().manual_seed(index)
                shown = self.shown(data.take([index]), generator, whole=True)
                placed = unaligned(1, generator) if self.task.moved else still(1)
                seen = placed(shown.seen, labels=self.name == "mask")
                wanted = placed(shown.wanted)
                got, _ = self.drawn(shown, seen)
                found = self.compared(got, wanted, placed)
                total += sum(found[n].item() for n in ("l2", "perceptual") if n in found)
                if index < SHOWN:
                    rows.append([as_picture(seen, got.shape[-1]), got[0], wanted[0]])
        if sheet is not None:
            picture = torch.cat([torch.cat(row, 2) for row in zip(*rows, strict=True)], 1)
            levels = (picture.cpu().clamp(-1, 1) * 127.5 + 127.5).round().byte()
            write_png(sheet, levels.movedim(0, -1).numpy())
        return total / count

    def begun_vector(self, data: Examples) -> Tensor:
        """The editing vector [1, L, W]; what a network without styles goes along are ones."""
        c = self.network.config
        if not c.styled:
            return torch.ones(1, c.generator.num_ws, c.w_dim)
        with self.judging():
            return vector_of(self.network, data, self.config, 256)

    def judging(self) -> "_Judging":
        return _Judging(self.network)

    # ---- state

    def save(self, path: Path) -> None:
        tensors = prefixed("network", self.network.state_dict())
        tensors |= prefixed("optimiser", state_tensors(self.optimiser))
        if self.discriminator is not None:
            tensors |= prefixed("discriminator", self.discriminator.state_dict())
            tensors |= prefixed("against", state_tensors(self.against))
        if self.editing is not None:
            tensors["editing"] = self.editing
        meta = {"step": self.step, "seconds": self.seconds, "steps": self.steps}
        save_state(path, tensors, meta)

    def load(self, path: Path) -> bool:
        loaded = load_state(path)
        if loaded is None:
            return False
        tensors, meta = loaded
        self.network.load_state_dict(strip("network", tensors))
        load_state_tensors(self.optimiser, strip("optimiser", tensors))
        if self.discriminator is not None:
            self.discriminator.load_state_dict(strip("discriminator", tensors))
            load_state_tensors(self.against, strip("against", tensors))
        if "editing" in tensors:
            self.editing = tensors["editing"].to(self.device)
        self.step, self.seconds = meta["step"], meta["seconds"]
        return True


class _Judging:
    """A network as it is used: with the statistics of its training, or, of labels, with those of
    the picture itself, of which nothing is kept."""

    def __init__(self, network: StyleGANEX):
        self.network = network
        self.momenta: dict[nn.BatchNorm2d, float | None] = {}

    def __enter__(self) -> None:
        self.network.eval()
        if self.network.config.label_channels:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    self.momenta[module], module.momentum = module.momentum, 0.0
                    module.train()

    def __exit__(self, *_: object) -> None:
        for module, momentum in self.momenta.items():
            module.momentum = momentum


def fill(network: StyleGANEX, start: StyleGANEX) -> None:
    """The weights of another one. What that has not, because it is of another task, begins anew:
    fusions, and the layers that labels go through."""
    own, given = network.state_dict(), start.state_dict()
    fresh = {n for n in own if n.startswith(("fusions.", "encoder.label_stem."))}
    same = {n: t for n, t in given.items() if n in own and t.shape == own[n].shape}
    lacking = own.keys() - same.keys() - fresh
    assert not lacking, f"a network without {sorted(lacking)[:3]}"
    network.load_state_dict(same, strict=False)


@torch.no_grad()
def begin_with_nothing(network: StyleGANEX) -> None:
    """Nothing is drawn, so that a residual network gives the picture itself; but what the encoder
    adds to features is of its usual size, as there is no generator that it could disturb."""
    for block in network.synthesis.blocks:
        block.torgb.weight.zero_()
    for fusion in network.fusions:
        assert isinstance(fusion, SkipFusion)
        fusion.feature.weight[:, fusion.feature.out_channels :] /= NEARLY_NOTHING
        if fusion.rgb is not None:
            assert fusion.rgb.bias is not None
            fusion.rgb.weight[:, RGB:] = 0
            fusion.rgb.bias.zero_()


@torch.no_grad()
def vector_of(network: StyleGANEX, data: Examples, config: TrainingConfig, count: int) -> Tensor:
    """The editing vector v [1, L, W]: what pairs differ by in their codes for a whole edit, by
    least squares over pairs with edits of different amounts."""
    total, weight = torch.zeros(()), 0.0
    for index in range(min(count, len(data))):
        sample = data.take([index])
        amount = float(sample["amount"][0])
        if amount == 0:
            continue
        pair = torch.cat([to_images(sample[n], network.w_avg.device) for n in ("image", "target")])
        before, after = network.encode_style(middle(resized(pair, config.side))).cpu()
        total, weight = total + amount * (after - before), weight + amount**2
    assert weight > 0, "no pair differs"
    return (total / weight)[None]


def state_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def asked_steps(folder: Path, name: str) -> int | None:
    """How many steps a task whose state lies in a folder was last asked for, if any does."""
    meta = load_meta(state_path(folder, name))
    return None if meta is None else meta.get("steps")


def train(
    training: Training,
    data: Examples,
    held_out: Examples,
    folder: Path,
    *,
    seed: int,
) -> StyleGANEX:
    """Train (or go on training) a task. Its state, curves (NAME.csv) and sheets (NAME_STEP.png) lie
    in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    name, config = training.name, training.config
    state = state_path(folder, name)
    if not training.load(state) and name == "edit":
        training.editing = training.begun_vector(data).to(training.device)
    table = Table(folder / f"{name}.csv", COLUMNS, training.step)
    bar = tqdm(total=training.steps, initial=training.step, desc=name, unit="step", disable=None)
    saved = began = time.monotonic()

    def look() -> None:
        sheet = folder / f"{name}_{training.step:06d}.png"
        value = training.held_out(held_out, sheet)
        table.add(training.step, seconds=training.seconds, held_out=value)
        bar.set_postfix(held_out=f"{value:.4f}", refresh=False)

    if training.step == 0:
        look()
    while training.step < training.steps:
        values = training.take_step(data, seed)
        now = time.monotonic()
        training.seconds, began = training.seconds + now - began, now
        table.add(training.step, seconds=training.seconds, **values)
        bar.update()
        last = training.step == training.steps
        if last or training.step % config.check_every == 0:
            look()
            began = time.monotonic()
        if last or now - saved > config.save_every_s:
            training.save(state)
            saved = time.monotonic()
    bar.close()
    return training.network.eval()

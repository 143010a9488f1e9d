"""Training of the face parser on rendered faces, disguised so that it also reads real ones."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vidhair.models.face_landmarks import FaceMesh, PersonSegmenter
from vidhair.models.face_parser import (
    UNKNOWN,
    FaceParser,
    FaceParserConfig,
    Label,
    face_oval_mask,
)
from vidhair.precision import resolve
from vidhair.training.dataset import RenderedFaces
from vidhair.training.optim import REPORT_EVERY, WEIGHT_DECAY, Average, constant_then_linear
from vidhair.training.state import Curves, load_state, prefixed, save_state, seed_everything, strip

GUIDE_SIZE = 256  # side at which MediaPipe sees a training picture


AVERAGE_HALF_LIFE = 200  # steps
CONSTANT = 0.4  # share of the steps at the full rate
STRAND_WEIGHT = 6  # makes pixels that are half hair count more than those that are all hair


@dataclass(frozen=True, kw_only=True)
class ParserTraining:
    parser: FaceParserConfig = field(default_factory=FaceParserConfig)
    steps: int = 4000
    batch: int = 16
    lr: float = 2e-3
    guide_dropout: float = 0.25
    save_every_s: float = 300


def add_guides(folder: Path, workers: int | None = None) -> None:
    """Write what MediaPipe sees in every shard beside it: `<shard>.guides`, uint8 [N, 2, S, S]."""
    shards = [p for p in sorted(folder.glob("*.safetensors")) if not _guide_path(p).exists()]
    count = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        list(tqdm(pool.map(_guide_job, shards), total=len(shards), desc="guides", unit="shard"))


def _guide_path(shard: Path) -> Path:
    return shard.with_suffix(".guides")


def _guide_job(shard: Path) -> None:
    mesh, person = FaceMesh(still=True, min_confidence=0.3), PersonSegmenter()
    images = load_file(shard)["image"].permute(0, 2, 3, 1).numpy()
    size = images.shape[1]
    guides = np.empty((len(images), 2, size, size), np.uint8)
    for index, image in enumerate(images):
        large = Image.fromarray(image).resize((GUIDE_SIZE, GUIDE_SIZE), Image.Resampling.BICUBIC)
        silhouette = Image.fromarray(np.uint8(person(np.asarray(large)) * 255))
        guides[index, 0] = np.asarray(silhouette.resize((size, size), Image.Resampling.BOX))
        faces = mesh(np.asarray(large))
        if len(faces):
            guides[index, 1] = face_oval_mask(faces[0] * size / GUIDE_SIZE, size, size) * 255
        else:
            guides[index, 1] = round(UNKNOWN * 255)
    temporary = _guide_path(shard).with_suffix(f".part{os.getpid()}")
    save_file({"guides": torch.from_numpy(guides)}, temporary)
    temporary.replace(_guide_path(shard))


class Disguise:
    """Random scenery and photography over a rendered face, so that only what is common to all
    pictures of people remains to be learned."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        result: Tensor = torch.rand(size, generator=self.generator) * (high - low) + low
        return result

    def chance(self, batch: int, probability: float) -> Tensor:
        return (self.uniform(batch, 1, 1, 1) < probability).float()

    def texture(self, batch: int, size: int, channels: int = 3) -> Tensor:
        """Noise of several scales and hard-edged blobs, 0 … 1, smooth or busy."""
        total = torch.zeros(batch, channels, size, size)
        for cells in (2, 4, 8, 16, 32, 64):
            noise = torch.rand(batch, channels, cells, cells, generator=self.generator) - 0.5
            weight = self.uniform(batch, 1, 1, 1) ** 2 * (4 / cells) ** 0.3
            total += F.interpolate(noise, size=(size, size), mode="bilinear") * weight
        edges = (total > self.uniform(batch, channels, 1, 1, low=-0.2, high=0.2)).float() - 0.5
        busy = self.chance(batch, 0.35) * self.uniform(batch, 1, 1, 1)
        color = self.uniform(batch, channels, 1, 1, low=0.05, high=0.95)
        contrast = self.uniform(batch, 1, 1, 1, low=0.1, high=1.0)
        return (color + contrast * (total + 0.6 * busy * edges)).clamp(0, 1)

    def __call__(
        self, image: Tensor, masks: Tensor, guides: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """image [B, 3, S, S], masks [B, 4, S, S] by Label, guides [B, 2, S, S], all 0 … 1."""
        batch, _, size, _ = image.shape
        background, skin, hair, clothes = masks.split(1, 1)

        # Exchange the background; what shines through soft edges is exchanged with it.
        scene = self.texture(batch, size)
        others = image[torch.randperm(batch, generator=self.generator)].flip(3)
        scene = torch.lerp(scene, F.avg_pool2d(others, 5, 1, 2), self.chance(batch, 0.25))
        sure = background**3
        old = F.avg_pool2d(image * sure, 9, 1, 4) / (F.avg_pool2d(sure, 9, 1, 4) + 1e-3)
        image = image + self.chance(batch, 0.85) * background * (scene - old)

        # Clothes of any pattern, at times in the color of the hair.
        cloth = self.texture(batch, size)
        tone = (image * hair).sum((2, 3), keepdim=True) / (hair.sum((2, 3), keepdim=True) + 1)
        cloth = torch.lerp(cloth, tone * (0.7 + 0.6 * cloth), self.chance(batch, 0.2))
        shading = image.mean(1, keepdim=True) / (
            (image * clothes).sum((1, 2, 3), keepdim=True)
            / (3 * clothes.sum((1, 2, 3), keepdim=True) + 1)
            + 0.05
        )
        dressed = (cloth * shading.clamp(0.3, 1.7)).clamp(0, 1)
        image = torch.lerp(image, dressed, clothes * self.chance(batch, 0.7))

        # Highlights and shadows in hair and on skin.
        streaks = 1 + (self.texture(batch, size) - 0.5) * self.uniform(batch, 1, 1, 1, high=0.8)
        image = image * torch.lerp(torch.ones_like(streaks), streaks, hair)
        sheen = 1 + (self.texture(batch, size) - 0.5) * self.uniform(batch, 1, 1, 1, high=0.35)
        image = image * torch.lerp(torch.ones_like(sheen), sheen, skin)
        return self.photograph(image.clamp(0, 1), masks, guides)

    def photograph(
        self, image: Tensor, masks: Tensor, guides: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Move, light, blur and degrade the whole picture."""
        batch, _, size, _ = image.shape
        angle = (self.uniform(batch) - 0.5) * 0.5
        scale = torch.exp((self.uniform(batch) - 0.5) * 0.5)
        mirror = torch.where(self.uniform(batch) < 0.5, -1.0, 1.0)
        c, s = angle.cos() * scale, angle.sin() * scale
        shift = (self.uniform(batch, 2) - 0.5) * 0.3
        theta = torch.stack([c * mirror, -s, shift[:, 0], s * mirror, c, shift[:, 1]], 1)
        grid = F.affine_grid(theta.view(-1, 2, 3), [batch, 1, size, size], align_corners=False)
        planes = torch.cat([image, masks, guides], 1)
        planes = F.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
        image, masks, guides = planes.split([3, masks.shape[1], guides.shape[1]], 1)

        gamma = torch.exp((self.uniform(batch, 1, 1, 1) - 0.5) * 1.0)
        image = image.clamp(1e-3, 1) ** gamma
        gain = self.uniform(batch, 3, 1, 1, low=0.82, high=1.18)
        image = image * gain * self.uniform(batch, 1, 1, 1, low=0.75, high=1.2)
        grey = image.mean(1, keepdim=True)
        image = torch.lerp(grey, image, self.uniform(batch, 1, 1, 1, low=0.4, high=1.3))
        field = (self.texture(batch, size, 1) - 0.5) * self.uniform(batch, 1, 1, 1, high=0.4)
        image = image * (1 + F.avg_pool2d(field, 15, 1, 7))
        soft = F.interpolate(F.avg_pool2d(image, 2), size=(size, size), mode="bilinear")
        image = torch.lerp(image, soft, self.chance(batch, 0.35))
        noise = torch.randn(image.shape, generator=self.generator)
        image = image + noise * self.uniform(batch, 1, 1, 1, high=0.04)
        return image.clamp(0, 1), masks, guides


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """target [B, L, H, W] sums to one; pixels that are partly hair count most."""
    hair = target[:, Label.HAIR]
    weight = 1 + hair + STRAND_WEIGHT * hair * (1 - hair)
    loss = -(target * logits.log_softmax(1)).sum(1)
    return (loss * weight).sum() / weight.sum()


def train_parser(
    data: RenderedFaces,
    held_out: RenderedFaces,
    config: ParserTraining,
    folder: Path,
    *,
    seed: int,
    device: str = "cpu",
) -> FaceParser:
    """Train (or go on training); the state and its curve lie in `folder`."""
    generator = seed_everything(seed)
    parser = FaceParser(config.parser)
    parser.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(parser.parameters(), lr=config.lr, weight_decay=WEIGHT_DECAY)
    average = Average(parser, half_life=AVERAGE_HALF_LIFE)
    state, step = folder / "parser.safetensors", 0
    loaded = load_state(state)
    if loaded is not None:
        tensors, meta = loaded
        parser.load_state_dict(strip("parser", tensors))
        average.values = {n: t.to(device) for n, t in strip("average", tensors).items()}
        step = meta["step"]
        average.steps = step
    generator.manual_seed(seed + step)
    disguise = Disguise(generator)
    curves = Curves(folder / "parser.jsonl", step)
    batches = data.batches(config.batch, generator)
    saved = time.monotonic()
    progress = tqdm(total=config.steps, initial=step, desc="parser", unit="step")
    dtype = resolve("auto", device, "train").dtype
    while step < config.steps:
        factor = constant_then_linear(step, config.steps, constant=CONSTANT)
        for group in optimiser.param_groups:
            group["lr"] = config.lr * factor
        image, masks, guides = disguise(*_unit(next(batches)))
        hidden = disguise.chance(2 * len(image), config.guide_dropout).view(-1, 2, 1, 1)
        guides = torch.lerp(guides, torch.full_like(guides, UNKNOWN), hidden)
        image, masks, guides = image.to(device), masks.to(device), guides.to(device)
        with torch.autocast(image.device.type, dtype, enabled=dtype != torch.float32):
            logits = parser(image * 2 - 1, guides)
        loss = soft_cross_entropy(logits.float(), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update(parser)
        step += 1
        progress.update()
        if step % REPORT_EVERY == 0:
            curves.add(step, loss=loss.item())
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if time.monotonic() - saved > config.save_every_s or step == config.steps:
            saved = time.monotonic()
            tensors = prefixed("parser", parser.state_dict()) | prefixed("average", average.values)
            save_state(state, tensors, {"step": step})
    parser.load_state_dict(average.values)
    curves.add(step, **evaluate_parser(parser, held_out, seed))
    return parser.eval()


def _unit(sample: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 arrays of a batch → image, four masks, guides in 0 … 1."""
    image, mask = sample["image"].float() / 255, sample["mask"].float() / 255
    background = (1 - mask.sum(1, keepdim=True)).clamp(0, 1)
    return image, torch.cat([background, mask], 1), sample["guides"].float() / 255


@torch.no_grad()
def evaluate_parser(parser: FaceParser, held_out: RenderedFaces, seed: int) -> dict[str, float]:
    """Intersection over union of hair and skin on disguised held-out faces."""
    parser.eval()
    device = next(parser.parameters()).device
    disguise = Disguise(torch.Generator().manual_seed(seed))
    overlap, total = torch.zeros(4), torch.zeros(4)
    for at in range(0, min(len(held_out), 384), 16):
        rows = {n: v[at : at + 16] for n, v in held_out.arrays.items()}
        image, masks, guides = disguise(*_unit(rows))
        logits = parser(image.to(device) * 2 - 1, guides.to(device)).cpu()
        got = F.one_hot(logits.argmax(1), 4).permute(0, 3, 1, 2)
        want = F.one_hot(masks.argmax(1), 4).permute(0, 3, 1, 2)
        overlap += (got & want).sum((0, 2, 3))
        total += (got | want).sum((0, 2, 3))
    iou = overlap / total
    return {
        "parser_iou_hair": float(iou[Label.HAIR]),
        "parser_iou_skin": float(iou[Label.SKIN]),
    }

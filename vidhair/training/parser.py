"""Training of the face parser on rendered people, disguised so that it also reads real ones."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig, Label
from vidhair.precision import resolve
from vidhair.training.disguise import Disguise
from vidhair.training.optim import REPORT_EVERY, WEIGHT_DECAY, Average, constant_then_linear
from vidhair.training.portraits import Portraits
from vidhair.training.state import Curves, load_state, prefixed, save_state, seed_everything, strip

AVERAGE_HALF_LIFE = 200  # steps
CONSTANT = 0.4  # share of the steps at the full rate
HAIR_WEIGHT = 1.5  # beyond that of other pixels: to an IoU, missing hair costs more than excess
STRAND_WEIGHT = 6  # makes pixels that are half hair count more than those that are all hair
HELD_OUT = 256  # portraits, at most, that the parser is measured on


@dataclass(frozen=True, kw_only=True)
class ParserTraining:
    """people: rendered; strands: share of them whose hair is strands. side: of the face crop, in
    pixels, as the parser will see it. size: of the pictures that it learns from; a multiple of its
    stride."""

    parser: FaceParserConfig = field(default_factory=FaceParserConfig)
    people: int = 4096
    strands: float = 0.5
    side: int = FaceParser.face_pixels
    size: int = 144
    steps: int = 4000
    batch: int = 16
    lr: float = 2e-3
    save_every_s: float = 300


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """target [B, L, H, W] sums to one; pixels that are partly hair count most."""
    hair = target[:, Label.HAIR]
    weight = 1 + HAIR_WEIGHT * hair + STRAND_WEIGHT * hair * (1 - hair)
    loss = -(target * logits.log_softmax(1)).sum(1)
    return (loss * weight).sum() / weight.sum()


def train_parser(
    data: Portraits,
    held_out: Portraits,
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
    curves = Curves(folder / "parser.jsonl", step)
    batches = _disguised(data, config, generator.manual_seed(seed + step))
    saved = time.monotonic()
    progress = tqdm(total=config.steps, initial=step, desc="parser", unit="step")
    dtype = resolve("auto", device, "train").dtype
    while step < config.steps:
        factor = constant_then_linear(step, config.steps, constant=CONSTANT)
        for group in optimiser.param_groups:
            group["lr"] = config.lr * factor
        image, masks, guides = (t.to(device) for t in next(batches))
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
    curves.add(step, **evaluate_parser(parser, held_out, config, seed))
    return parser.eval()


Batch = tuple[Tensor, Tensor, Tensor]


def _disguised(
    data: Portraits, config: ParserTraining, generator: torch.Generator
) -> Iterator[Batch]:
    """Endless batches; the next is made while one is learned from."""
    disguise = Disguise(generator)
    batches = data.batches(config.batch, generator)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(lambda: disguise(*_unit(next(batches)), config.size))
        while True:
            batch = ahead.result()
            ahead = pool.submit(lambda: disguise(*_unit(next(batches)), config.size))
            yield batch


def _unit(sample: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 arrays of a batch → image, planes and oval in 0 … 1."""
    image, planes, oval = (sample[n].float() / 255 for n in ("image", "planes", "oval"))
    return image, planes, oval


@torch.no_grad()
def evaluate_parser(
    parser: FaceParser, held_out: Portraits, config: ParserTraining, seed: int
) -> dict[str, float]:
    """Intersection over union of hair and skin on disguised held-out people."""
    parser.eval()
    device = next(parser.parameters()).device
    disguise = Disguise(torch.Generator().manual_seed(seed))
    overlap, total = torch.zeros(len(Label)), torch.zeros(len(Label))
    for at in range(0, min(len(held_out), HELD_OUT), config.batch):
        rows = {n: v[at : at + config.batch] for n, v in held_out.arrays.items()}
        image, masks, guides = disguise(*_unit(rows), config.size)
        logits = parser(image.to(device) * 2 - 1, guides.to(device)).cpu()
        got = F.one_hot(logits.argmax(1), len(Label)).permute(0, 3, 1, 2)
        want = F.one_hot(masks.argmax(1), len(Label)).permute(0, 3, 1, 2)
        overlap += (got & want).sum((0, 2, 3))
        total += (got | want).sum((0, 2, 3))
    iou = overlap / total.clamp_min(1)
    return {
        "parser_iou_hair": float(iou[Label.HAIR]),
        "parser_iou_skin": float(iou[Label.SKIN]),
    }

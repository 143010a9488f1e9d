"""Training of the bundled pack's encoder: known codes and reconstruction together."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from vidhair.losses import pyramid_l1
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.generators.stylegan3 import Generator
from vidhair.models.perceptual import PerceptualDistance
from vidhair.precision import resolve
from vidhair.training.dataset import RenderedFaces
from vidhair.training.disguise import Chance
from vidhair.training.generator import Standardiser, psnr, to_images
from vidhair.training.optim import REPORT_EVERY, WEIGHT_DECAY, Average, constant_then_linear
from vidhair.training.state import Curves, load_state, prefixed, save_state, seed_everything, strip

PYRAMID_WEIGHT = 0.5  # of the picture at coarser sizes, beside the plain difference
AVERAGE_HALF_LIFE = 200  # steps
CONSTANT = 0.4  # share of the steps at the full rate
# How crops of real faces differ from those of rendered ones.
SCALE_JITTER, ANGLE_JITTER, SHIFT_JITTER = 0.03, 0.03, 0.02  # share, radians, half sides


@dataclass(frozen=True, kw_only=True)
class EncoderTraining:
    """drawn: how many pictures of a batch are also rendered and compared."""

    encoder: SmallEncoderConfig = field(default_factory=SmallEncoderConfig)
    steps: int = 6000
    batch: int = 24
    drawn: int = 4
    lr: float = 1e-3
    offset_weight: float = 0.02
    picture_weight: float = 2.0
    perceptual_weight: float = 0.5
    save_every_s: float = 300


def photograph(image: Tensor, masks: Tensor, disguise: Chance) -> tuple[Tensor, Tensor]:
    """(what the encoder sees, what it should explain), both [B, 3, S, S] in 0 … 1.

    Both share scenery, light and small errors of alignment; only the first is noisy and soft.
    """
    batch, _, size, _ = image.shape
    background = masks[:, :1]
    scene = disguise.texture(batch, size)
    change = disguise.chance(batch, 0.3) * background
    image = torch.lerp(image, scene, change)
    jitter = disguise.uniform(batch, 4, low=-1, high=1)
    scale = 1 + SCALE_JITTER * jitter[:, 0]
    angle = ANGLE_JITTER * jitter[:, 1]
    c, s = angle.cos() * scale, angle.sin() * scale
    dx, dy = (SHIFT_JITTER * jitter[:, 2:]).unbind(1)
    theta = torch.stack([c, -s, dx, s, c, dy], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
    image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    gain = disguise.uniform(batch, 3, 1, 1, low=0.92, high=1.08)
    image = image.clamp(1e-3, 1) ** disguise.uniform(batch, 1, 1, 1, low=0.85, high=1.2) * gain
    clean = image.clamp(0, 1)
    soft = F.interpolate(F.avg_pool2d(clean, 2), size=(size, size), mode="bilinear")
    seen = torch.lerp(clean, soft, disguise.chance(batch, 0.3))
    noise = torch.randn(seen.shape, generator=disguise.generator)
    seen = seen + noise * disguise.uniform(batch, 1, 1, 1, high=0.03)
    return seen.clamp(0, 1), clean


@torch.no_grad()
def known_codes(generator: Generator, standardiser: Standardiser, data: RenderedFaces) -> Tensor:
    """The codes w [N, D] that draw these faces, on the CPU."""
    device = next(generator.parameters()).device
    return generator.mapping.w(standardiser(data.arrays["params"]).to(device)).cpu()


def train_encoder(
    data: RenderedFaces,
    held_out: RenderedFaces,
    generator: Generator,
    standardiser: Standardiser,
    config: EncoderTraining,
    folder: Path,
    *,
    distance: PerceptualDistance,
    seed: int,
    device: str = "cpu",
) -> SmallEncoder:
    """Train (or go on training) on aligned faces; the state and its curve lie in `folder`."""
    rng = seed_everything(seed)
    generator.requires_grad_(False).to(device)
    encoder = SmallEncoder(config.encoder)
    encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    codes = known_codes(generator, standardiser, data)
    held_out_codes = known_codes(generator, standardiser, held_out)
    data.arrays["w"] = codes
    encoder.w_mean.copy_(codes.mean(0))
    encoder.w_std.copy_(codes.std(0))
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=config.lr, weight_decay=WEIGHT_DECAY)
    average = Average(encoder, half_life=AVERAGE_HALF_LIFE)
    state, step = folder / "encoder.safetensors", 0
    loaded = load_state(state)
    if loaded is not None:
        tensors, meta = loaded
        encoder.load_state_dict(strip("encoder", tensors))
        average.values = {n: t.to(device) for n, t in strip("average", tensors).items()}
        step = meta["step"]
        average.steps = step
    rng.manual_seed(seed + step)
    disguise = Chance(rng)
    curves = Curves(folder / "encoder.jsonl", step)
    batches = data.batches(config.batch, rng)
    saved = time.monotonic()
    progress = tqdm(total=config.steps, initial=step, desc="encoder", unit="step")
    dtype = resolve("auto", device, "train").dtype
    while step < config.steps:
        factor = constant_then_linear(step, config.steps, constant=CONSTANT)
        for group in optimiser.param_groups:
            group["lr"] = config.lr * factor
        sample = next(batches)
        masks = sample["mask"].float() / 255
        masks = torch.cat([(1 - masks.sum(1, keepdim=True)).clamp(0, 1), masks], 1)
        seen, clean = photograph(sample["image"].float() / 255, masks, disguise)
        seen, clean = seen.to(device), clean.to(device)
        with torch.autocast(seen.device.type, dtype, enabled=dtype != torch.float32):
            code, offsets = encoder.split(seen * 2 - 1)
        code, offsets = code.float(), offsets.float()
        true = (sample["w"].to(device) - encoder.w_mean) / encoder.w_std
        code_loss = (code - true).square().mean()
        loss = code_loss + config.offset_weight * offsets.square().mean()
        drawn = encoder.w_mean + encoder.w_std * (code[:, None] + offsets)[: config.drawn]
        got = generator.synthesis(drawn, dtype=dtype)
        want = clean[: config.drawn] * 2 - 1
        picture = (got - want).abs().mean() + PYRAMID_WEIGHT * pyramid_l1(got, want)
        picture = picture + config.perceptual_weight * distance(got, want)
        loss = loss + config.picture_weight * picture
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update(encoder)
        step += 1
        progress.update()
        if step % REPORT_EVERY == 0:
            value = psnr(got.detach(), want)
            curves.add(step, code=code_loss.item(), picture=picture.item(), psnr=value)
            progress.set_postfix(code=f"{code_loss.item():.3f}", psnr=f"{value:.1f}", refresh=False)
        if time.monotonic() - saved > config.save_every_s or step == config.steps:
            saved = time.monotonic()
            tensors = prefixed("encoder", encoder.state_dict()) | prefixed(
                "average", average.values
            )
            save_state(state, tensors, {"step": step})
    encoder.load_state_dict(average.values)
    encoder.eval()
    curves.add(step, **evaluate_encoder(encoder, generator, held_out, held_out_codes))
    return encoder


@torch.no_grad()
def evaluate_encoder(
    encoder: SmallEncoder, generator: Generator, held_out: RenderedFaces, codes: Tensor
) -> dict[str, float]:
    """Code error in standard deviations and PSNR in dB of reconstructions of held-out faces."""
    values, errors = [], []
    device = next(encoder.parameters()).device
    for at in range(0, min(len(held_out), 192), 16):
        image = to_images(held_out.arrays["image"][at : at + 16], device)
        ws = encoder(image)
        values.append(psnr(generator.synthesis(ws), image))
        error = (ws.mean(1) - codes[at : at + 16].to(device)) / encoder.w_std
        errors.append(float(error.square().mean()))
    n = len(values)
    return {
        "encoder_held_out_psnr_db": sum(values) / n,
        "encoder_held_out_code_error": (sum(errors) / n) ** 0.5,
    }

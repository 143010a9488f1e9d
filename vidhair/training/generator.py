"""Distilling the rendered-face world into a StyleGAN3 generator: parameters → w → picture."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from vidhair.geometry import Similarity
from vidhair.losses import gradient_l1, pyramid_l1, weighted_l1
from vidhair.models.generators.stylegan3 import (
    MARGIN,
    OUTPUT_SCALE,
    Extent,
    Generator,
    LayerGeometry,
    StyleGAN3Config,
    Synthesis,
    SynthesisLayer,
)
from vidhair.models.perceptual import PerceptualDistance
from vidhair.precision import resolve
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.render import landmarks, true_crop
from vidhair.training.dataset import RenderedFaces
from vidhair.training.optim import REPORT_EVERY, Average, Optimisers, constant_then_linear
from vidhair.training.state import Curves, load_state, prefixed, save_state, seed_everything, strip

# Of the loss, beside the plain difference: the picture at coarser sizes, and its edges.
PYRAMID_WEIGHT, GRADIENT_WEIGHT = 0.5, 0.5
AVERAGE_HALF_LIFE = 50  # steps
MAGNITUDE_BETA = 0.995  # of a layer's mean square; StyleGAN3's 0.999 is for far longer trainings
# Deviations of what counts more around each eye and the mouth, in crop sides; they are flat.
FEATURE_WIDTHS, FEATURE_FLATNESS = (0.07, 0.07, 0.09), 1.3
FEATURE_WEIGHT = 4.0  # there, beside 1


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """phases: (sampling rate of the picture that is compared, steps, batch)."""

    generator: StyleGAN3Config
    phases: tuple[tuple[int, int, int], ...]
    lr: float = 8e-3
    adam_lr: float = 5e-3
    perceptual_from: float = 0.75  # share of the steps after which features are compared too
    perceptual_weight: float = 0.5
    save_every_s: float = 300

    @property
    def steps(self) -> int:
        return sum(steps for _, steps, _ in self.phases)

    def phase(self, step: int) -> tuple[int, int]:
        """(rate, batch) of a step."""
        for rate, steps, batch in self.phases:
            if step < steps:
                return rate, batch
            step -= steps
        return self.phases[-1][0], self.phases[-1][2]


class Standardiser(nn.Module):
    """Parameters [B, P] ↔ z [B, Z]: zero mean, unit variance, then constant columns.

    The mapping network normalises z, which loses its length; the constants keep it readable.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, columns: int, z_dim: int):
        super().__init__()
        assert z_dim > columns, f"{z_dim=} leaves no constant beside {columns} parameters"
        self.constants = z_dim - columns
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    def fit(self, params: Tensor) -> None:
        self.mean.copy_(params.mean(0))
        self.std.copy_(params.std(0).clamp_min(1e-3))

    def forward(self, params: Tensor) -> Tensor:
        z = (params - self.mean) / self.std
        return torch.cat([z, z.new_ones(len(z), self.constants)], dim=1)


class SmallPictures(nn.Module):
    """ToRGB layers for the intermediate sampling rates; they serve training only."""

    def __init__(self, synthesis: Synthesis, rates: list[int]):
        super().__init__()
        self.last: dict[int, int] = {}
        self.layers: dict[str, SynthesisLayer] = nn.ModuleDict()  # type: ignore[assignment]
        for rate in rates:
            index = max(i for i, g in enumerate(synthesis.geometries) if g.result.rate == rate)
            g = synthesis.geometries[index]
            self.last[rate] = index
            geometry = LayerGeometry(
                source=g.result,
                result=replace(g.result, channels=3),
                is_torgb=True,
                kernel=1,
                radial=False,
            )
            self.layers[str(rate)] = SynthesisLayer(geometry, synthesis.config.w_dim)

    def forward(
        self, synthesis: Synthesis, ws: Tensor, transform: Tensor, rate: int, dtype: torch.dtype
    ) -> Tensor:
        """The picture [B, 3, rate, rate] that the layers up to this rate can draw."""
        styles = synthesis.styles(ws)
        x = synthesis.input(styles[0], transform, Extent()).to(dtype)
        last = self.last[rate]
        for layer, style in zip(synthesis.layers[: last + 1], styles[1:], strict=False):
            x = layer(x, style)
        head = self.layers[str(rate)]
        x = head(x, head.style(ws[:, last + 2])).float() * OUTPUT_SCALE
        picture: Tensor = x[:, :, MARGIN : MARGIN + rate, MARGIN : MARGIN + rate]
        return picture


def transform_matrices(columns: Tensor) -> Tensor:
    """[N, 4] (angle, tx, ty, scale) → [N, 3, 3] float32, as `Synthesis` takes them."""
    matrices = Similarity(*columns.double().numpy().T).matrices()
    result: Tensor = torch.linalg.inv(torch.from_numpy(matrices)).float()
    return result


def picture_landmarks(params: Tensor, transform: Tensor) -> Tensor:
    """[N, K, 2] landmarks in units of the picture's side, 0 … 1 inside it."""
    found = []
    for rows, columns in zip(params.split(512), transform.split(512), strict=True):
        points = landmarks(FaceParams.unpack(rows))
        axes = true_crop(points)
        crop = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).double().repeat(len(rows), 1, 1)
        crop[:, :2, 0], crop[:, :2, 1] = torch.tensor(2 * axes.x), torch.tensor(2 * axes.y)
        crop[:, :2, 2] = torch.tensor(axes.centre)
        placed = transform_matrices(columns).double().inverse() @ crop.inverse()
        homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=2)
        found.append(torch.einsum("bij,bkj->bki", placed, homogeneous)[..., :2] + 0.5)
    return torch.cat(found).float()


def feature_weight(points: Tensor, scale: Tensor, size: int) -> Tensor:
    """[B, 1, S, S]: FEATURE_WEIGHT at eyes and mouth, falling to one.

    points: from `picture_landmarks`.
    """
    grid = (torch.arange(size, device=points.device) + 0.5) / size
    eyes, mouth = points[:, :2], points[:, 2:4].mean(1, keepdim=True)
    spots = torch.cat([eyes, mouth], 1)
    width = torch.tensor(FEATURE_WIDTHS, device=points.device) * scale[:, None]
    dx = (grid - spots[..., :1]) / width[..., None]
    dy = (grid - spots[..., 1:]) / width[..., None] * FEATURE_FLATNESS
    bump = torch.exp(-0.5 * (dx[:, :, None, :] ** 2 + dy[:, :, :, None] ** 2)).amax(1, keepdim=True)
    return 1 + (FEATURE_WEIGHT - 1) * bump


def psnr(got: Tensor, want: Tensor) -> float:
    """Decibels for images in −1 … 1, averaged over the batch."""
    error = (got - want).square().mean([1, 2, 3])
    return float((10 * torch.log10(4 / error)).mean())


def to_images(x: Tensor, device: str | torch.device) -> Tensor:
    """uint8 → −1 … 1."""
    return x.to(device).float() / 127.5 - 1


class Distillation:
    """One run: generator, standardiser, training-only heads, optimisers, averages."""

    def __init__(self, config: DistillConfig, columns: int, device: str = "cpu"):
        self.config, self.device = config, device
        self.generator = Generator(config.generator).to(device)
        # The user's transform alone places the face; the learned one stays the identity.
        self.generator.synthesis.input.affine.requires_grad_(False)
        self.standardiser = Standardiser(columns, config.generator.z_dim).to(device)
        rates = [r for r, _, _ in config.phases if r < config.generator.resolution]
        self.heads = SmallPictures(self.generator.synthesis, rates).to(device)
        modules = {"generator": self.generator, "heads": self.heads}
        named = [(f"{k}.{n}", p) for k, m in modules.items() for n, p in m.named_parameters()]
        self.optimisers = Optimisers(named, lr=config.lr, adam_lr=config.adam_lr)
        self.average = Average(self.generator, half_life=AVERAGE_HALF_LIFE)
        self.step, self.seconds = 0, 0.0
        for layer in [*self.generator.synthesis.layers, *self.heads.layers.values()]:
            layer.magnitude_beta = MAGNITUDE_BETA

    def predict(self, params: Tensor, transform: Tensor, rate: int, dtype: torch.dtype) -> Tensor:
        ws = self.generator.mapping(self.standardiser(params))
        if rate == self.config.generator.resolution:
            picture: Tensor = self.generator.synthesis(ws, transform=transform, dtype=dtype)
        else:
            picture = self.heads(self.generator.synthesis, ws, transform, rate, dtype)
        return picture

    def save(self, path: Path) -> None:
        tensors = prefixed("generator", self.generator.state_dict())
        tensors |= prefixed("heads", self.heads.state_dict())
        tensors |= prefixed("standardiser", self.standardiser.state_dict())
        tensors |= prefixed("average", self.average.values)
        tensors |= prefixed("optimiser", self.optimisers.tensors())
        meta = {"step": self.step, "seconds": self.seconds, "average": self.average.steps}
        save_state(path, tensors, meta)

    def load(self, path: Path) -> bool:
        loaded = load_state(path)
        if loaded is None:
            return False
        tensors, meta = loaded
        self.generator.load_state_dict(strip("generator", tensors))
        self.heads.load_state_dict(strip("heads", tensors))
        self.standardiser.load_state_dict(strip("standardiser", tensors))
        self.average.values = {n: t.to(self.device) for n, t in strip("average", tensors).items()}
        self.average.steps = meta["average"]
        self.optimisers.load_tensors(strip("optimiser", tensors))
        self.step, self.seconds = meta["step"], meta["seconds"]
        return True


def distill(
    data: RenderedFaces,
    held_out: RenderedFaces,
    config: DistillConfig,
    folder: Path,
    *,
    seed: int,
    device: str = "cpu",
    distance: PerceptualDistance | None = None,
) -> Distillation:
    """Train (or go on training) a generator; the state and its curve lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = seed_everything(seed)
    run = Distillation(config, data.arrays["params"].shape[1], device)
    run.standardiser.fit(data.arrays["params"])
    state = folder / "generator.safetensors"
    run.load(state)
    generator.manual_seed(seed + run.step)
    curves = Curves(folder / "generator.jsonl", run.step)
    for faces in (data, held_out):
        arrays = faces.arrays
        arrays["points"] = picture_landmarks(arrays["params"], arrays["transform"])
        arrays["matrix"] = transform_matrices(arrays["transform"])
    dtype = resolve("auto", device, "train").dtype

    progress = tqdm(total=config.steps, initial=run.step, desc="generator", unit="step")
    saved, began, batches, previous = time.monotonic(), time.monotonic(), None, 0
    while run.step < config.steps:
        rate, batch = config.phase(run.step)
        if batches is None or batch != previous:
            batches, previous = data.batches(batch, generator), batch
        sample = next(batches)
        want = to_images(sample["image"], device)
        if rate < want.shape[-1]:
            want = F.interpolate(want, size=(rate, rate), mode="area")
        scale = sample["transform"][:, 3].to(device)
        weight = feature_weight(sample["points"].to(device), scale, rate)
        got = run.predict(sample["params"].to(device), sample["matrix"].to(device), rate, dtype)
        loss = weighted_l1(got, want, weight) + PYRAMID_WEIGHT * pyramid_l1(got, want)
        loss = loss + GRADIENT_WEIGHT * gradient_l1(got, want)
        late = run.step >= config.perceptual_from * config.steps
        if distance is not None and late and rate == config.generator.resolution:
            loss = loss + config.perceptual_weight * distance(got, want)
        run.optimisers.set_factor(constant_then_linear(run.step, config.steps))
        run.optimisers.zero_grad()
        loss.backward()
        run.optimisers.step()
        run.average.update(run.generator)
        run.step += 1
        progress.update()
        if run.step % REPORT_EVERY == 0:
            now = time.monotonic()
            run.seconds, began = run.seconds + now - began, now
            value = psnr(got.detach(), want)
            curves.add(run.step, loss=loss.item(), psnr=value, rate=rate, seconds=run.seconds)
            progress.set_postfix(psnr=f"{value:.1f}", rate=rate, refresh=False)
        if time.monotonic() - saved > config.save_every_s or run.step == config.steps:
            run.save(state)
            saved = time.monotonic()
            if rate == config.generator.resolution:
                curves.add(run.step, held_out_psnr=evaluate(run, held_out))
    return run


@torch.no_grad()
def evaluate(run: Distillation, held_out: RenderedFaces, count: int = 192) -> float:
    """PSNR in dB of the averaged weights on faces that were not trained on."""
    kept = {n: v.clone() for n, v in run.generator.state_dict().items()}
    run.generator.load_state_dict(run.average.values)
    betas = [layer.magnitude_beta for layer in run.generator.synthesis.layers]
    for layer in run.generator.synthesis.layers:
        layer.magnitude_beta = None
    dtype, values = resolve("auto", run.device, "train").dtype, []
    arrays = {n: v[:count] for n, v in held_out.arrays.items()}
    matrices = transform_matrices(arrays["transform"])
    for at in range(0, len(arrays["params"]), 16):
        rows = slice(at, at + 16)
        got = run.predict(
            arrays["params"][rows].to(run.device),
            matrices[rows].to(run.device),
            run.config.generator.resolution,
            dtype,
        )
        values.append(psnr(got, to_images(arrays["image"][rows], run.device)))
    for layer, beta in zip(run.generator.synthesis.layers, betas, strict=True):
        layer.magnitude_beta = beta
    run.generator.load_state_dict(kept)
    return sum(values) / len(values)

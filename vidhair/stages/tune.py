"""Pivotal tuning: the generator learns this one person (Roich et al. 2022), once per clip."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.warp import cut_grid, to_unit
from vidhair.models.generators.aligned import MovableGenerator, MovableSynthesis
from vidhair.models.generators.cuda_graph import with_gradients
from vidhair.models.perceptual import CHOICES, Perceptual, PerceptualDistance
from vidhair.precision import WITHOUT_FLOAT16, resolve
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.labels import Labels
from vidhair.stages.region import HeadRegion, on_canvas, own_share
from vidhair.stages.render import Canvas, Codes, Drawer, canvas_coverage, input_transforms
from vidhair.stages.smooth import Pivots
from vidhair.types import Frames
from vidhair.wiring import Meter, Series, Value, ranges, stage

Progress = Callable[[int, int, float], None]

# Of Adam: gradients of a few hundred steps on few frames; torch's 0.999 would still be warming up.
BETAS = (0.9, 0.99)
OFFSET_RATE = 0.03  # step length of the offset, in units of the codes
OFFSET_DECAY = 0.02  # weight of the offset's mean square, so that it explains no more than it must
LEAST_WEIGHT = 1e-3  # root mean square by which steps are scaled where a weight is smaller: zeros
LOCALITY_EVERY = 4  # steps; the term costs as much as a step, and changes slowly
LOCALITY_DISTANCE = 0.5  # of the other codes, in distances of the clip's from the average code
COOLING = 0.3  # share of the steps, the last ones, over which step lengths fall to zero
LOSS_MEMORY = 0.95  # of the smoothed loss, about 20 steps, which must be over before it may stop
FIRST_STOP = 20
AROUND_HEAD = 0.1  # weight of pixels that are not the head's, beside 1: they keep its place


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    steps: int = setting(80, "steps of tuning; 0 leaves the generator as it is", low=0, high=20000)
    refine_steps: int = setting(
        30, "steps that first fit one offset of the codes for the whole clip", low=0, high=2000
    )
    frames: int = setting(24, "frames to learn from, chosen to differ", low=1, high=2000)
    batch: int = setting(2, "frames per step", low=1, high=64)
    learning_rate: float = setting(
        0.003, "step length, relative to the size of each weight", low=1e-6, high=0.1
    )
    perceptual: str = setting(
        "auto",
        "what measures likeness: LPIPS, or features of the pack's parser; auto is LPIPS if its "
        "weights are here",
        choices=CHOICES,
        affects=False,  # the weights that it finds do
    )
    perceptual_weights: str = setting(
        "",
        "file of torchvision's AlexNet or VGG16 for LPIPS; empty looks for one",
        affects=False,
    )
    perceptual_weight: float = setting(1.0, "weight of that measure", low=0.0, high=100.0)
    locality_weight: float = setting(
        0.3, "how strongly other faces must stay as they were", low=0.0, high=100.0
    )
    stop_below: float = setting(
        0.02, "stop once the smoothed loss falls below this", low=0.0, high=10.0
    )
    precision: str = setting(
        "auto",
        "of the layers; auto is bfloat16 where the device multiplies it natively, else float32",
        choices=WITHOUT_FLOAT16,
    )
    seed: int = setting(0, "of the order of frames", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class Targets:
    """What the generator should draw, [N] frames.

    styles: [N, L, D]. transforms: [N, 3, 3]. pictures: [N, 3, h, w] of the canvas, −1 … 1.
    weight: [N, 1, h, w] in 0 … 1: how much each pixel counts.
    """

    styles: Tensor
    transforms: Tensor
    pictures: Tensor
    weight: Tensor


def choose_frames(
    codes: NDArray[np.float64], present: NDArray[np.bool_], count: int
) -> NDArray[np.intp]:
    """Up to `count` frames that differ most: each next one is farthest from those chosen.

    codes: [T, K]. Returns sorted indices of present frames, fewer where the others are the same.
    """
    candidates = np.flatnonzero(present)
    if len(candidates) <= count:
        return candidates
    values = codes[candidates]
    values = (values - values.mean(0)) / (values.std(0) + 1e-6)
    first = int(np.argmin(np.square(values).sum(1)))
    chosen = [first]
    distance = np.square(values - values[first]).sum(1)
    while len(chosen) < count:
        farthest = int(np.argmax(distance))
        if distance[farthest] <= 0:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.square(values - values[farthest]).sum(1))
    return np.sort(candidates[chosen])


def _loss(
    got: Tensor, targets: Targets, rows: Tensor, distance: PerceptualDistance, weight: float
) -> Tensor:
    want, mask = targets.pictures[rows], targets.weight[rows]
    squares = ((got - want).square() * mask).sum() / (3 * mask.sum() + 1e-6)
    # Outside the weight both pictures show the target, so that only the person is compared.
    inside = torch.lerp(want, got, mask)
    return squares + weight * distance(inside, want, mask)


def refine(
    synthesis: MovableSynthesis,
    targets: Targets,
    canvas: Canvas,
    distance: PerceptualDistance,
    config: TuneConfig,
    progress: Progress,
) -> Tensor:
    """One offset [L, D] that brings all codes nearer to the pictures."""
    generator = torch.Generator().manual_seed(config.seed)
    offset = torch.zeros_like(targets.styles[0], requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=OFFSET_RATE, betas=BETAS)
    dtype = resolve(config.precision, offset.device, "tune").dtype
    first = slice(config.batch)
    draw = with_gradients(
        synthesis, targets.styles[first] + offset, targets.transforms[first], canvas.extent, dtype
    )
    for step in range(config.refine_steps):
        rows = torch.randperm(len(targets.styles), generator=generator)[: config.batch]
        got = draw(targets.styles[rows] + offset, targets.transforms[rows])
        loss = _loss(got, targets, rows, distance, config.perceptual_weight)
        loss = loss + OFFSET_DECAY * offset.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress(step + 1, config.refine_steps, loss.item())
    return offset.detach()


def tune(
    generator: MovableGenerator,
    targets: Targets,
    canvas: Canvas,
    distance: PerceptualDistance,
    config: TuneConfig,
    progress: Progress,
) -> dict[str, Tensor]:
    """Fine-tune all layers but the Fourier input; returns the weights that changed.

    Loss: L2 + perceptual distance on the targets, and L2 to the untouched generator on other codes
    (locality regularisation, Roich et al. 2022, eq. 4).
    """
    before = generator.synthesis
    synthesis = deepcopy(before).requires_grad_(False)
    groups = []
    for layer in synthesis.tunable():
        for p in layer.requires_grad_(True).parameters():
            size = float(p.detach().square().mean().sqrt()) + LEAST_WEIGHT
            groups.append({"params": [p], "lr": config.learning_rate * size, "size": size})
    optimiser = torch.optim.Adam(groups, betas=BETAS)
    dtype = resolve(config.precision, targets.styles.device, "tune").dtype
    rng = torch.Generator().manual_seed(config.seed)
    smoothed, order = None, torch.empty(0, dtype=torch.long)
    first = slice(config.batch)
    draw = with_gradients(
        synthesis, targets.styles[first], targets.transforms[first], canvas.extent, dtype
    )
    for step in range(config.steps):
        if len(order) < config.batch:
            order = torch.cat([order, torch.randperm(len(targets.styles), generator=rng)])
        rows, order = order[: config.batch], order[config.batch :]
        got = draw(targets.styles[rows], targets.transforms[rows])
        loss = _loss(got, targets, rows, distance, config.perceptual_weight)
        value = loss.item()
        if config.locality_weight and step % LOCALITY_EVERY == 0:
            loss = loss + config.locality_weight * _locality(
                generator, before, synthesis, targets.styles[rows], rng, dtype
            )
        optimiser.zero_grad()
        loss.backward()
        fade = min(1.0, (config.steps - step) / (COOLING * config.steps))
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * group["size"] * fade
        optimiser.step()
        smoothed = value if smoothed is None else LOSS_MEMORY * smoothed + (1 - LOSS_MEMORY) * value
        progress(step + 1, config.steps, smoothed)
        if smoothed < config.stop_below and step > FIRST_STOP:
            break
    return {n: p.detach() for n, p in synthesis.named_parameters() if p.requires_grad}


def _locality(
    generator: MovableGenerator,
    before: MovableSynthesis,
    after: MovableSynthesis,
    styles: Tensor,
    rng: torch.Generator,
    dtype: torch.dtype,
) -> Tensor:
    """Distance between old and new generator on codes part of the way to random ones."""
    z = torch.randn(1, generator.config.z_dim, generator=rng).to(styles.device)
    with torch.no_grad():
        step = generator.mapping(z) - styles[:1]
        # Every code as far as the clip's codes usually lie from the average one.
        length = step.norm(dim=2, keepdim=True).clamp_min(1e-6)
        unusual = styles[:1].sub(generator.mapping.w_avg).norm(dim=2, keepdim=True)
        alpha = LOCALITY_DISTANCE * unusual.square().mean().sqrt()
        other = styles[:1] + step / length * torch.minimum(length, alpha + 1e-6)
        want = before(other, dtype=dtype)
    distance: Tensor = (after(other, dtype=dtype) - want).square().mean()
    return distance


def with_weights(generator: MovableGenerator, weights: dict[str, Tensor]) -> MovableSynthesis:
    """A copy of the generator's synthesis with tuned weights."""
    synthesis = deepcopy(generator.synthesis)
    state = synthesis.state_dict() | weights
    synthesis.load_state_dict(state)
    return synthesis.eval().requires_grad_(False)


# ---- stages


@dataclass(frozen=True)
class Tuned(Value):
    """What the generator has learned. offset: [L, D], of all codes. weights: by parameter."""

    offset: NDArray[np.float32]
    weights: Mapping[str, NDArray[np.float32]]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {**self.weights, "offset": self.offset}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        weights = dict(arrays)
        return cls(weights.pop("offset"), weights)


def traits(pivots: Pivots) -> NDArray[np.float64]:
    """By what frames differ that are chosen among, [T, K]."""
    similarity = pivots.similarity
    return np.column_stack([pivots.styles.mean(1), similarity.angle_deg, similarity.scale])


@stage(version=3, steps=lambda config: config.refine_steps + config.steps)
def tuned(
    frames: Series[Frames],
    pivots: Series[Pivots],
    labels: Series[Labels],
    track: Series[FaceTrack],
    canvas: Canvas,
    region: HeadRegion,
    generator: MovableGenerator,
    perceptual: Perceptual,
    config: TuneConfig,
    meter: Meter,
) -> Tuned:
    """Learned from frames that differ in their codes, their angle and their size."""
    device = next(generator.synthesis.parameters()).device
    looks = np.concatenate([traits(pivots.rows(*some)) for some in ranges(pivots.count)])
    chosen = choose_frames(looks, track.field("present"), config.frames)
    seen = [pivots.rows(frame, frame + 1) for frame in (int(f) for f in chosen)]
    pictures, weights = [], []
    for frame in (int(f) for f in chosen):
        unit = to_unit(frames.rows(frame, frame + 1).pixels, device)
        pictures.append(cut_grid(unit, canvas.grid))
        planes = labels.rows(frame, frame + 1).planes
        head = torch.from_numpy(planes[:, 1:3]).float().sum(1, keepdim=True) / 255
        own = own_share(track.rows(frame, frame + 1), range(1), canvas.grid)
        weights.append(on_canvas(head.clamp(0, 1), region, canvas) * own)
    transforms = torch.cat([input_transforms(one.similarity, device) for one in seen])
    weight = AROUND_HEAD + (1 - AROUND_HEAD) * torch.cat(weights).to(device)
    targets = Targets(
        torch.from_numpy(np.concatenate([one.styles for one in seen])).to(device),
        transforms,
        torch.cat(pictures),
        weight * canvas_coverage(generator.synthesis, transforms, canvas),
    )
    distance = perceptual.build()
    meter(0)
    offset = refine(
        generator.synthesis, targets, canvas, distance, config,
        lambda step, _, loss: meter(step, f"loss {loss:.3f}"),
    )  # fmt: skip
    moved = Targets(targets.styles + offset, transforms, targets.pictures, targets.weight)
    learned = tune(
        generator, moved, canvas, distance, config,
        lambda step, _, loss: meter(config.refine_steps + step, f"loss {loss:.3f}"),
    )  # fmt: skip
    return Tuned(offset.cpu().numpy(), {name: v.cpu().numpy() for name, v in learned.items()})


@stage(keep=False)
def fine_tuned(tuned: Tuned, generator: MovableGenerator) -> Drawer:
    """The generator with what it has learned."""
    device = next(generator.synthesis.parameters()).device
    weights = {name: torch.from_numpy(values) for name, values in tuned.weights.items()}
    return Drawer(with_weights(generator, weights).to(device))


@stage(keep=False)
def untuned(generator: MovableGenerator) -> Drawer:
    """The generator of the pack."""
    return Drawer(with_weights(generator, {}))


@stage(keep=False)
def offset_pivots(pivots: Pivots, tuned: Tuned) -> Codes:
    """With the offset that tuning has found."""
    return Codes(pivots.styles + tuned.offset)


@stage(keep=False)
def plain_pivots(pivots: Pivots) -> Codes:
    return Codes(pivots.styles)

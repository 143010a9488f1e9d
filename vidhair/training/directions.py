"""Directions in W, and channels of S, that change what codes are labelled or scored by.

N codes [D] of W, C channels of S.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from scipy.optimize import minimize
from torch import Tensor

from vidhair.checkpoints.directions import (
    CHANNELS,
    DIRECTION,
    MOST_EFFECTS,
    read_directions,
)
from vidhair.edits.style_space import style_sizes
from vidhair.errors import InvalidSetting, NoFaceFound, os_errors
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.generators.sampling import style_statistics
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import Label
from vidhair.stages.render import styled
from vidhair.training.scores import (
    TRUNCATION,
    check_score,
    drawn_codes,
    known_scores,
    looks_of,
    scores_of,
)

Numbers = NDArray[np.float64]

FEWEST = 10  # codes of each side
HELD_OUT = 0.3  # of the codes, by which the accuracy is told
PENALTY = 1.0  # C of the support vector machine
SPREAD_SAMPLES = 4000
PUSH = 5.0  # standard deviations by which a channel is tried
SITTERS = 4  # people on whom channels are tried
TRIED = 4  # times as many channels as are asked for
REGION, LEAD = 0.5, 0.25  # StyleSpace's: share of the change in one region, and before the next


@dataclass(frozen=True)
class Boundary:
    """A hyperplane between codes. normal: [D], of unit length, towards more; offset: so that a code
    lies w·normal + offset beyond it. accuracy: share of held-out codes on their side; length: a
    standard deviation of the codes along the normal."""

    normal: Numbers
    offset: float
    accuracy: float
    length: float


def extremes(scores: Numbers, share: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which codes are compared, and which of them are the positive ones.

    Of two values all; of more the lowest and the highest `share`. Those of NaN are left out.
    Raises InvalidSetting if there are too few.
    """
    known = np.flatnonzero(np.isfinite(scores))
    values = np.unique(scores[known])
    if len(values) == 2:
        return known, scores[known] == values[1]
    order = known[np.argsort(scores[known], kind="stable")]
    count = max(FEWEST, round(share * len(order)))
    low, high = order[:count], order[len(order) - count :]
    if len(order) < 2 * FEWEST or scores[low[-1]] >= scores[high[0]]:
        raise InvalidSetting(
            f"{len(order)} scores with {len(values)} different values tell no two sides apart; "
            "give more codes (--count), or another --by"
        )
    return np.concatenate([low, high]), np.repeat([False, True], count)


def separating(codes: Numbers, positive: NDArray[np.bool_]) -> tuple[Numbers, float]:
    """Normal [D] of unit length and offset of a linear support vector machine.

    Minimises ‖n‖²/2 + C·Σ max(0, 1 − y(n·x + b))² over codes that are moved to their mean and
    brought to a mean square of one: the squared hinge is smooth, so L-BFGS finds the one minimum.
    """
    mean, scale = codes.mean(0), float(np.sqrt(np.square(codes - codes.mean(0)).sum(1).mean()))
    x, y = (codes - mean) / scale, np.where(positive, 1.0, -1.0)

    def loss(values: Numbers) -> tuple[float, Numbers]:
        normal, offset = values[:-1], values[-1]
        short = np.maximum(0, 1 - y * (x @ normal + offset))
        pull = -2 * PENALTY * short * y
        value = normal @ normal / 2 + PENALTY * (short @ short)
        return float(value), np.append(normal + pull @ x, pull.sum())

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    length = float(np.linalg.norm(found[:-1]))
    normal = found[:-1] / length
    return normal, float(found[-1] * scale / length - mean @ normal)


def boundary_of(codes: Numbers, scores: Numbers, share: float, seed: int = 0) -> Boundary:
    """InterFaceGAN's (Shen et al. 2020, section 3.1): between the codes of low and high scores.

    Raises InvalidSetting as `extremes` does.
    """
    chosen, positive = extremes(scores, share)
    order = np.random.default_rng(seed).permutation(len(chosen))
    chosen, positive = chosen[order], positive[order]
    first = round(HELD_OUT * len(chosen))
    if len({*positive[first:]}) < 2:
        raise InvalidSetting("nearly all labels are the same; give codes of both kinds")
    normal, offset = separating(codes[chosen[first:]], positive[first:])
    right = (codes[chosen[:first]] @ normal + offset > 0) == positive[:first]
    return Boundary(normal, offset, float(right.mean()), float((codes @ normal).std()))


def without(normal: Numbers, others: Sequence[Numbers]) -> Numbers:
    """InterFaceGAN's conditional direction: a unit vector [D] that does not move along others.

    Raises InvalidSetting if nothing of it is left.
    """
    if not others:
        return normal
    basis, _ = np.linalg.qr(np.stack(others, 1))
    left = normal - basis @ (basis.T @ normal)
    length = float(np.linalg.norm(left))
    if length < 1e-3:
        raise InvalidSetting("--without takes away all of the direction; leave some of them out")
    unit: Numbers = left / length
    return unit


def read_labels(path: Path, column: str | None) -> Numbers:
    """[N] of a CSV file: its only column, or the named one. Raises InvalidSetting."""
    try:
        rows = [row for row in csv.reader(path.read_text().splitlines()) if row]
    except (OSError, ValueError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidSetting(f"--labels {path} cannot be read ({said}); name a CSV file") from error
    place = 0
    if rows and (column in rows[0] or not _is_number(rows[0][0])):
        if column is not None and column not in rows[0]:
            raise InvalidSetting(f"--labels {path} has no column {column!r}; it has {rows[0]}")
        place = 0 if column is None else rows[0].index(column)
        rows = rows[1:]
    values = [row[place] if place < len(row) else "" for row in rows]
    wrong = [value for value in values if value and not _is_number(value)]
    if wrong or not values:
        raise InvalidSetting(
            f"--labels {path} holds {wrong[0]!r} where a number belongs; leave it empty if unknown"
            if wrong
            else f"--labels {path} holds no labels; give a number per line"
        )
    return np.array([float(value) if value else np.nan for value in values])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Asked:
    """by: the name of a score, or of a column of labels. labels, codes: files of a number and of a
    code for each; count: codes that are drawn otherwise. share: of them on either side."""

    by: str | None = None
    labels: Path | None = None
    codes: Path | None = None
    count: int = 2000
    share: float = 0.1
    seed: int = 0


def labelled(
    pack: Pack, asked: Asked, progress: Callable[[int], None] = lambda done: None
) -> tuple[Tensor, Numbers]:
    """Codes [N, D] and what they are labelled with, [N]. Raises InvalidSetting or NoFaceFound."""
    if asked.labels is None:
        if asked.by is None:
            raise InvalidSetting(
                f"--by is not given; pack {pack.name!r} can tell {', '.join(known_scores(pack))}"
            )
        check_score(pack, asked.by)
    width = pack.generator.config.w_dim
    if asked.codes is not None:
        codes = read_directions(asked.codes, MOST_EFFECTS)
        if codes.shape[1] != width:
            raise InvalidSetting(
                f"--codes {asked.codes} has rows of {codes.shape[1]} numbers, and the codes of "
                f"pack {pack.name!r} have {width}; give codes of its W space"
            )
    elif asked.labels is not None:
        raise InvalidSetting("--labels needs --codes, the codes that they are of")
    else:
        codes = drawn_codes(pack, asked.count, asked.seed)
    if asked.labels is None:
        assert asked.by is not None
        return codes, scores_of(pack, codes, asked.by, progress)
    labels = read_labels(asked.labels, asked.by)
    if len(labels) != len(codes):
        raise InvalidSetting(
            f"--labels {asked.labels} has {len(labels)} labels for {len(codes)} codes; give as many"
        )
    return codes, labels


def train_direction(
    pack: Pack,
    asked: Asked,
    others: Sequence[Path],
    target: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Boundary:
    """Write a direction, which `edit.kind = "direction"` takes: "direction" [1, D], "offset" [1].

    others: directions along which it must not move. The accuracy is that before these are taken
    out.
    """
    width, apart = pack.generator.config.w_dim, []
    for path in others:
        rows = read_directions(path)
        if rows.shape != (1, width):
            raise InvalidSetting(
                f"--without {path} holds {len(rows)} rows of {rows.shape[1]} numbers; give one of "
                f"{width}"
            )
        apart.append(rows[0].double().numpy())
    codes, scores = labelled(pack, asked, progress)
    values = codes.double().numpy()
    found = boundary_of(values, scores, asked.share, asked.seed)
    normal = without(found.normal, apart)
    made = Boundary(normal, found.offset, found.accuracy, float((values @ normal).std()))
    tensors = {
        DIRECTION: torch.from_numpy(normal)[None].float(),
        "offset": torch.tensor([found.offset]),
    }
    _write(target, tensors, {"of": asked.by or "", "pack": pack.name})
    return made


# ---- channels of S


@dataclass(frozen=True)
class RankedChannel:
    """layer, channel: its place. relevance: how far the exemplars' mean lies from everybody's, in
    their own deviations; amount: in everybody's. region: where pictures change, and share: of their
    change; "" and NaN if that was not looked at."""

    layer: int
    channel: int
    relevance: float
    amount: float
    region: str = ""
    share: float = float("nan")


def ranking(exemplars: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """StyleSpace (Wu et al. 2021, section 5): of S [M, C] of faces that have it, against everybody.

    Returns the relevance [C], |mean| / deviation of the differences in everybody's deviations, and
    that mean. Channels that never change are irrelevant.
    """
    apart = (exemplars - mean) / deviation.clamp_min(1e-8)
    middle, spread = apart.mean(0), apart.std(0, correction=0)
    relevance = torch.where(deviation > 1e-8, middle.abs() / spread.clamp_min(1e-6), 0.0)
    return relevance, middle


@torch.inference_mode()
def styles_of(generator: MovableGenerator, codes: Tensor) -> Tensor:
    """Codes [N, D] of W → S [N, C], on the CPU."""
    device, count = generator.mapping.w_avg.device, generator.config.num_ws
    found = []
    for some in codes.split(256):
        ws = some.to(device)[:, None].expand(-1, count, -1)
        found.append(torch.cat(generator.synthesis.styles(ws), 1).cpu())
    return torch.cat(found)


def rank_channels(
    pack: Pack,
    asked: Asked,
    keep: int,
    region: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[RankedChannel]:
    """The channels of S that faces with most of a score share, the most relevant first.

    region: of the picture that a channel must change, and little else; as StyleSpace's local
    channels: more than half of the change, and a quarter more than any other region.
    """
    generator = pack.generator
    codes, scores = labelled(pack, asked, progress)
    chosen, positive = extremes(scores, asked.share)
    mean, deviation = style_statistics(generator, SPREAD_SAMPLES, TRUNCATION, None)
    styles = styles_of(generator, codes[torch.from_numpy(chosen[positive])])
    relevance, middle = ranking(styles, mean, deviation)
    sizes = style_sizes(generator)
    layers = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    first = torch.tensor([0, *sizes]).cumsum(0)
    ranked = []
    for place in relevance.argsort(descending=True)[: keep if region is None else TRIED * keep]:
        layer = int(layers[place])
        ranked.append(
            RankedChannel(
                layer, int(place - first[layer]), float(relevance[place]), float(middle[place])
            )
        )
    return ranked if region is None else local(pack, ranked, deviation, first, region)[:keep]


def local(
    pack: Pack,
    candidates: Sequence[RankedChannel],
    deviation: Tensor,
    first: Tensor,
    region: str,
) -> list[RankedChannel]:
    """Those candidates that change a region of the picture and little else, seen on a few people.

    deviation: [C]; first: where the channels of each layer begin. Every channel is tried alone: the
    others are as they were. Raises InvalidSetting or NoFaceFound.
    """
    names = [label.name.lower() for label in Label]
    if region not in names:
        raise InvalidSetting(f"--region {region!r} must be one of {', '.join(names)}")
    people = drawn_codes(pack, 3 * SITTERS, seed=1)
    looks = zip(people, looks_of(pack, people), strict=True)
    seen = [(code, found.planes) for code, found in looks if found is not None][:SITTERS]
    if not seen:
        raise NoFaceFound(
            f"no face is found in what pack {pack.name!r} draws, so it is not known where channels "
            "change it; leave out --region"
        )
    found = []
    for candidate in candidates:
        place = int(first[candidate.layer]) + candidate.channel
        shares = np.zeros(len(names))
        for code, planes in seen:
            change = torch.zeros_like(deviation)
            change[place] = PUSH * deviation[place]
            apart = (drawn(pack, code, change) - drawn(pack, code, -change)).abs().sum((0, 1))
            fine = torch.from_numpy(planes[: len(names)]) / 255
            coarse = torch.nn.functional.interpolate(fine[None], tuple(apart.shape), mode="area")[0]
            shares += (coarse * apart.cpu()).sum((1, 2)).numpy() / float(apart.sum() + 1e-12)
        shares /= len(seen)
        order = shares.argsort()[::-1]
        if shares[order[0]] > REGION and shares[order[0]] - shares[order[1]] > LEAD:
            at = names[order[0]]
            if at == region:
                found.append(replace(candidate, region=at, share=float(shares[order[0]])))
    return found


@torch.inference_mode()
def drawn(pack: Pack, code: Tensor, change: Tensor) -> Tensor:
    """The picture [1, 3, R, R] of a code [D] with a change [C] of S."""
    generator = pack.generator
    device = generator.mapping.w_avg.device
    ws = code.to(device).expand(1, generator.config.num_ws, -1)
    styles = styled(generator.synthesis, ws, change[None].to(device))
    upright = torch.eye(3, device=device)[None]
    half = generator.synthesis.halfway(styles, transform=upright)
    return generator.synthesis.finished(half, styles, transform=upright)


def train_channels(
    pack: Pack,
    asked: Asked,
    keep: int,
    region: str | None,
    target: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> list[RankedChannel]:
    """Write channels, which `edit.kind = "channels"` takes: "layer", "channel", "amount" [K].

    The amount is 1 for that which differs most, so that a strength is in its deviations.
    Raises InvalidSetting if no channel is left.
    """
    found = rank_channels(pack, asked, keep, region, progress)
    if not found:
        raise InvalidSetting(
            f"none of the {TRIED * keep} most relevant channels changes {region} alone; ask for "
            "more (--keep), or leave out --region"
        )
    most = max(abs(one.amount) for one in found)
    amounts = [one.amount / most for one in found]
    columns = [one.layer for one in found], [one.channel for one in found], amounts
    tensors = {name: torch.tensor(column) for name, column in zip(CHANNELS, columns, strict=True)}
    _write(target, tensors, {"of": asked.by or "", "pack": pack.name})
    return found


def _write(target: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    with os_errors(target):
        target.write_bytes(save(tensors, about))

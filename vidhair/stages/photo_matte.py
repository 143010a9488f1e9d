"""What of a photo is the hair of its person: a prior, corrected by what else the picture tells.

One picture says nothing of what moves with the head, so that walls, chairs and other people of
about the hair's color are sometimes taken for hair. What tells them apart here is the person's
silhouette, and along its border the colors of surely hair and of what is surely behind, nearby.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import ConvexHull
from torch import Tensor

from vidhair.imaging.blur import blur, wide_blur
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import dilate, erode
from vidhair.models.faces.landmarks import BROWS, FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask

# Lengths are in sides of the face's crop.
BEYOND_PERSON = 0.03  # how far out of the silhouette hair may stand
SURE = 0.9  # probability of hair
CORES, LEAST_CORE = (0.06, 0.02), 0.1  # how far within the border it is surely that, if so much is
BORDER = 0.1  # how far within the silhouette what is behind may show
NEAR = 0.12  # how far around colors are compared
SPREAD_LEVELS = 8
NOISE = 3.0  # deviation in Lab that colors have at least
TOLD, MOST_TOLD = 0.5, 6.0  # how far logarithms of likelihoods are believed, and the most
UNDOUBTED = -1.0  # logarithm from which on surely hair stays that
SMOOTH = 0.006  # over which they are
LEAST_OWN = 0.5  # share of likely hair on the skull that colors leave, if they tell anything
# Share of hair whose colors are as far from their mean as those of what is none; half the width of
# that; samples that tell colors.
RARE, WIDE, ENOUGH = 0.03, 0.01, 400
ABOVE, FRINGE = 0.35, 0.4  # of the way to the hairline; hair there, from which on it is a fringe
# Of the mesh: from forehead to chin, and from one side to the other; the tip of the nose. Half the
# width of rims of glasses; how far beside the face their arms are seen, in its half widths, and how
# far down, of the way from the brows to the nose; alpha of what is seen.
AXES, NOSE = ((10, 152), (234, 454)), 4
RIM, ARMS, ARMS_END, SEEN = 0.014, 1.15, 1.0, 0.4
BROW_EDGE, BROW_HIGH = 0.02, 0.13  # and how high one is, at most
STRANDS = 0.014  # how far beyond likely hair single ones stand
HANGS_BY, AROUND_FACE = 0.014, 0.12  # half the width of what hangs together; beside a face
SOLID = (0.008, 0.035)  # how far within the border hair shows what is behind, and shows nothing

# Half the width of notches on top of a head, and how far they reach where hair is that likely; how
# far from its middle they may be.
NOTCH, SOMEWHAT, PARTING = (0.035, 0.06), 0.1, 0.25
LEAST_CROWN = 0.03  # of a crop's square, that is seen above the forehead
CROWN_FROM = 0.12  # how far above the hairline it begins, in heights of a face
BARE_TINT, LEAST_BARE, LEAST_CROWN_HAIR = 0.05, 0.35, 0.25  # of skin there; shares of it

Plane = NDArray[np.float32]


def of_person(prior: Tensor, person: Tensor, picture: Tensor, face: Tensor, side: float) -> Tensor:
    """A prior [1, 1, h, w] without what is unlike this person's hair.

    person: of the silhouette; face: where skin is, that is behind no hair's outer border; picture:
    [1, 3, h, w]; all in 0 … 1. side: of the face's crop, in samples.
    """
    reach = 2 * max(1, round(BEYOND_PERSON * side)) + 1
    within = blur(dilate(person, reach), BEYOND_PERSON * side / 2)
    hair = (prior > SURE).float()
    cores = (erode(hair, 2 * max(1, round(reach * side)) + 1) for reach in CORES)
    core = next((one for one in cores if one.sum() > LEAST_CORE * hair.sum()), hair)
    beyond = 1 - dilate(torch.maximum(person, prior * within), reach)
    beyond = (beyond > 1 - SURE).float() * (face < 0.5)
    if not core.any() or not beyond.any():
        return prior * within
    lab = rgb_to_lab(picture)
    other = likelihood(lab, beyond, side)
    log = likelihood(lab, core, side) - other
    if (own := core * (log > UNDOUBTED)).any():  # without what is rather of the others
        log = likelihood(lab, own, side) - other
    within = within * (1 - unlike(lab, prior, person, side))
    log = blur((TOLD * log).clamp(-MOST_TOLD, MOST_TOLD), SMOOTH * side)
    odds = prior.clamp(0.03, 0.97).logit()
    told = torch.minimum(prior, torch.sigmoid(odds + log))
    inner = erode(torch.maximum(person, face), 2 * round(BORDER * side) + 1)
    inner = blur(inner, BORDER * side / 4)
    return within * (told + inner * (prior - told))


def believed(told: Plane, prior: Plane, skull: Plane) -> Plane:
    """What `of_person` leaves of a prior, [h, w] each, or the prior itself where that takes the
    hair of the head away: grey hair before what is grey and blurred. skull: [h, w], of the head."""
    return told if (told * skull).sum() >= LEAST_OWN * (prior * skull).sum() else prior


def unlike(lab: Tensor, prior: Tensor, person: Tensor, side: float) -> Tensor:
    """What of a prior is no hair, [1, 1, h, w] in 0 … 1: wide parts at the silhouette or beyond it,
    of colors that this person's hair has nowhere else, such as the shadow that hair throws on a
    wall. Single strands show what is behind them, so those may differ."""
    inner = erode((person > SURE).float(), 2 * max(1, round(CORES[1] * side)) + 1)
    hair, beyond = (prior > 0.5) & (inner > 0), (person < SURE).float()
    own = lab.movedim(1, -1)[hair[:, 0]]
    if len(own) < ENOUGH:
        return torch.zeros_like(prior)
    cov = own.t().cov() + NOISE**2 * torch.eye(3)
    away = lab - own.mean(0)[:, None, None]
    far = (away * torch.einsum("ij,njhw->nihw", cov.inverse(), away)).sum(1, keepdim=True)
    odd = (far > torch.quantile(far[hair], 1 - RARE)).float() * (prior > 0.3)
    reach = max(1, round(WIDE * side))
    wide = dilate(erode(odd, 2 * reach + 1) * beyond, 8 * reach + 1)
    found: Tensor = blur(dilate(odd, 2 * (reach // 2) + 1) * wide, SMOOTH * side).clamp(max=1)
    return found


def likelihood(lab: Tensor, known: Tensor, side: float) -> Tensor:
    """The logarithm, up to a constant, of how likely colors [1, 3, h, w] are by a normal
    distribution of those nearby that are known [1, 1, h, w] to be of a kind. [1, 1, h, w]."""
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    squares = [lab[:, i : i + 1] * lab[:, j : j + 1] for i, j in pairs]
    sums = wide_blur(torch.cat([lab * known, *(s * known for s in squares), known], 1), NEAR * side)
    weight = sums[:, 9:]
    found = fill(sums[:, :9] / (weight + 1e-6), (30 * weight).clamp(max=1), SPREAD_LEVELS)
    mean, away = found[:, :3], lab - found[:, :3]
    cov = lab.new_zeros(*lab.shape[2:], 3, 3)
    for k, (i, j) in enumerate(pairs):
        value = found[0, 3 + k] - mean[0, i] * mean[0, j]
        cov[..., i, j] = value
        cov[..., j, i] = value
    cov = cov + NOISE**2 * torch.eye(3)
    rest = away[0].movedim(0, -1)[..., None]
    lower, _ = torch.linalg.cholesky_ex(cov)
    scaled = torch.linalg.solve_triangular(lower, rest, upper=False)
    spread = lower.diagonal(dim1=-2, dim2=-1).clamp(min=0.1).log().sum(-1)
    log: Tensor = -0.5 * scaled.square().sum((-2, -1)) - spread
    return log.nan_to_num(-100.0).clamp(min=-100)[None, None]


def without_brows(alpha: Plane, mesh: NDArray[Any], side: float) -> Plane:
    """A matte [h, w] without brows, but for those that a fringe covers, and for hair beside them,
    which is wider. mesh: [478, 2]."""
    found = alpha
    size = 2 * max(1, round(0.5 * BROW_HIGH * side)) + 1
    hair = torch.from_numpy((alpha > 0.5).astype(np.float32))[None, None]
    wide = blur(dilate(dilate(erode(hair, size), size), 3), 0.3 * BROW_EDGE * side)[0, 0].numpy()
    up = (mesh[10] - mesh[9]) * ABOVE
    for brow in BROWS:
        points = mesh[list(brow)]
        here = polygon_mask(points, *alpha.shape)
        above = polygon_mask(np.concatenate([points[:5], points[4::-1] + up]), *alpha.shape)
        if not here.any() or (alpha * above).sum() > FRINGE * above.sum():
            continue
        plane = torch.from_numpy(here)[None, None]
        grown = blur(dilate(plane, 2 * max(1, round(BROW_EDGE * side)) + 1), 0.4 * BROW_EDGE * side)
        found = found * (1 - grown[0, 0].clamp(0, 1).numpy() * (1 - wide.clip(0, 1)))
    return found


def without_glasses(alpha: Plane, mesh: NDArray[Any], side: float) -> Plane:
    """A matte [h, w] without what is thin before a face, from the brows down, and beside its eyes:
    rims and arms of glasses, and specks. mesh: [478, 2]."""
    oval, brows, nose = mesh[list(FACE_OVAL)], mesh[[n for one in BROWS for n in one]], mesh[NOSE]
    down, across = ((mesh[b] - mesh[a]) / np.linalg.norm(mesh[b] - mesh[a]) for a, b in AXES)
    rows, columns = np.indices(alpha.shape) + 0.5
    places = np.stack([columns, rows], -1)
    out, beside = (places - nose) @ across, ARMS * ((oval - nose) @ across)
    low = (places @ down - (brows @ down).mean()) / ((nose - brows) @ down).mean()
    eyes = (low < ARMS_END) & (out > beside.min()) & (out < beside.max())
    there = (low > 0) & (eyes | (polygon_mask(oval, *alpha.shape) > 0.5))
    planes = np.stack([alpha > SEEN, there])[:, None].astype(np.float32)
    hair, part = torch.from_numpy(planes).split(1)
    size = 2 * max(1, round(RIM * side)) + 1
    wide, part = (
        blur(p, SMOOTH * side)[0, 0].clamp(0, 1).numpy()
        for p in (dilate(erode(hair, size), size + 2), part)
    )
    found: Plane = (alpha * (1 - part * (1 - wide))).astype(np.float32)
    return found


def hidden_crown(
    picture: NDArray[np.uint8], alpha: Plane, skull: Plane, mesh: NDArray[Any], side: float
) -> bool:
    """Whether what covers the top of a head in a picture [h, w, 3] is neither hair, by a matte
    [h, w], nor skin: a hat. skull: [h, w], where the head is; mesh: [478, 2]."""
    up = (mesh[10] - mesh[152]).astype(np.float64)
    rows, columns = np.indices(alpha.shape) + 0.5
    height = ((columns - mesh[10, 0]) * up[0] + (rows - mesh[10, 1]) * up[1]) / (up @ up)
    crown = (skull > 0.5) & (height > CROWN_FROM)
    if crown.sum() < LEAST_CROWN * side**2:
        return False
    shares = (picture + 1.0) / (picture + 1.0).sum(-1, keepdims=True)
    face = polygon_mask(mesh[list(FACE_OVAL)], *alpha.shape) > 0.5
    usual = np.median(shares[face & (alpha < 0.1)], 0)
    bare = (np.abs(shares - usual).max(-1) < BARE_TINT) & (alpha < 0.5)
    return bool(alpha[crown].mean() < LEAST_CROWN_HAIR and bare[crown].mean() < LEAST_BARE)


def upper_face(mesh: NDArray[Any], height: int, width: int) -> Plane:
    """A mask [height, width] of a face above the tip of its nose: what touches chin and neck alone
    is clothes, a beard, or somebody behind. mesh: [478, 2]."""
    (top, chin), _ = AXES
    down = (mesh[chin] - mesh[top]).astype(np.float64)
    rows, columns = np.indices((height, width)) + 0.5
    above = (columns - mesh[NOSE, 0]) * down[0] + (rows - mesh[NOSE, 1]) * down[1] < 0
    found: Plane = polygon_mask(mesh[list(FACE_OVAL)], height, width) * above
    return found


def hanging(likely: Plane, face: Plane, skull: Plane, side: float) -> Plane:
    """Of where hair is likely [h, w], what hangs together by more than strands with what lies
    around the upper half of the face [h, w], what is thin and lies on the skull [h, w], and strands
    beside both."""
    size, around = (2 * max(1, round(reach * side)) + 1 for reach in (HANGS_BY, AROUND_FACE))
    core = erode(torch.from_numpy((likely > 0.5).astype(np.float32))[None, None], size)
    head = dilate(torch.from_numpy(face)[None, None], around)[0, 0].numpy() > 0.5
    parts, _ = label(core[0, 0].numpy() > 0)
    own = np.isin(parts, np.setdiff1d(parts[head], 0)).astype(np.float32)
    own = np.maximum(own, (likely > 0.5) * (skull > 0.5)).astype(np.float32)
    reach = 2 * max(1, round((HANGS_BY + STRANDS) * side)) + 1
    grown = blur(dilate(torch.from_numpy(own)[None, None], reach), STRANDS / 2 * side)
    found: Plane = likely * grown[0, 0].numpy()
    return found


def near(alpha: Plane, likely: Plane, side: float) -> Plane:
    """A matte [h, w] no further than a little beyond where hair is likely [h, w]."""
    reach = STRANDS * side
    there = torch.from_numpy((likely > 0.3).astype(np.float32))[None, None]
    grown = blur(dilate(there, 2 * max(1, round(reach)) + 1), reach / 2)[0, 0].numpy()
    found: Plane = alpha * np.clip(1.3 * grown, 0, 1)
    return found


def parted(alpha: Plane, likely: Plane, mesh: NDArray[Any], side: float) -> Plane:
    """A matte [h, w] whose hair has no notch on top of the head, where the shade of a parting, or
    thin hair before a bright wall, is taken for none: up to the convex hull of the top, in narrow
    gaps and where hair is somewhat likely [h, w]. mesh: [478, 2]; side: of the face's crop, in
    samples."""
    up = (mesh[10] - mesh[152]).astype(np.float64)
    rows, columns = np.indices(alpha.shape) + 0.5
    away = np.stack([columns - mesh[10, 0], rows - mesh[10, 1]], -1)
    aside = np.abs(away @ [up[1], -up[0]]) / np.hypot(*up)
    top, hair = (away @ up > 0) & (aside < PARTING * side), alpha > 0.5
    points = np.argwhere(top & hair)[:, ::-1]
    if len(points) < 3 or min(np.ptp(points, 0)) == 0:
        return alpha
    hull = polygon_mask(points[ConvexHull(points).vertices] + 0.5, *alpha.shape)
    narrow, wide = (2 * max(1, round(reach * side)) + 1 for reach in NOTCH)
    plane = torch.from_numpy(hair.astype(np.float32))[None, None]
    gaps = erode(dilate(plane, narrow), narrow)[0, 0].numpy() > 0
    gaps |= (likely > SOMEWHAT) & (dilate(plane, wide)[0, 0].numpy() > 0)
    gaps &= top & ~np.logical_or.accumulate(hair, 0)  # what lies below hair is the forehead
    filled = torch.from_numpy(np.where(hair, 1, hull * gaps).astype(np.float32))[None, None]
    filled = blur(filled, STRANDS / 4 * side)
    found: Plane = np.maximum(alpha, gaps * filled[0, 0].numpy())
    return found.astype(np.float32)


def solid(alpha: Plane, likely: Plane, covered: Plane, side: float) -> Plane:
    """A matte [h, w] through which nothing is seen where hair covers a head [h, w] and is likely
    [h, w], away from its border."""
    inside = torch.from_numpy(((likely > 0.5) & (alpha > 0.3)).astype(np.float32))[None, None]
    low, high = (2 * max(1, round(reach * side)) + 1 for reach in SOLID)
    middle = (low + high) // 4
    core = blur(erode(inside, 2 * middle + 1), (SOLID[1] - SOLID[0]) * side / 4)[0, 0].numpy()
    share = np.clip(core, 0, 1) * covered
    found: Plane = np.maximum(alpha, share * np.minimum(1, 0.3 + likely)).astype(np.float32)
    return found

"""Alignment geometry, crops and transforms. Landmarks come in dlib's 68-point order."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from tests.golden.runner import CannotServe, Case, Check, Options, Results, adapter
from vidhair.geometry import (
    Box,
    CropAxes,
    crop_axes,
    crop_quad,
    eye_rotation_deg,
    frame_crop,
    similarity_in_box,
)
from vidhair.models.generators.stylegan3 import make_transform


def _eyes(landmarks: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return landmarks[..., 36:42, :].mean(-2), landmarks[..., 42:48, :].mean(-2)


def _axes(landmarks: NDArray[Any], *, eyes_only: bool) -> CropAxes:
    mouth = landmarks[..., 48, :].astype(float), landmarks[..., 54, :].astype(float)
    return crop_axes(*_eyes(landmarks), *mouth, eyes_only=eyes_only)


def _transform(landmarks: NDArray[Any], size: int) -> tuple[float, NDArray[Any]]:
    """Rotation and translation by the published rule, from three detections of one face."""
    (left_a, right_a), (left_u, right_u), (left_r, _) = (_eyes(lm) for lm in landmarks)
    return eye_rotation_deg(left_u, right_u, left_a, right_a), (left_u - left_r) / size


@adapter("align")
def check_align(case: Case) -> Results:
    bound = case.spec["tolerance"]["geometry_abs"]

    def geometry(name: str, got: ArrayLike) -> Check:
        difference = np.abs(np.asarray(got, np.float64) - case.data[name])
        shapes_agree = np.shape(got) == case.data[name].shape
        return Check(name, float(difference.max()) if shapes_agree else np.inf, bound)

    landmarks = case.data["pos/landmarks"]
    eyes, both = _axes(landmarks, eyes_only=True), _axes(landmarks, eyes_only=False)
    left, right = _eyes(landmarks)
    for name, got in (
        ("c", eyes.centre),
        ("x", eyes.x),
        ("y", eyes.y),
        ("quad", eyes.quad),
        ("qsize", eyes.side),
        ("fixed_quad", eyes.upright_quad),
        ("x_eyes_and_mouth", both.x),
        ("quad_eyes_and_mouth", both.quad),
        ("eye_left", left),
        ("eye_right", right),
    ):
        yield geometry(f"pos/{name}", got)

    moves = zip(case.data["mt/translate"], case.data["mt/angle_deg"], strict=True)
    matrices = np.stack([make_transform((x, y), a).numpy() for (x, y), a in moves])
    yield geometry("mt/matrix", matrices)
    yield geometry("mt/inverse", np.linalg.inv(matrices))
    yield geometry("rot/angle_deg", [eye_rotation_deg(*eyes) for eyes in case.data["rot/eyes"]])

    triples = case.data["chain/landmarks_aligned_unaligned_rotated"]
    size = int(case.said("chain/*", r"image size (\d+)", "1024"))
    chain = [_transform(triple, size) for triple in triples]
    matrices = np.stack([make_transform((x, y), a).numpy() for a, (x, y) in chain])
    yield geometry("chain/rotation_deg", [a for a, _ in chain])
    yield geometry("chain/translation", [t for _, t in chain])
    yield geometry("chain/transform", matrices)
    yield geometry("chain/inverse_transform", np.linalg.inv(matrices))
    yield _closed_form_check(both)

    for options in case.options:
        name = options["set"]
        yield geometry(f"{name}/quad", _quad(case.data[f"{name}/landmarks"], options))
    yield from _crops(case)
    rows: list[list[float]] = []
    sizes = zip(
        case.data["framecrop/landmarks"], case.data["framecrop/height_width_padding"], strict=True
    )
    for lm, (height, width, *padding) in sizes:
        crop = frame_crop(*_eyes(lm), int(height), int(width), _four(padding))
        rows.append([crop.height, crop.width, crop.top, crop.bottom, crop.left, crop.right])
        rows[-1].append(crop.scale)
    yield geometry("framecrop/h_w_top_bottom_left_right_scale", rows)


def _four(padding: Sequence[int]) -> tuple[int, int, int, int]:
    left, right, top, bottom = map(int, padding)
    return left, right, top, bottom


def _closed_form_check(axes: CropAxes) -> Check:
    """Our transform carries the corners of the aligned square to where the crop lies."""
    box = Box(100.0, -40.0, 700.0)
    unit = np.array([[-0.5, -0.5, 1], [-0.5, 0.5, 1], [0.5, 0.5, 1], [0.5, -0.5, 1]])
    carried = np.einsum("tij,kj->tki", similarity_in_box(axes, box).matrices(), unit)[..., :2]
    got = carried * box.side + box.centre
    return Check("closed form (r, tx, ty, scale)", float(np.abs(got - axes.quad).max()), 1e-6)


def _quad(landmarks: NDArray[Any], options: Options) -> NDArray[Any]:
    axes = _axes(landmarks, eyes_only=True)
    quads = {"aligned": axes.quad, "fixed": axes.upright_quad}
    if options["kind"] not in quads:
        raise CannotServe("kind", options["kind"], f"known are {', '.join(quads)}")
    return quads[options["kind"]]


def _crops(case: Case) -> Results:
    image = Image.fromarray(case.data["crop/image"])
    quads = {o["set"]: (o, case.data[f"{o['set']}/quad"]) for o in case.options}
    for name, (options, quad) in quads.items():
        shrink = math.floor(math.dist(quad[0], quad[3]) / options["output_size"] / 2)
        options.expect("shrink", shrink, f"this quad asks for {shrink}")
        got = crop_quad(
            image,
            quad,
            size=options["output_size"],
            transform_size=options["transform_size"],
            pad=options["enable_padding"],
        )
        yield from _compare_images(case, f"{name}/out", got)
    _, last = quads[case.options[-1]["set"]]
    height, width = case.data["videocrop/out"].shape[:2]
    corners = tuple((last + 0.5).flatten())
    got = image.transform((width, height), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    yield from _compare_images(case, "videocrop/out", got)
    side = len(case.data["e4e/out"])
    quad = _axes(case.data["e4e/landmarks"], eyes_only=False).quad
    yield from _compare_images(case, "e4e/out", crop_quad(image, quad, size=side))


def _compare_images(case: Case, name: str, got: Image.Image) -> Results:
    tolerance, reference = case.spec["tolerance"], case.data[name]
    pixels = np.asarray(got)
    same = pixels.shape == reference.shape
    levels = np.abs(pixels.astype(float) - reference) if same else np.array([np.inf])
    yield Check(name, float(levels.mean()), tolerance["image_mean_abs_levels"])
    yield Check(f"{name} p99", float(np.percentile(levels, 99)), tolerance["image_p99_abs_levels"])

"""MediaPipe's face mesh, hands and selfie segmentation; the only module that imports MediaPipe.

All models are inside the mediapipe wheel, so nothing is downloaded.
"""

import contextlib
import importlib
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.models.faces.regions import (
    Patch,
    Region,
    cut_patch,
    face_heights,
    is_known,
    mesh_boxes,
    tiles,
    whole_frame,
)

log = logging.getLogger(__name__)

GLANCE_EVERY = 4  # frames after which the whole frame is searched for new faces
SCAN_EVERY = 16  # frames after which tiles of it are
# By how much the detector has to be surer of a face that is turned by half a circle, so that those
# of which it is as sure stay as they are found.
SURER = 0.05
CLOSE = 5 / 3  # sides of a region that the detector sees of it: the face takes up 0.4 of them
_BLACK = np.zeros((64, 64, 3), np.uint8)
_MODULES = "mediapipe/modules"
_LANDMARKS_OF_A_REGION = """
    input_stream: "image"
    input_stream: "roi"
    output_stream: "landmarks"
    input_side_packet: "with_attention"
    node {
        calculator: "FaceLandmarkCpu"
        input_stream: "IMAGE:image"
        input_stream: "ROI:roi"
        input_side_packet: "WITH_ATTENTION:with_attention"
        output_stream: "LANDMARKS:landmarks"
    }
"""

POINTS = 478  # 468 of the mesh and five of each iris
HAND_POINTS = 21  # wrist, and four of each finger

# Mesh indices. "Left" is the viewer's left, as everywhere in vidhair.
EYE_LEFT = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_RIGHT = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
IRIS_LEFT, IRIS_RIGHT = tuple(range(468, 473)), tuple(range(473, 478))  # centre, then rim
MOUTH_LEFT, MOUTH_RIGHT = 61, 291
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# Around brows, eyes, cheeks and chin: skin that hair covers only when it hangs into the face.
MIDDLE_OF_FACE = (
    9, 336, 296, 334, 293, 300, 383, 372, 345, 352, 411, 434, 430, 431, 262, 428, 199, 208, 32,
    211, 210, 214, 187, 123, 116, 143, 156, 70, 63, 105, 66, 107,
)  # fmt: skip


def eyes_and_mouth(
    points: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Mesh [..., 478, 2] → eye centres (mean of the contour) and mouth corners, each float64
    [..., 2]."""
    return (
        points[..., list(EYE_LEFT), :].mean(-2, dtype=np.float64),
        points[..., list(EYE_RIGHT), :].mean(-2, dtype=np.float64),
        points[..., MOUTH_LEFT, :].astype(np.float64),
        points[..., MOUTH_RIGHT, :].astype(np.float64),
    )


class FaceMesh:
    """Face landmarks of frames in order; faces found in one frame are followed into the next.

    Faces are looked for in the whole frame, in tiles of it, and where one was lost just now; each
    find is looked at again from near. The mesh is read from a square around the face, so neither
    depends on the size of the frame.

    max_faces: how many to follow, the largest first. min_confidence: 0 … 1, of the detector and
    of the mesh. still: every picture by itself, without following.
    """

    def __init__(self, *, max_faces: int = 1, min_confidence: float = 0.5, still: bool = False):
        self._max_faces, self._still = max_faces, still
        with _quiet():
            self._detector = _Detector(min_confidence)
            self._landmarks = Landmarks(min_confidence)
        self._meshes = np.zeros((0, POINTS, 2), np.float32)
        self._lost: list[tuple[int, Region]] = []
        self._frame = 0

    def __call__(self, frame: NDArray[Any]) -> NDArray[Any]:
        """frame: uint8 [H, W, 3] → float32 [faces, 478, 2] in pixels of the frame."""
        if self._still:
            self._meshes, self._lost, self._frame = self._meshes[:0], [], 0
        before = [Region.of_mesh(mesh) for mesh in self._meshes]
        meshes, lost = self._follow(frame, before)
        # A face that is lost for a moment comes back near the place where it was.
        self._lost = [(n, r) for n, r in self._lost if self._frame - n < SCAN_EVERY]
        self._lost += [(self._frame, region) for region in lost]
        if lost or len(meshes) == 0 or self._frame % GLANCE_EVERY == 0:
            near = [region for _, region in self._lost]
            meshes = self._add(frame, meshes, near + self._detector(whole_frame(frame)))
        if len(meshes) < len(before) or self._frame % SCAN_EVERY == 0:
            regions = [region for tile in tiles(frame) for region in self._detector(tile)]
            meshes = self._add(frame, meshes, regions)
        self._meshes = meshes
        self._frame += 1
        return meshes

    def _follow(
        self, frame: NDArray[Any], regions: list[Region]
    ) -> tuple[NDArray[Any], list[Region]]:
        """Meshes in regions of the last frame, one per face, and the regions without one."""
        meshes, lost = self._meshes[:0], []
        for region in regions:
            mesh = self._landmarks(frame, region)
            if mesh is None:
                lost.append(region)
            else:
                meshes = _with(meshes, mesh)
        return meshes, lost

    def _add(
        self, frame: NDArray[Any], meshes: NDArray[Any], regions: list[Region]
    ) -> NDArray[Any]:
        """Meshes of new faces beside the followed ones; the largest of all are kept."""
        for region in sorted(regions, key=lambda region: -region.score):
            if is_known(np.array(region.face_box), mesh_boxes(meshes)):
                continue
            mesh = self._look_closer(frame, region)
            if mesh is not None:
                meshes = _with(meshes, mesh)
        order = np.argsort(-face_heights(meshes), kind="stable")[: self._max_faces]
        return meshes[np.sort(order)]

    def _look_closer(self, frame: NDArray[Any], region: Region) -> NDArray[Any] | None:
        """The mesh of what may be a face, if the detector still thinks so when it fills the view.

        The mesh is read twice, so that it is as good as one that was followed. The detector sees a
        face upside down, too, and takes it for an upright one: the mesh is read the way round that
        it is surer of.
        """
        seen = self._detector(cut_patch(frame, region, CLOSE))
        same = [r for r in seen if math.hypot(r.x - region.x, r.y - region.y) < region.side / 3]
        mesh = self._landmarks(frame, max(same, key=lambda r: r.score)) if same else None
        if mesh is not None and self._upside_down(frame, found := Region.of_mesh(mesh)):
            mesh = self._landmarks(frame, replace(found, angle=found.angle + math.pi))
        return None if mesh is None else self._landmarks(frame, Region.of_mesh(mesh))

    def _upside_down(self, frame: NDArray[Any], found: Region) -> bool:
        """Whether the detector is surer of a face with its pixels turned by half a circle."""
        patch = cut_patch(frame, found, CLOSE)
        upright = np.rot90(patch.pixels, round(found.angle / (math.pi / 2)))
        as_found, turned = (
            max((r.score for r in self._detector(replace(patch, pixels=pixels))), default=0.0)
            for pixels in (np.ascontiguousarray(upright), np.ascontiguousarray(upright[::-1, ::-1]))
        )
        return turned > as_found + SURER

    def close(self) -> None:
        self._detector.close()
        self._landmarks.close()


def _with(meshes: NDArray[Any], mesh: NDArray[Any]) -> NDArray[Any]:
    """Meshes [N, 478, 2] and one more, unless its face is among them."""
    if is_known(mesh_boxes(mesh[None])[0], mesh_boxes(meshes)):
        return meshes
    return np.concatenate([meshes, mesh[None]])


class _Detector:
    """MediaPipe's short-range face detector, which sees a picture at 128 × 128 pixels."""

    def __init__(self, min_confidence: float):
        _mediapipe()
        base = importlib.import_module("mediapipe.python.solution_base")
        self._graph = base.SolutionBase(
            binary_graph_path=f"{_MODULES}/face_detection/face_detection_short_range_cpu.binarypb",
            calculator_params={
                "facedetectionshortrange__facedetection__TensorsToDetectionsCalculator"
                ".min_score_thresh": min_confidence
            },
            outputs=["detections"],
        )
        self._graph.process(_BLACK)

    def __call__(self, patch: Patch) -> list[Region]:
        """Where faces may be, in the frame."""
        found = self._graph.process(patch.pixels).detections or []
        size = len(patch.pixels)
        regions = []
        for detection in found:
            where = detection.location_data
            box = where.relative_bounding_box
            corners = [(box.xmin, box.ymin), (box.xmin + box.width, box.ymin + box.height)]
            corners += [(p.x, p.y) for p in where.relative_keypoints[:2]]
            low, high, *eyes = patch.to_frame(size * np.array(corners))
            score = float(detection.score[0])
            regions.append(Region.around(low, high, np.array(eyes), score))
        return regions

    def close(self) -> None:
        self._graph.close()


class Landmarks:
    """MediaPipe's face mesh, with irises, of a face whose place is known."""

    def __init__(self, min_confidence: float):
        _mediapipe()
        base = importlib.import_module("mediapipe.python.solution_base")
        self._rect = importlib.import_module("mediapipe.framework.formats.rect_pb2").NormalizedRect
        self._graph = base.SolutionBase(
            graph_config=_graph_config(_LANDMARKS_OF_A_REGION),
            side_inputs={"with_attention": True},
            calculator_params={"facelandmarkcpu__ThresholdingCalculator.threshold": min_confidence},
            outputs=["landmarks"],
            stream_type_hints={"roi": base.PacketDataType.PROTO},
        )
        self(_BLACK, Region(32, 32, 32))

    def __call__(self, frame: NDArray[Any], region: Region) -> NDArray[Any] | None:
        """float32 [478, 2] in pixels of the frame, or None if the region shows no face."""
        patch = cut_patch(frame, region)
        size, side = len(patch.pixels), region.side / patch.step
        x, y = patch.to_patch(region.x, region.y)
        roi = self._rect(
            x_center=x / size,
            y_center=y / size,
            width=side / size,
            height=side / size,
            rotation=region.angle,
        )
        found = self._graph.process({"image": patch.pixels, "roi": roi}).landmarks
        if found is None:
            return None
        points = np.array([(p.x, p.y) for p in found.landmark])
        return patch.to_frame(points * size).astype(np.float32)

    def close(self) -> None:
        self._graph.close()


class PersonSegmenter:
    """How likely each pixel belongs to a person."""

    def __init__(self) -> None:
        solutions = _mediapipe().solutions
        with _quiet():
            self._model = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            self._model.process(_BLACK)

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """picture: uint8 [H, W, 3], best about square → float32 [H, W] in 0 … 1."""
        mask = self._model.process(np.ascontiguousarray(picture)).segmentation_mask
        return np.clip(np.asarray(mask, np.float32), 0, 1)

    def close(self) -> None:
        self._model.close()


class HandMarks:
    """Landmarks of hands in frames in order; hands of one frame are followed into the next (Zhang
    et al. 2020, MediaPipe Hands).

    most: how many. min_confidence: 0 … 1, of the detector and of the landmarks.
    """

    def __init__(self, most: int, *, min_confidence: float = 0.5):
        solutions = _mediapipe().solutions
        with _quiet():
            self._model = solutions.hands.Hands(
                max_num_hands=most,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            self._model.process(_BLACK)

    def __call__(self, frame: NDArray[Any]) -> NDArray[Any]:
        """frame: uint8 [H, W, 3], of one size for all → float32 [hands, 21, 2] in its pixels."""
        height, width, _ = frame.shape
        side = max(height, width)  # MediaPipe is made for squares
        square = np.pad(frame, ((0, side - height), (0, side - width), (0, 0)))
        found = self._model.process(square).multi_hand_landmarks or []
        marks = [[(side * p.x, side * p.y) for p in hand.landmark] for hand in found]
        return np.array(marks, np.float32).reshape(-1, HAND_POINTS, 2)

    def close(self) -> None:
        self._model.close()


def _graph_config(text: str) -> Any:
    """A graph of MediaPipe's calculators, from its text."""
    config = importlib.import_module("mediapipe.framework.calculator_pb2").CalculatorGraphConfig()
    return importlib.import_module("google.protobuf.text_format").Parse(text, config)


def _mediapipe() -> ModuleType:
    """MediaPipe, quietly."""
    with _quiet():
        return _import_begun().result()


@cache
def _import_begun() -> Future[ModuleType]:
    """The import runs in a thread, so that Ctrl-C stops who waits for it and not itself.

    Packages with native parts cannot be imported again after they were left half imported.
    """
    pool = ThreadPoolExecutor(1, "import of mediapipe")
    begun = pool.submit(_import_mediapipe)
    pool.shutdown(wait=False)
    return begun


def _import_mediapipe() -> ModuleType:
    """MediaPipe, without cv2 where that cannot load.

    The mediapipe wheel needs OpenCV only to draw; on a machine without libGL its import would fail
    for nothing.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        log.debug("cv2 does not load (%s); MediaPipe goes without", error)
        sys.modules["cv2"] = ModuleType("cv2")
    return importlib.import_module("mediapipe")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Catch what native code writes to the error stream; it goes to the debug log."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            for line in sink.read().decode(errors="replace").splitlines():
                log.debug("mediapipe: %s", line)

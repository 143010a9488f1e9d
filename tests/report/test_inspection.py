import numpy as np

from vidhair.report.inspection import CROP, _sheet, describe

FACTS = {
    "file": "a.mov", "container": "mov", "codec": "prores", "width": 720, "height": 576,
    "rotation": 0, "frames": 3, "seconds": 0.12, "frame_rate": 25.0, "time_base": "1/25",
    "color": "bt709, tv", "chroma": "4:2:2", "alpha": False, "fields": "progressive", "tags": {},
    "sound": [], "shots": [0.0], "notes": [], "people": None,
    "refusal": "no face",
}  # fmt: skip


def test_what_is_special_about_the_pictures_is_told() -> None:
    plain = describe(FACTS)
    assert "bt709, tv, 4:2:2\n" in plain and "tags" not in plain
    special = {"alpha": True, "fields": "top", "tags": {"title": "Take 3", "make": "Maker"}}
    told = describe(FACTS | special)
    assert "4:2:2, top field first, transparent" in told
    assert "tags    title: Take 3; make: Maker" in told


def test_people_are_listed_with_where_they_are_seen() -> None:
    seen = {"frames": 40, "seconds": 1.6, "crop_side_px": 120.0, "shots": [1, 2, 3, 5]}
    facts = FACTS | {"people": [seen, seen | {"shots": [4]}], "most_faces_in_a_frame": 2}
    told = describe(facts | {"shots": [0.0, 1.0, 2.0, 3.0, 4.0]}).splitlines()
    assert "  people  2; 2 faces at most in a frame" in told
    assert "       1  40 frames, 1.6 s, crop 120.0 px, shots 1–3, 5" in told
    assert told[-1].startswith("       2  ") and told[-1].endswith("shots 4")
    assert "shots 1–3" not in describe(facts), "of one shot there is nothing to tell"


def test_a_sheet_has_a_place_for_everybody() -> None:
    portraits = [np.full((CROP, CROP, 3), level, np.uint8) for level in range(10, 90, 10)]
    sheet = _sheet(portraits)
    assert sheet.shape == (2 * CROP, 6 * CROP, 3)
    middles = sheet[CROP // 2 :: CROP, CROP // 2 :: CROP, 0]
    assert middles.ravel().tolist() == [*range(10, 90, 10), 255, 255, 255, 255]
    assert (sheet[:40, :40] != 10).any(), "with a number"

from vidhair.report.inspection import describe

FACTS = {
    "file": "a.mov", "container": "mov", "codec": "prores", "width": 720, "height": 576,
    "rotation": 0, "frames": 3, "seconds": 0.12, "frame_rate": 25.0, "time_base": "1/25",
    "color": "bt709, tv", "chroma": "4:2:2", "alpha": False, "fields": "progressive", "tags": {},
    "sound": [], "shots": [0.0], "notes": [], "faces": None,
    "refusal": "no face",
}  # fmt: skip


def test_what_is_special_about_the_pictures_is_told():
    plain = describe(FACTS)
    assert "bt709, tv, 4:2:2\n" in plain and "tags" not in plain
    special = {"alpha": True, "fields": "top", "tags": {"title": "Take 3", "make": "Maker"}}
    told = describe(FACTS | special)
    assert "4:2:2, top field first, transparent" in told
    assert "tags    title: Take 3; make: Maker" in told

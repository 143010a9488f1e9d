import pytest

from vidhair.report import doctor


def test_what_is_optional_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda p: "missing" if p in ("decord", "av") else "1.0")
    assert "decord" not in doctor._packages() and "av missing" in doctor._packages()
    monkeypatch.setattr(doctor, "_version", lambda package: "1.0")
    assert "decord 1.0" in doctor._packages()

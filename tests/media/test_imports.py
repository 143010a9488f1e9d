import subprocess
import sys

import pytest


def test_importing_media_loads_no_codec() -> None:
    code = (
        "import sys, vidhair.media; "
        "print({'av', 'decord', 'ffmpeg', 'imageio_ffmpeg', 'torch'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_no_ffmpeg_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio_ffmpeg
    import pytest

    from vidhair.errors import VidhairError
    from vidhair.media import ffmpeg_path

    def missing() -> None:
        raise RuntimeError("no ffmpeg exe could be found")

    monkeypatch.setenv("PATH", "")
    assert ffmpeg_path().is_file()
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(VidhairError, match="install ffmpeg"):
        ffmpeg_path()

"""The catalogue's form. What it says was read in its sources; no test can ask them."""

import re
from urllib.parse import urlsplit

import pytest

from vidhair.checkpoints.download import MAX_SIZE
from vidhair.checkpoints.known import KNOWN, KnownWeights, find_weights
from vidhair.errors import InvalidSetting

every = pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.name)


def test_no_two_entries_share_a_name_or_a_file() -> None:
    """Also on disks that do not tell capitals from small letters."""
    assert len({entry.name for entry in KNOWN}) == len(KNOWN)
    assert len({entry.file.lower() for entry in KNOWN}) == len(KNOWN)


@every
def test_names_are_fit_for_a_command_line_and_files_stay_in_their_folder(
    entry: KnownWeights,
) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(pkl|pth?|npy|tflite|txt)", entry.file)
    assert re.fullmatch(r"[a-z]+", entry.part)
    assert entry.purpose and entry.licence.name and entry.licence.terms


@every
def test_every_address_is_https(entry: KnownWeights) -> None:
    for address in (entry.source, entry.licence.text, entry.url, entry.page):
        if address is not None:
            assert urlsplit(address).scheme == "https" and urlsplit(address).hostname
            assert re.fullmatch(r"[!-~]+", address)


@every
def test_a_file_is_fetched_directly_or_from_a_page(entry: KnownWeights) -> None:
    assert (entry.url is None) != (entry.page is None)
    assert entry.url is None or "drive.google" not in entry.url, "a drive asks first"


@every
def test_sizes_and_checksums_are_possible(entry: KnownWeights) -> None:
    least = 1 << 11 if entry.part in ("direction", "components") else 1 << 19
    assert entry.size is None or least < entry.size < MAX_SIZE
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256)
    named = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
    assert named is None or (entry.sha256 or "").startswith(named[1]), "torch names by checksum"


def test_entries_are_found_in_the_order_of_their_names_each_once() -> None:
    found = find_weights(["psp-ffhq", "bisenet", "psp-ffhq"])
    assert [entry.file for entry in found] == ["psp_ffhq_encode.pt", "79999_iter.pth"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("stylegan3-r-ffhq-512", "did you mean stylegan3-r-ffhq"), ("xyz", "vidhair models list")],
)
def test_an_unknown_name_is_refused_with_a_hint(name: str, says: str) -> None:
    with pytest.raises(InvalidSetting, match=says):
        find_weights(["bisenet", name])

"""What edits have in common that are told in words: CLIP, and what it says of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.cache import file_fingerprint
from vidhair.checkpoints.download import weights_folder
from vidhair.checkpoints.known import find_weights
from vidhair.edits.edit import GradedEdit
from vidhair.errors import InvalidSetting, WeightsDoNotFit
from vidhair.models.clip import CLIP, Tokens, read_clip, read_merges
from vidhair.settings import setting

WEIGHTS, MERGES = "clip-vit-b-32", "clip-merges"
# Ways to say it, of CLIP's own for ImageNet; all of them would say little more.
PHRASES = (
    "a photo of {}.", "a bad photo of {}.", "a cropped photo of {}.", "a bright photo of {}.",
    "a dark photo of {}.", "a close-up photo of {}.", "a low resolution photo of {}.",
    "a good photo of {}.",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """CLIP with its tokens."""

    clip: CLIP
    tokens: Tokens

    @torch.inference_mode()
    def embedded(self, texts: Sequence[str]) -> Tensor:
        """[B, E]."""
        tokens = self.tokens(list(texts), self.clip.config.length)
        found: Tensor = self.clip.text(tokens.to(self.clip.text.places.device))
        return found

    def phrased(self, text: str) -> Tensor:
        """[N, E] of a text in several phrases."""
        return self.embedded([phrase.format(text) for phrase in PHRASES])


@dataclass(frozen=True, kw_only=True)
class WordedEdit(GradedEdit):
    clip: str = setting(
        "", "CLIP's weights; empty for those that `vidhair models pull clip-vit-b-32` fetched"
    )
    merges: str = setting(
        "", "its merges.txt; empty for that which `vidhair models pull clip-merges` fetched"
    )

    @property
    def files(self) -> tuple[Path, Path]:
        """Of the weights and of the merges."""
        pulled = (weights_folder() / entry.file for entry in find_weights([WEIGHTS, MERGES]))
        given = self.clip, self.merges
        weights, merges = (
            Path(own) if own else usual for own, usual in zip(given, pulled, strict=True)
        )
        return weights, merges

    def words_identity(self) -> dict[str, Any]:
        """The files themselves, so that their names do not matter."""
        weights, merges = map(file_fingerprint, self.files)
        return {"clip": weights, "merges": merges}

    def check_words(self, texts: Sequence[tuple[str, str]], place: str) -> Reader:
        """What they are read with. texts: setting and text of each.

        Raises InvalidSetting, and what `reader` does.
        """
        for name, text in texts:
            if not text.strip():
                raise InvalidSetting(f"{place}.{name} is empty; say what is wanted, in English")
        for path, name, given in zip(
            self.files, ("clip", "merges"), (self.clip, self.merges), strict=True
        ):
            if not path.is_file():
                own = f"check {place}.{name}, or leave it out and run " if given else "fetch it by "
                raise InvalidSetting(
                    f"{place}.kind = {self.kind!r} needs CLIP, and {path} is not a file that is "
                    f"here; {own}`vidhair models pull {WEIGHTS} {MERGES}`"
                )
        return self.reader()

    def reader(self) -> Reader:
        """Raises CheckpointUnreadable or WeightsDoNotFit."""
        weights, merges = self.files
        clip, tokens = read_clip(weights), read_merges(merges)
        if len(tokens.number) != clip.config.words:
            raise WeightsDoNotFit(
                f"{merges} makes {len(tokens.number)} tokens, and {weights} knows "
                f"{clip.config.words}; give the two that belong together"
            )
        return Reader(clip, tokens)

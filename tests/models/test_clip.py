"""CLIP on made-up weights: names, tokens, and what each part sees."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.clip_files import MERGES, TINY, TOKENS, official_clip
from tests.models.tiny import random
from vidhair.errors import CheckpointUnreadable, WeightsDoNotFit
from vidhair.models.clip import (
    CLIP,
    END,
    START,
    Block,
    byte_letters,
    read_clip,
    read_merges,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def as_transformers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under transformers' names."""
    found = {}
    names = {
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "logit_scale": "logit_scale",
    }
    for name, tensor in weights.items():
        if name in ("visual.proj", "text_projection"):
            found[f"{'visual' if 'vis' in name else 'text'}_projection.weight"] = tensor.t()
        elif name in names:
            found[names[name]] = tensor
        else:
            part = "vision_model" if name.startswith("visual") else "text_model"
            for theirs, ours in (
                ("visual.", ""), ("transformer.resblocks", f"{part}.encoder.layers"),
                ("ln_pre", f"{part}.pre_layrnorm"), ("ln_post", f"{part}.post_layernorm"),
                ("ln_final", f"{part}.final_layer_norm"), ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"), ("c_fc", "fc1"), ("c_proj", "fc2"),
                ("attn.out", "self_attn.out"),
            ):  # fmt: skip
                name = name.replace(theirs, ours)
            if "in_proj" in name:
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    into = f"self_attn.{letter}_proj."
                    found[name.replace("attn.in_proj_", into)] = third
            else:
                found[name] = tensor
    return found | {"text_model.embeddings.position_ids": torch.arange(9)[None]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(official_clip(), path)
    return read_clip(path)


class TestTokens:
    def test_frequent_parts_are_joined(self) -> None:
        row = TOKENS(["Long  HAIR"], 9)[0].tolist()
        names = {number: word for word, number in TOKENS.number.items()}
        assert [names[n] for n in row[:4]] == [START, "long</w>", "hair</w>", END]
        assert row[4:] == [0] * 5 and row[3] == max(row)

    def test_numbers_and_signs_stand_alone_and_every_byte_has_a_letter(self) -> None:
        names = {number: word for word, number in TOKENS.number.items()}
        said = [names[n] for n in TOKENS.pieces("it's 12, é")]
        assert said == ["i", "t</w>", "'", "s</w>", "1</w>", "2</w>", ",</w>", "Ã", "©</w>"]
        assert len(set(byte_letters().values())) == 256

    def test_the_published_vocabulary_has_its_size(self) -> None:
        """512 letters and two marks, beside the merges."""
        assert len(TOKENS.number) == 512 + len(MERGES) + 2
        assert TOKENS.number["!"] == 0 and TOKENS.number["!</w>"] == 256
        assert TOKENS.number[END] == len(TOKENS.number) - 1

    def test_what_is_too_long_is_cut_and_still_ends(self) -> None:
        row = TOKENS(["hair " * 50], 9)[0]
        assert row[-1] == TOKENS.number[END] and (row > 0).all()

    def test_merges_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "merges.txt"
        for head in ("#version: 0.2", '"bpe_simple_vocab_16e6.txt#version: 0.2'):
            path.write_text("\n".join([head, *(" ".join(pair) for pair in MERGES), ""]))
            assert read_merges(path).number == TOKENS.number
        for text in ("", "a b c\n", "one\n"):
            path.write_text(text)
            with pytest.raises(CheckpointUnreadable, match=r"merges\.txt is no list of merges"):
                read_merges(path)
        path.write_bytes(b"\x93NUMPY v\n\xff\xfe\n")
        with pytest.raises(CheckpointUnreadable, match=r"merges\.txt is no list of merges"):
            read_merges(path)


def test_sizes_are_read_from_the_weights(clip: CLIP) -> None:
    assert clip.config == TINY


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_transformers_names_give_the_same(clip: CLIP, tmp_path: Path, ending: str) -> None:
    path, weights = tmp_path / f"model.{ending}", as_transformers(official_clip())
    if ending == "pt":
        torch.save(weights, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    pictures, tokens = random(2, 3, 40, 40), TOKENS(["long hair", "hair"], 9)
    for got, want in zip(read_clip(path)(pictures, tokens), clip(pictures, tokens), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_is_torchs_attention_between_two_norms(causal: bool) -> None:
    """As OpenAI's is written down: LayerNorm, MultiheadAttention, LayerNorm, two layers."""
    block = Block(128).requires_grad_(False)
    attention = nn.MultiheadAttention(128, 2, batch_first=True).requires_grad_(False)
    attention.in_proj_weight.copy_(block.qkv.weight)
    attention.in_proj_bias.copy_(block.qkv.bias.normal_())
    attention.out_proj.weight.copy_(block.out.weight)
    attention.out_proj.bias.copy_(block.out.bias)
    x = random(2, 5, 128)
    mask = torch.triu(torch.full((5, 5), -torch.inf), 1) if causal else None
    y = block.norm1(x)
    want = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
    wide = block.widen(block.norm2(want))
    want = want + block.narrow(wide / (1 + torch.exp(-1.702 * wide)))
    torch.testing.assert_close(block(x, causal), want, atol=1e-5, rtol=1e-5)


def test_words_after_the_end_do_not_count(clip: CLIP) -> None:
    tokens = TOKENS(["long hair"], 9)
    other = tokens.clone()
    other[0, 5:] = 7
    torch.testing.assert_close(clip.text(other), clip.text(tokens))
    assert not torch.allclose(clip.text(TOKENS(["hair long"], 9)), clip.text(tokens))


def test_pictures_are_normalised_as_in_training(clip: CLIP) -> None:
    pictures = random(2, 3, 32, 32).tanh()
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),
    ))  # fmt: skip
    torch.testing.assert_close(
        clip.see(pictures),
        clip.image(((pictures + 1) / 2 - mean) / deviation),
        atol=1e-4,
        rtol=1e-4,
    )


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    weights = official_clip()
    for name, bad in (
        ("none", {"a": torch.ones(2)}),
        ("part", {k: v for k, v in weights.items() if k != "visual.ln_post.bias"}),
        ("more", weights | {"visual.extra": torch.ones(2)}),
    ):
        torch.save(bad, tmp_path / f"{name}.pt")
        with pytest.raises(WeightsDoNotFit, match=rf"{name}\.pt holds no CLIP of the ViT kind"):
            read_clip(tmp_path / f"{name}.pt")
    torch.save(weights | {"visual.proj": torch.full((128, 24), torch.nan)}, tmp_path / "nan.pt")
    with pytest.raises(CheckpointUnreadable, match="not finite"):
        read_clip(tmp_path / "nan.pt")

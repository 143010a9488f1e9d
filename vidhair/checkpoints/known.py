"""Published weights that vidhair can read: what they are for, their terms, and where they lie.

`size` and `sha256` stand only where the host publishes them or where those who downloaded the
file from its host report the same; None means unknown, not unchecked. A `url` stands only where
the host hands the file out without a login or a page in between. Drives that ask first have a
`page` for a person to open.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from vidhair.errors import InvalidSetting

NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan3/versions/1/files"
NVIDIA_CDN = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
STYLEGANEX = "https://huggingface.co/PKUWilliamYang/StyleGANEX/resolve/main/pretrained_models"
MEDIAPIPE = "https://storage.googleapis.com/mediapipe-assets"
E4E_EDITINGS = "https://raw.githubusercontent.com/omertov/encoder4editing/main/editings"
FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"


@dataclass(frozen=True)
class Licence:
    """name: as its text calls it. terms: its limits in plain words. text: where to read it."""

    name: str
    terms: str
    text: str


@dataclass(frozen=True)
class KnownWeights:
    """One published file.

    source: the page of those who publish it; page: where a person fetches it, if elsewhere;
    url: a direct download; size: bytes; sha256: hexadecimal, the whole digest or its beginning.
    """

    name: str
    part: str
    purpose: str
    licence: Licence
    source: str
    file: str
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None


STYLEGAN3_TERMS = Licence(
    "NVIDIA Source Code License for StyleGAN3",
    "research and evaluation only",
    "https://github.com/NVlabs/stylegan3/blob/main/LICENSE.txt",
)
ADA_TERMS = Licence(
    "NVIDIA Source Code License for StyleGAN2-ADA",
    "research and evaluation only",
    "https://nvlabs.github.io/stylegan2-ada-pytorch/license.html",
)
CONVERTED_TERMS = Licence(
    "Nvidia Source Code License-NC",
    "converted from NVIDIA's generator: research and evaluation only",
    "https://github.com/rosinality/stylegan2-pytorch/blob/master/LICENSE-NVIDIA",
)
ROSINALITY_TERMS = Licence(
    "MIT, for the code",
    "none stated for the weights; trained on FFHQ, which is for non-commercial use",
    "https://github.com/rosinality/stylegan2-pytorch/blob/master/LICENSE",
)
EDITING_TERMS = Licence(
    "MIT, for the code",
    "made from NVIDIA's StyleGAN3, which is for research and evaluation only",
    "https://github.com/yuval-alaluf/stylegan3-editing/blob/main/LICENSE",
)
PSP_TERMS = Licence(
    "MIT, for the code",
    "holds NVIDIA's generator, which is for research and evaluation only",
    "https://github.com/eladrich/pixel2style2pixel/blob/master/LICENSE",
)
E4E_TERMS = Licence(
    "MIT, for the code",
    "holds NVIDIA's generator, which is for research and evaluation only",
    "https://github.com/omertov/encoder4editing/blob/main/LICENSE",
)
S_LAB_TERMS = Licence(
    "S-Lab License 1.0",
    "non-commercial use only; ask the authors for any other",
    "https://github.com/williamyang1991/StyleGANEX/blob/main/LICENSE.md",
)
BISENET_TERMS = Licence(
    "MIT, for the code",
    "trained on CelebAMask-HQ, which is for non-commercial research",
    "https://github.com/zllrunning/face-parsing.PyTorch/blob/master/LICENSE",
)
ARCFACE_TERMS = Licence(
    "MIT, for the code",
    "trained on faces from InsightFace, which are for non-commercial research",
    "https://github.com/TreB1eN/InsightFace_Pytorch/blob/master/LICENSE",
)
HAIRCLIP_TERMS = Licence(
    "none stated",
    "no right to use it is granted; ask the authors",
    "https://github.com/wty-ustc/HairCLIPv2",
)
BARBERSHOP_TERMS = Licence(
    "MIT, for the code of Barbershop",
    "none stated for the weights",
    "https://github.com/ZPdesu/Barbershop/blob/main/LICENSE",
)
HAIRMAPPER_TERMS = Licence(
    "HairMapper's terms",
    "non-commercial use only",
    "https://github.com/oneThousand1000/HairMapper#license",
)
MEDIAPIPE_TERMS = Licence(
    "Apache-2.0",
    "any use, with its notice",
    "https://github.com/google-ai-edge/mediapipe/blob/master/LICENSE",
)
CLIP_TERMS = Licence(
    "MIT, for the code",
    "its model card: for research, not for products that were not examined",
    "https://github.com/openai/CLIP/blob/main/LICENSE",
)
TORCHVISION_TERMS = Licence(
    "BSD-3-Clause, for the code",
    "trained on ImageNet, whose terms may bind the weights too",
    "https://github.com/pytorch/vision#pre-trained-model-license",
)


def _drive(key: str) -> str:
    return f"https://drive.google.com/file/d/{key}/view"


def _stylegan3(
    config: str, faces: str, side: int, size: int | None = None, sha256: str | None = None
) -> KnownWeights:
    crop = {"ffhq": "aligned", "ffhqu": "unaligned"}[faces]
    file = f"stylegan3-{config}-{faces}-{side}x{side}.pkl"
    return KnownWeights(
        f"stylegan3-{config}-{faces}-{side}",
        "generator",
        f"{crop} faces at {side} px, configuration {config.upper()}",
        STYLEGAN3_TERMS,
        "https://github.com/NVlabs/stylegan3",
        file,
        url=f"{NGC}/{file}",
        size=size,
        sha256=sha256,
    )


def _ada(side: int, path: str, size: int | None = None, sha256: str | None = None) -> KnownWeights:
    return KnownWeights(
        f"stylegan2-ada-ffhq-{side}",
        "generator",
        f"aligned faces at {side} px",
        ADA_TERMS,
        "https://github.com/NVlabs/stylegan2-ada-pytorch",
        path.rpartition("/")[2],
        url=f"{NVIDIA_CDN}/{path}",
        size=size,
        sha256=sha256,
    )


def _editing(name: str, part: str, purpose: str, file: str, key: str) -> KnownWeights:
    source = "https://github.com/yuval-alaluf/stylegan3-editing"
    return KnownWeights(name, part, purpose, EDITING_TERMS, source, file, page=_drive(key))


def _e4e_edit(
    name: str, part: str, purpose: str, path: str, size: int, sha256: str
) -> KnownWeights:
    return KnownWeights(
        name,
        part,
        purpose,
        E4E_TERMS,
        "https://github.com/omertov/encoder4editing",
        f"e4e_{path.rpartition('/')[2]}",
        url=f"{E4E_EDITINGS}/{path}",
        size=size,
        sha256=sha256,
    )


def _styleganex(
    task: str, purpose: str, size: int | None = None, sha256: str | None = None
) -> KnownWeights:
    file = f"styleganex_{task}.pt"
    return KnownWeights(
        f"styleganex-{task.replace('_', '-')}",
        "network",
        purpose,
        S_LAB_TERMS,
        "https://github.com/williamyang1991/StyleGANEX",
        file,
        url=f"{STYLEGANEX}/{file}",
        size=size,
        sha256=sha256,
    )


def _hairclip(
    name: str, part: str, purpose: str, licence: Licence, file: str, key: str
) -> KnownWeights:
    source = "https://github.com/wty-ustc/HairCLIPv2"
    name = f"hairclipv2-{name}"
    return KnownWeights(name, part, purpose, licence, source, file, page=_drive(key))


def _backbone(name: str, network: str, file: str, size: int, sha256: str) -> KnownWeights:
    return KnownWeights(
        f"lpips-{name}",
        "perceptual",
        f"{network}, the backbone of LPIPS",
        TORCHVISION_TERMS,
        "https://github.com/pytorch/vision",
        file,
        url=f"https://download.pytorch.org/models/{file}",
        size=size,
        sha256=sha256,
    )


def _clip(name: str, purpose: str, there: str, file: str, size: int, sha256: str) -> KnownWeights:
    source = "https://huggingface.co/openai/clip-vit-base-patch32"
    return KnownWeights(
        name,
        "text",
        purpose,
        CLIP_TERMS,
        source,
        file,
        url=f"{source}/resolve/main/{there}",
        size=size,
        sha256=sha256,
    )


KNOWN: tuple[KnownWeights, ...] = (
    _stylegan3(
        "r", "ffhq", 1024, 237_040_112,
        "ffe2233fa0d0329ad9f19b8bf8ea855d12210461c118ff52fbffde8d3a2b4519",
    ),
    _stylegan3(
        "t", "ffhq", 1024, 294_775_112,
        "efd9fa1f967a11b5390399a8ed512dc32e341c245fa2d4dafa6d94e96222085b",
    ),
    _stylegan3("r", "ffhqu", 1024),
    _stylegan3("t", "ffhqu", 1024),
    _stylegan3("r", "ffhqu", 256),
    _stylegan3("t", "ffhqu", 256),
    _ada(
        1024, "ffhq.pkl", 381_624_121,
        "a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c",
    ),
    _ada(512, "transfer-learning-source-nets/ffhq-res512-mirror-stylegan2-noaug.pkl"),
    _ada(256, "transfer-learning-source-nets/ffhq-res256-mirror-paper256-noaug.pkl"),
    KnownWeights(
        "stylegan2-ffhq-1024",
        "generator",
        "aligned faces at 1024 px, in rosinality's form",
        CONVERTED_TERMS,
        "https://github.com/eladrich/pixel2style2pixel",
        "stylegan2-ffhq-config-f.pt",
        page=_drive("1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT"),
    ),
    KnownWeights(
        "stylegan2-ffhq-256",
        "generator",
        "aligned faces at 256 px, trained by rosinality",
        ROSINALITY_TERMS,
        "https://github.com/rosinality/stylegan2-pytorch",
        "550000.pt",
        page=_drive("1PQutd-JboOCOZqmd95XWxWrO8gGEvRcO"),
    ),
    _editing(
        "sg3-r-ffhq-1024", "generator", "stylegan3-r-ffhq-1024 as tensors only",
        "sg3-r-ffhq-1024.pt", "13q6m-bpe3Ws9en9y45JEx2PHQirStt8N",
    ),
    _editing(
        "sg3-r-ffhqu-1024", "generator", "stylegan3-r-ffhqu-1024 as tensors only",
        "sg3-r-ffhqu-1024.pt", "1Xfi0mBgiDb8AUazWok9eKSRQon9YVMMW",
    ),
    _editing(
        "restyle-psp-sg3", "encoder", "faces into StyleGAN3, closest likeness",
        "restyle_pSp_ffhq.pt", "12WZi2a9ORVg-j6d9x4eF-CKpLaURC2W-",
    ),
    _editing(
        "restyle-e4e-sg3", "encoder", "faces into StyleGAN3, easiest to edit",
        "restyle_e4e_ffhq.pt", "1z_cB187QOc6aqVBdLvYvBjoc93-_EuRm",
    ),
    _editing(
        "interfacegan-sg3-age", "direction", "older and younger, aligned StyleGAN3",
        "age_boundary.npy", "1NQVOpKX6YZKVbz99sg94HiziLXHMUbFS",
    ),
    _editing(
        "interfacegan-sg3-smile", "direction", "smile, aligned StyleGAN3",
        "Smiling_boundary.npy", "1KgfJleIjrKDgdBTN4vAz0XlgSaa9I99R",
    ),
    _editing(
        "interfacegan-sg3-pose", "direction", "turn of the head, aligned StyleGAN3",
        "pose_boundary.npy", "1nCzCR17uaMFhAjcg6kFyKnCCxAKOCT2d",
    ),
    _editing(
        "interfacegan-sg3-male", "direction", "CelebA's attribute Male, aligned StyleGAN3",
        "Male_boundary.npy", "18dpXS5j1h54Y3ah5HaUpT03y58Ze2YEY",
    ),
    _editing(
        "styleclip-sg3-effects", "effects", "what channels do to CLIP's view, StyleGAN3-R",
        "delta_i_c.npy", "1HOUGvtumLFwjbwOZrTbIloAwBBzs2NBN",
    ),
    KnownWeights(
        "psp-ffhq",
        "encoder",
        "faces into StyleGAN2, closest likeness",
        PSP_TERMS,
        "https://github.com/eladrich/pixel2style2pixel",
        "psp_ffhq_encode.pt",
        page=_drive("1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0"),
        size=1_201_489_451,
        sha256="f786ac5cf18fcdbc5c57c9f3f12cbedca69381fbdf5694dd132294e3133749d7",
    ),
    KnownWeights(
        "e4e-ffhq",
        "encoder",
        "faces into StyleGAN2, easiest to edit",
        E4E_TERMS,
        "https://github.com/omertov/encoder4editing",
        "e4e_ffhq_encode.pt",
        page=_drive("1cUv_reLE6k3604or78EranS7XzuVMWeO"),
        size=1_201_649_680,
        sha256="2ace1d9a8c05c10a399bcd500b8dda118f759ff1aac89dbdab7435f2136a0999",
    ),
    _e4e_edit(
        "interfacegan-sg2-age", "direction", "older and younger, StyleGAN2",
        "interfacegan_directions/age.pt", 2_808,
        "50074516b1629707d89b5e43d6b8abd1792212fa3b961a87a11323d6a5222ae0",
    ),
    _e4e_edit(
        "interfacegan-sg2-smile", "direction", "smile, StyleGAN2",
        "interfacegan_directions/smile.pt", 2_808,
        "817a7e732b59dee9eba862bec8bd7e8373568443bc9f9731a21cf9b0356f0653",
    ),
    _e4e_edit(
        "interfacegan-sg2-pose", "direction", "turn of the head, StyleGAN2",
        "interfacegan_directions/pose.pt", 37_624,
        "736e0eacc8488fa0b020a2e7bd256b957284c364191dfea693705e5d06d43e7d",
    ),
    _e4e_edit(
        "ganspace-sg2", "components", "80 principal components of W, StyleGAN2",
        "ganspace_pca/ffhq_pca.pt", 167_562,
        "4d7f9df1c96180d9026b9cb8d04753579fbf385f321a9d0e263641601c5e5d36",
    ),
    _styleganex(
        "inversion", "whole frames into StyleGANEX", 1_203_237_610,
        "10abb8ae974394e8088dadad9c7220b552c34665e5117ba82c59c2de827df910",
    ),
    _styleganex(
        "sr", "super-resolution of faces, 4 to 48 times",
        sha256="99e4736ae6384a7530e0da85a0ef35fca27d46c62d86308da5a409b8f28d3155",
    ),
    _styleganex(
        "sr32", "super-resolution of faces, 32 times",
        sha256="57eeb6dab3c3e12fca919cc93d6d33edb33914a937965940468b8fddbcbef15c",
    ),
    _styleganex("sketch2face", "sketches into faces"),
    _styleganex("mask2face", "label maps into faces"),
    _styleganex(
        "edit_hair", "hair color in videos", 1_475_996_775,
        "b0b8025d5356b4113b412a5759e14fdd2de8c733a61024c565a36af312554d48",
    ),
    _styleganex(
        "edit_age", "age in videos", 1_475_996_775,
        "9577fcad114b207511eb96b0071caa6735fa07d80aa5fcca73dc45d7b00e20f3",
    ),
    _styleganex("toonify_cartoon", "faces in videos as cartoons"),
    _styleganex("toonify_arcane", "faces in videos in the style of Arcane"),
    _styleganex("toonify_pixar", "faces in videos in the style of Pixar"),
    # facexlib's releases hold the very file that face-parsing.PyTorch keeps on a drive.
    KnownWeights(
        "bisenet",
        "parser",
        "19 regions of a face, hair among them",
        BISENET_TERMS,
        "https://github.com/zllrunning/face-parsing.PyTorch",
        "79999_iter.pth",
        url=f"{FACEXLIB}/v0.2.0/parsing_bisenet.pth",
        size=53_289_463,
        sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
    ),
    # Likewise, of InsightFace_Pytorch.
    KnownWeights(
        "arcface-ir-se50",
        "identity",
        "how alike two faces are, and the backbone of pSp and e4e",
        ARCFACE_TERMS,
        "https://github.com/TreB1eN/InsightFace_Pytorch",
        "model_ir_se50.pth",
        url=f"{FACEXLIB}/v0.1.0/recognition_arcface_ir_se50.pth",
        size=175_367_323,
        sha256="a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
    ),
    # The version and the digest are those that MediaPipe's own build files name.
    KnownWeights(
        "mediapipe-hair",
        "segmenter",
        "hair of any person, short, grey or faded",
        MEDIAPIPE_TERMS,
        "https://github.com/google-ai-edge/mediapipe",
        "hair_segmentation.tflite",
        url=f"{MEDIAPIPE}/hair_segmentation.tflite?generation=1661875756623461",
        size=780_588,
        sha256="d2c940c4fd80edeaf38f5d7387d1b4235ee320ed120080df67c663e749e77633",
    ),
    _hairclip(
        "generator", "generator", "aligned faces at 1024 px, as HairCLIPv2 expects them",
        CONVERTED_TERMS, "ffhq.pt", "1g8S81ZybmrF86OjvjLYJzx-wx83ZOiIw",
    ),
    _hairclip(
        "parser", "parser", "regions of a face, as HairCLIPv2 expects them",
        BARBERSHOP_TERMS, "seg.pth", "1OG6t7q4PpHOoYNdP-ipoxuqYbfMSgPta",
    ),
    _hairclip(
        "bald", "mapper", "takes the hair away in W+",
        HAIRMAPPER_TERMS, "bald_proxy.pt", "1sa732uBfX1739MFsvtRCKWCN54zYyltC",
    ),
    _hairclip(
        "sketch", "encoder", "drawn strands into hair",
        HAIRCLIP_TERMS, "sketch_proxy.pt", "1qk0ZIfA1VmrFUzDJ0g8mK8nx0WtF-5sY",
    ),
    _backbone(
        "alex", "AlexNet", "alexnet-owt-7be5be79.pth", 244_408_911,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    _backbone(
        "vgg", "VGG16", "vgg16-397923af.pth", 553_433_881,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    _clip(
        "clip-vit-b-32", "text and pictures, for hair_text", "pytorch_model.bin", "clip_b32.pt",
        605_247_071, "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    ),
    _clip(
        "clip-merges", "how CLIP splits words, for hair_text", "merges.txt", "clip_merges.txt",
        524_657, "f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85",
    ),
)  # fmt: skip


def find_weights(names: Iterable[str]) -> list[KnownWeights]:
    """The entries of these names, in their order, each once; raises InvalidSetting if unknown."""
    known = {entry.name: entry for entry in KNOWN}
    found = []
    for name in dict.fromkeys(names):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {close[0]}?" if close else "`vidhair models list` names them"
            raise InvalidSetting(f"{name!r} is not among the known weights; {remedy}")
        found.append(known[name])
    return found

"""Hand-written differences of several kinds."""

from msgspec.structs import replace

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.difference import Change, ComponentPair, Difference, Incomparable, Move, PathChange
from vlm_inspect.core.model_ref import ModelIdentity

VISION, TEXT, PROJECTOR, HEAD = Role.VISION_ENCODER, Role.LANGUAGE_MODEL, Role.PROJECTOR, Role.LM_HEAD
COMMIT = "b234b804b114d9e37bb655e11cbbb5f5e971b7a9"


def pair(role, path, class_name, parameters, layers=None):
    return ComponentPair(role, path, path, parameters, parameters, class_name, class_name, layers, layers)


LLAMA = pair(TEXT, "model.language_model", "LlamaModel", 7_504_932_864, 32)
LINEAR = pair(HEAD, "lm_head", "Linear", 525_344_768)
CLIP = pair(VISION, "model.vision_tower", "CLIPVisionModel", 303_507_456, 24)

TOWERS = Difference(
    ModelIdentity("TIGER-Lab/Mantis-8B-clip-llama3", COMMIT),
    ModelIdentity("TIGER-Lab/Mantis-8B-siglip-llama3", "main"),
    8_354_764_800,
    8_480_007_232,
    (
        replace(CLIP, class_after="SiglipVisionModel", layers_after=27, parameters_after=428_225_600),
        replace(
            pair(PROJECTOR, "model.multi_modal_projector", "LlavaMultiModalProjector", 20_979_712),
            parameters_after=21_504_000,
        ),
        LLAMA,
        LINEAR,
    ),
    (
        Change((VISION,), "class", "CLIPVisionModel", "SiglipVisionModel", (0,)),
        Change((VISION,), "layers", 24, 27, (0,)),
        Change((VISION,), "image size", (336, 336), (384, 384), (0,)),
        Change((VISION,), "module pre_layrnorm", "LayerNorm", None, (0,)),
        Change((VISION,), "norm eps", 1e-05, 1e-06, (0,)),
        Change((VISION,), "module head", None, "SiglipMultiheadAttentionPoolingHead", (0,)),
        Change((PROJECTOR,), "input width", 1024, 1152, (1,)),
        Change((PROJECTOR,), "steps", ("Linear", "GELU", "Linear"), ("Linear",), (1,)),
    ),
)
VOCABULARY = Difference(
    ModelIdentity("org/base", source="local"),
    ModelIdentity("org/tuned", source="local"),
    1000,
    1008,
    (replace(LLAMA, parameters_after=LLAMA.parameters_after + 4), replace(LINEAR, parameters_before=None)),
    (Change((TEXT, HEAD), "vocabulary", 32002, 32003, (0, 1)),),
)
UPGRADE = Difference(
    ModelIdentity("llava-hf/llava-1.5-7b-hf", COMMIT),
    ModelIdentity("llava-hf/llava-1.5-7b-hf", COMMIT),
    7_063_427_072,
    7_063_427_072,
    (CLIP, LLAMA, LINEAR),
    moves=(
        Move("model.vision_tower.vision_model", "model.vision_tower", 391),
        Move("", "model", 12),
        Move("lm_head.w", "lm_head.weight", 1, "parameter"),
    ),
    versions_before={"transformers": "5.5.4", "torch": "2.13.0"},
    versions_after={"transformers": "5.6.0", "torch": "2.13.0"},
)
PATHS = Difference(
    ModelIdentity("m"),
    ModelIdentity("m"),
    10,
    12,
    (CLIP, LLAMA),
    paths=(
        PathChange("model.language_model.layers.*.rotary_emb", "module", 33, "RotaryEmbedding", None),
        PathChange("model.language_model.rotary_emb", "module", 1, None, "RotaryEmbedding"),
        PathChange("model.language_model.layers.*.bias", "parameter", 32, None, "4096"),
        PathChange("model.language_model.scale", "parameter", 1, "", "2 x 2"),
        *(PathChange(f"model.vision_tower.part_{index}", "module", 1, None, "Part") for index in range(9)),
    ),
)
UNKNOWN = Difference(
    ModelIdentity("microsoft/Phi-3-vision-128k-instruct", source="catalogue"),
    ModelIdentity("HuggingFaceM4/idefics2-8b", source="catalogue"),
    None,
    8_402_768_112,
    (
        ComponentPair(VISION, "", "model.vision_model", None, 417_792_240, None, "Idefics2Vision", None, 27),
        ComponentPair(PROJECTOR, None, "model.connector", None, 743_219_200, None, "Idefics2Connector"),
        replace(LLAMA, before="", class_before=None, parameters_before=None),
    ),
    (
        Change((), "model type", "phi3_v", "idefics2"),
        Change((TEXT,), "width", 3072, 4096, (2,)),
        Change((TEXT,), "rotary", before=False, after=True, pairs=(2,)),
        Change((TEXT,), "layer order", None, ("sliding attention", "sliding attention", "full attention") * 10, (2,)),
        Change((TEXT,), "norms", ("a_norm", "b_norm"), tuple(f"norm_{index}" for index in range(20)), (2,)),
    ),
    incomparable=(
        Incomparable((), "module paths", "remote code"),
        Incomparable((VISION,), "class", "remote code", None, (0,)),
        Incomparable((VISION,), "layers", "remote code", None, (0,)),
        Incomparable((PROJECTOR,), "component", "remote code", None, (1,)),
        Incomparable((TEXT,), "attention", "remote code", "no headers", (2,)),
        Incomparable((HEAD,), "component", "remote code", "remote code"),
    ),
)
COMPONENTS = Difference(
    ModelIdentity("one"),
    ModelIdentity("two"),
    10,
    30,
    (
        replace(CLIP, after=None, class_after=None, parameters_after=None, layers_after=None),
        replace(CLIP, before=None, class_before=None, parameters_before=None, layers_before=None),
        replace(LINEAR, parameters_after=7),
    ),
    (
        Change((VISION,), "component", "CLIPVisionModel", None, (0,)),
        Change((VISION,), "component", None, "CLIPVisionModel", (1,)),
        Change((HEAD,), "parameters", 525_344_768, 7, (2,)),
    ),
)
SAME = Difference(ModelIdentity("one"), ModelIdentity("two"), 10, 10, (CLIP, LLAMA))
SAME_BUT_UNKNOWN = replace(
    SAME,
    incomparable=tuple(fact for fact in UNKNOWN.incomparable if fact.pairs != (2,)),
    versions_before={"transformers": "5.5.4"},
    versions_after={"transformers": "5.6.0"},
)

DIFFERENCES = {
    "towers": TOWERS,
    "vocabulary": VOCABULARY,
    "upgrade": UPGRADE,
    "paths": PATHS,
    "unknown": UNKNOWN,
    "components": COMPONENTS,
    "same": SAME,
    "same_but_unknown": SAME_BUT_UNKNOWN,
}


def named(name):
    """A difference in which every name is `name`."""
    change = Change((VISION,), f"module {name}", name, None, (0,))
    tower = ComponentPair(VISION, name, f"{name}.inner", 1, 2, name, name, 1, 2)
    return Difference(
        ModelIdentity(name, name),
        ModelIdentity(name),
        1,
        2,
        (tower, replace(tower, role=TEXT, after=name)),
        (change, replace(change, before=(name, name), after=(name,), field="steps")),
        (Move(name, f"{name}.x", 2),),
        (PathChange(name, "module", 1, name, None), PathChange(name, "parameter", 2, None, name)),
        (Incomparable((VISION,), name, name, None, (0,)),),
        {"transformers": name},
        {"transformers": f"{name}2"},
    )

"""Hand-written records of real models."""

from msgspec.structs import replace

from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    Component,
    Evidence,
    Experts,
    HeadInfo,
    ImageInput,
    Layer,
    LayerStack,
    Mlp,
    Norm,
    Parameters,
    Role,
)
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.stages import (
    ActivationStage,
    BlockStage,
    ConvStage,
    EmbeddingStage,
    LinearStage,
    MlpStage,
    NormStage,
    ParameterStage,
    PoolingStage,
)

VERSIONS = {"transformers": "5.23.0", "torch": "2.13.0"}
FLASH = ("flash_attention", "flex_attention", "sdpa")
REASON = "needs remote code"
COMMIT = "b234b804b114d9e37bb655e11cbbb5f5e971b7a9"
NO_SUCH_MODULE = "no module of the built model has this role; all parameters are in the components listed"


def linear(inputs, outputs, path=""):
    return LinearStage("Linear", path, in_features=inputs, out_features=outputs)


def act(name="GELUActivation"):
    return ActivationStage(name)


def norm_stage(width, eps=1e-6, name="LayerNorm"):
    return NormStage(name, width=width, eps=eps)


def patches(width, size=14, name="Conv2d"):
    kernel = (size, size) if name == "Conv2d" else (2, size, size)
    return ConvStage(name, "embeddings.patch_embedding", in_channels=3, out_channels=width, kernel_size=kernel)


def table(entries, width, name="Embedding"):
    return EmbeddingStage(name, "embeddings.position_embedding", num_embeddings=entries, embedding_dim=width)


def norms(class_name, width, eps, *names):
    return tuple(Norm(class_name, width, eps, name) for name in names)


def multi_head(class_name, heads, width):
    return Attention(class_name, "multi-head", heads, heads, width)


def grouped(class_name, heads, shared, width, **more):
    return Attention(class_name, "grouped-query", heads, shared, width, **more)


def mlp(class_name, inner, hidden, *, gated, activation, **more):
    return Mlp(class_name, inner, hidden, inner, gated, activation, **more)


def vision_layer(prefix, width, hidden, parameters, *, eps, activation="GELUTanh", mlp_prefix=None):
    return Layer(
        f"{prefix}EncoderLayer",
        parameters,
        multi_head(f"{mlp_prefix or prefix}Attention", 16, width // 16),
        mlp(f"{mlp_prefix or prefix}MLP", width, hidden, gated=False, activation=activation),
        norms("LayerNorm", width, eps, "layer_norm1", "layer_norm2"),
    )


def clip_tower(path="model.vision_tower", image=336, entries=577, parameters=303_507_456):
    layer = vision_layer("CLIP", 1024, 4096, 12_596_224, eps=1e-5, activation="QuickGELUActivation")
    return Component(
        Role.VISION_ENCODER,
        (path,),
        "CLIPVisionModel",
        parameters,
        1024,
        (LayerStack(f"{path}.encoder.layers", 24, (layer,)),),
        (patches(1024), table(entries, 1024)),
        image=ImageInput((image, image)),
        evidence=(
            Evidence(
                f"vision_encoder at {path}",
                "accessor",
                f'get_encoder(modality="image") answered {path}',
            ),
        ),
    )


def so400m_tower(class_name, prefix, path, image, entries, parameters, mlp_prefix=None):
    layer = vision_layer(prefix, 1152, 4304, 15_239_504, eps=1e-6, mlp_prefix=mlp_prefix)
    return Component(
        Role.VISION_ENCODER,
        (path,),
        class_name,
        parameters,
        1152,
        (LayerStack(f"{path}.encoder.layers", 27, (layer,)),),
        (patches(1152), table(entries, 1152)),
        image=ImageInput((image, image)),
    )


def llava_projector(width=1024):
    return Component(
        Role.PROJECTOR,
        ("model.multi_modal_projector",),
        "LlavaMultiModalProjector",
        20_979_712,
        stages=(linear(width, 4096), act(), linear(4096, 4096)),
    )


def decoder_layer(prefix, width, hidden, parameters, attention, *, activation="SiLUActivation", eps=1e-5):
    return Layer(
        f"{prefix}DecoderLayer",
        parameters,
        attention,
        mlp(f"{prefix}MLP", width, hidden, gated=True, activation=activation),
        norms(f"{prefix}RMSNorm", width, eps, "input_layernorm", "post_attention_layernorm"),
    )


def language(path, class_name, parameters, width, entries, count, layer):
    return Component(
        Role.LANGUAGE_MODEL,
        (path,),
        class_name,
        parameters,
        width,
        (LayerStack(f"{path}.layers", count, (layer,)),),
        (EmbeddingStage("Embedding", f"{path}.embed_tokens", num_embeddings=entries, embedding_dim=width),),
    )


def llama(path="model.language_model"):
    layer = decoder_layer("Llama", 4096, 11008, 202_383_360, multi_head("LlamaAttention", 32, 128))
    return language(path, "LlamaModel", 6_607_605_760, 4096, 32064, 32, layer)


def lm_head(width, entries, parameters=None, tied_to=None):
    count = width * entries if parameters is None else parameters
    return Component(
        Role.LM_HEAD,
        ("lm_head",),
        "Linear",
        count,
        stages=(linear(width, entries, "lm_head"),),
        head=HeadInfo(tied_to) if tied_to else None,
    )


def record(id_, model_type, model_class, components, total, **more):
    return Architecture(
        model=ModelIdentity(id_, more.pop("revision", None), more.pop("source", "hub")),
        model_type=model_type,
        model_class=model_class,
        builder="transformers",
        components=components,
        parameters=Parameters(total, more.pop("ties", ())),
        attention_backends=more.pop("attention_backends", FLASH),
        versions=VERSIONS,
        **more,
    )


LLAVA = record(
    "llava-hf/llava-1.5-7b-hf",
    "llava",
    "LlavaForConditionalGeneration",
    (clip_tower(), llava_projector(), llama(), lm_head(4096, 32064)),
    7_063_427_072,
    revision=COMMIT,
)

IDEFICS2 = record(
    "HuggingFaceM4/idefics2-8b-base",
    "idefics2",
    "Idefics2ForConditionalGeneration",
    (
        so400m_tower(
            "Idefics2VisionTransformer",
            "Idefics2",
            "model.vision_model",
            980,
            4900,
            417_792_240,
            mlp_prefix="Idefics2Vision",
        ),
        Component(
            Role.PROJECTOR,
            ("model.connector",),
            "Idefics2Connector",
            743_219_200,
            4096,
            stages=(
                MlpStage(
                    "Idefics2MLP",
                    "model.connector.modality_projection",
                    in_features=1152,
                    hidden_features=14336,
                    out_features=4096,
                ),
                BlockStage(
                    "Idefics2PerceiverResampler",
                    "model.connector.perceiver_resampler",
                    num_layers=3,
                    num_queries=64,
                ),
            ),
        ),
        language(
            "model.text_model",
            "MistralModel",
            7_110_668_288,
            4096,
            32002,
            32,
            decoder_layer("Mistral", 4096, 14336, 218_112_000, grouped("MistralAttention", 32, 8, 128)),
        ),
        lm_head(4096, 32002),
    ),
    8_402_759_920,
)


def config_only_part(role, layers, width, hidden, heads):
    unknown = {"parameters": REASON, "paths": REASON, "embeddings": REASON, "class_name": REASON}
    layer = Layer(
        attention=Attention(heads=heads, unknown={"class_name": REASON}),
        mlp=Mlp(None, width, hidden, width, unknown={"class_name": REASON}),
        unknown={"class_name": REASON, "norms": REASON},
    )
    stacks = (LayerStack("", layers, (layer,)),) if layers else ()
    if not layers:
        unknown["stacks"] = REASON
    return Component(role, width=width, stacks=stacks, unknown=unknown)


PHI3 = Architecture(
    model=ModelIdentity("microsoft/Phi-3-vision-128k-instruct", None, "catalogue"),
    model_type="phi3_v",
    model_class="Phi3VForCausalLM",
    builder="config",
    components=(
        config_only_part(Role.VISION_ENCODER, None, None, None, None),
        config_only_part(Role.LANGUAGE_MODEL, 32, 3072, 8192, 32),
    ),
    parameters=Parameters(unknown={"total": REASON}),
    unknown={"projector": REASON, "lm_head": REASON, "attention_backends": REASON},
    notes=("Phi3VForCausalLM is code of its own repo. This answer is from the configuration alone.",),
)

FUYU = record(
    "adept/fuyu-8b",
    "fuyu",
    "FuyuForCausalLM",
    (
        language(
            "model.language_model",
            "PersimmonModel",
            8_323_433_472,
            4096,
            262144,
            36,
            Layer(
                "PersimmonDecoderLayer",
                201_380_096,
                multi_head("PersimmonAttention", 64, 64),
                mlp("PersimmonMLP", 4096, 16384, gated=False, activation="ReLUSquaredActivation"),
                norms("LayerNorm", 4096, 1e-5, "input_layernorm", "post_attention_layernorm"),
            ),
        ),
        Component(
            Role.PROJECTOR,
            ("model.vision_embed_tokens",),
            "Linear",
            11_063_296,
            stages=(linear(2700, 4096),),
        ),
        lm_head(4096, 262144),
    ),
    9_408_238_592,
    absent={"vision_encoder": NO_SUCH_MODULE},
)


def mllama_vision_layer(parameters):
    return Layer(
        "MllamaVisionEncoderLayer",
        parameters,
        multi_head("MllamaVisionAttention", 16, 80),
        mlp("MllamaVisionMLP", 1280, 5120, gated=False, activation="GELUActivation"),
        norms("LayerNorm", 1280, 1e-5, "input_layernorm", "post_attention_layernorm"),
    )


def mllama_text_layer(sort, parameters, *, cross):
    attention = grouped(f"MllamaText{sort}Attention", 32, 8, 128, cross=cross)
    return Layer(
        f"Mllama{sort}AttentionDecoderLayer",
        parameters,
        attention,
        mlp("MllamaTextMLP", 4096, 14336, gated=True, activation="SiLUActivation"),
        norms("MllamaTextRMSNorm", 4096, 1e-5, "input_layernorm", "post_attention_layernorm"),
    )


MLLAMA_ORDER = tuple(int(index % 5 == 3) for index in range(40))

MLLAMA = record(
    "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "mllama",
    "MllamaForConditionalGeneration",
    (
        Component(
            Role.VISION_ENCODER,
            ("model.vision_model",),
            "MllamaVisionModel",
            863_567_379,
            1280,
            (
                LayerStack("model.vision_model.transformer.layers", 32, (mllama_vision_layer(19_672_320),)),
                LayerStack("model.vision_model.global_transformer.layers", 8, (mllama_vision_layer(19_672_322),)),
            ),
            (
                patches(1280),
                EmbeddingStage("Parameter", "model.vision_model.position", num_embeddings=1601, embedding_dim=1280),
                table(9, 8197120),
                table(9, 5120),
                table(9, 5120),
            ),
            image=ImageInput((560, 560)),
        ),
        Component(
            Role.LANGUAGE_MODEL,
            ("model.language_model",),
            "MllamaTextModel",
            9_249_855_504,
            4096,
            (
                LayerStack(
                    "model.language_model.layers",
                    40,
                    (
                        mllama_text_layer("Self", 218_112_000, cross=False),
                        mllama_text_layer("Cross", 218_112_258, cross=True),
                    ),
                    MLLAMA_ORDER,
                ),
            ),
            (
                EmbeddingStage(
                    "Embedding",
                    "model.language_model.embed_tokens",
                    num_embeddings=128264,
                    embedding_dim=4096,
                ),
            ),
        ),
        Component(
            Role.PROJECTOR,
            ("model.multi_modal_projector",),
            "Linear",
            31_461_376,
            stages=(linear(7680, 4096),),
        ),
        lm_head(4096, 128256),
    ),
    10_670_220_835,
    attention_backends=("flex_attention", "sdpa"),
)

VIDEO_LLAVA = record(
    "LanguageBind/Video-LLaVA-7B-hf",
    "video_llava",
    "VideoLlavaForConditionalGeneration",
    (
        clip_tower("model.video_tower", 224, 257, 303_179_776),
        clip_tower("model.image_tower", 224, 257, 303_179_776),
        replace(llava_projector(), class_name="VideoLlavaMultiModalProjector"),
        llama(),
        lm_head(4096, 32064),
    ),
    7_366_279_168,
    attention_backends=("flash_attention", "sdpa"),
)


def gemma_layer(window):
    return Layer(
        "Gemma3DecoderLayer",
        94_382_592,
        grouped("Gemma3Attention", 8, 4, 256, sliding_window=window),
        mlp("Gemma3MLP", 2560, 10240, gated=True, activation="GELUTanh"),
        norms(
            "Gemma3RMSNorm",
            2560,
            1e-6,
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
    )


EMBEDDING = "model.language_model.embed_tokens.weight"

GEMMA3 = record(
    "google/gemma-3-4b-it",
    "gemma3",
    "Gemma3ForConditionalGeneration",
    (
        so400m_tower("SiglipVisionModel", "Siglip", "model.vision_tower", 896, 4096, 416_866_032),
        Component(
            Role.PROJECTOR,
            ("model.multi_modal_projector",),
            "Gemma3MultiModalProjector",
            2_950_272,
            stages=(
                norm_stage(1152, name="Gemma3RMSNorm"),
                PoolingStage("AvgPool2d", kernel_size=(4,)),
                ParameterStage("Parameter", "mm_input_projection_weight", shape=(1152, 2560)),
            ),
        ),
        Component(
            Role.LANGUAGE_MODEL,
            ("model.language_model",),
            "Gemma3TextModel",
            3_880_263_168,
            2560,
            (
                LayerStack(
                    "model.language_model.layers",
                    34,
                    (gemma_layer(1024), gemma_layer(None)),
                    tuple(int(index % 6 == 5) for index in range(34)),
                ),
            ),
            (EmbeddingStage("Gemma3TextScaledWordEmbedding", EMBEDDING, num_embeddings=262208, embedding_dim=2560),),
        ),
        lm_head(2560, 262208, parameters=0, tied_to=EMBEDDING),
    ),
    4_300_079_472,
    ties=((EMBEDDING, "lm_head.weight"),),
)


def qwen_layer(attention):
    return Layer(
        "Qwen3_5MoeDecoderLayer",
        840_000_000,
        attention,
        mlp(
            "Qwen3_5MoeSparseMoeBlock",
            2048,
            512,
            gated=True,
            activation="SiLUActivation",
            experts=(Experts(256, 8, 512),),
        ),
        norms("Qwen3_5MoeRMSNorm", 2048, 1e-6, "input_layernorm", "post_attention_layernorm"),
    )


def merger(*inner):
    return Component(Role.PROJECTOR, ("model.visual.merger",), "Qwen3_5MoeVisionPatchMerger", 30_679_808, stages=inner)


MERGER_STEPS = (linear(4608, 4608), act("GELU"), linear(4608, 2048))

# a made-up model of real parts: experts, a layered pattern, several mergers, and every other role
QWEN = record(
    "Qwen/Qwen3.5-VL-Omni",
    "qwen3_5_moe",
    "Qwen3_5MoeForConditionalGeneration",
    (
        replace(
            so400m_tower("Qwen3_5MoeVisionModel", "Qwen3_5MoeVision", "model.visual", 0, 2304, 415_891_440),
            image=None,
            embeddings=(patches(1152, 16, "Conv3d"), table(2304, 1152)),
        ),
        merger(norm_stage(1152), *MERGER_STEPS),
        replace(merger(*(norm_stage(4608), *MERGER_STEPS) * 3), paths=("model.visual.deepstack",)),
        Component(
            Role.LANGUAGE_MODEL,
            ("model.language_model",),
            "Qwen3_5MoeTextModel",
            34_152_051_328,
            2048,
            (
                LayerStack(
                    "model.language_model.layers",
                    40,
                    (
                        qwen_layer(Attention("Qwen3_5MoeGatedDeltaNet", heads=16, mechanism="linear attention")),
                        qwen_layer(grouped("Qwen3_5MoeAttention", 32, 2, 256)),
                    ),
                    (0, 0, 0, 1) * 10,
                ),
            ),
        ),
        lm_head(2048, 248320),
        Component(Role.AUDIO_ENCODER, ("model.audio_tower",), "Qwen3OmniAudioEncoder", 635_000_000),
        Component(Role.GENERATOR, ("talker",), "Qwen3OmniTalker", 3_000_000_000),
        Component(Role.OTHER, ("model.image_newline",), "Parameter", 4096),
    ),
    34_152_051_328 + 415_891_440 + 2 * 30_679_808 + 2048 * 248320 + 635_000_000 + 3_000_000_000 + 4096,
)

RECORDS = {
    "llava": LLAVA,
    "idefics2": IDEFICS2,
    "phi3": PHI3,
    "fuyu": FUYU,
    "mllama": MLLAMA,
    "video_llava": VIDEO_LLAVA,
    "gemma3": GEMMA3,
    "qwen": QWEN,
}

"""Codecs and tokenizers of sound and images: the encoder half reads, the decoder half generates."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from tests.anatomy.small_trees import TEXT, VISION, WORDS, convolution, linear, model, module, roles, table, text
from tests.every_type.answers import record_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.anatomy.module_kinds import convolution_channels, leaves
from vlm_inspect.builders.forward.call_order import read_decoder_half
from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.module_tree import read_model
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity

AUDIO, VISION_ENCODER, GENERATOR = Role.AUDIO_ENCODER.value, Role.VISION_ENCODER.value, Role.GENERATOR.value
LANGUAGE, PROJECTOR, OTHER = Role.LANGUAGE_MODEL.value, Role.PROJECTOR.value, Role.OTHER.value

WHOLE_MODELS = {
    "DacModel": ({"encoder", "quantizer"}, {"decoder"}),
    "EncodecModel": ({"encoder"}, {"decoder"}),
    "MimiModel": ({"encoder", "quantizer"}, {"decoder"}),
    "NeuCodecModel": (
        {"semantic_encoder", "semantic_adapter", "acoustic_encoder", "fc_encoder", "quantizer"},
        {"acoustic_decoder"},
    ),
    "PocketTTSAudioTokenizerModel": ({"encoder"}, {"decoder", "latent_proj"}),
    "VibeVoiceAcousticTokenizerModel": ({"encoder"}, {"decoder"}),
    "WavTokenizerEncoderModel": ({"encoder"}, set()),
    "WavTokenizerModel": ({"encoder_model"}, {"backbone", "head"}),
    "XcodecModel": (
        {"acoustic_encoder", "encoder_semantic", "semantic_model", "fc", "fc1"},
        {"acoustic_decoder", "decoder_semantic", "fc2"},
    ),
}
INSIDE = {
    "CsmForConditionalGeneration": {
        AUDIO: [("codec_model",)],
        GENERATOR: [("depth_decoder",), ("codec_model.decoder",)],
        LANGUAGE: [("backbone_model", "embed_text_tokens")],
    },
    "GlmImageForConditionalGeneration": {VISION_ENCODER: [("model.visual",), ("model.vqmodel",)]},
    "HiggsAudioV2ForConditionalGeneration": {LANGUAGE: [("model",)], GENERATOR: [("audio_lm_head",)]},
    "MoshiForConditionalGeneration": {
        AUDIO: [("audio_encoder",)],
        GENERATOR: [("audio_encoder.decoder",), ("depth_decoder",)],
        LANGUAGE: [("decoder", "embed_tokens")],
    },
    "MusicgenForConditionalGeneration": {
        AUDIO: [("audio_encoder",)],
        GENERATOR: [("audio_encoder.decoder",), ("decoder",)],
    },
    "MusicgenMelodyForConditionalGeneration": {
        AUDIO: [("audio_encoder",)],
        GENERATOR: [("audio_encoder.decoder",), ("decoder",)],
    },
    "VibeVoiceForConditionalGeneration": {
        AUDIO: [("model.audio_tower",), ("model.semantic_tokenizer_encoder",)],
        GENERATOR: [("model.audio_tower.decoder",), ("model.diffusion_head",)],
    },
}


def described(class_name):
    config = getattr(transformers, class_name).config_class().to_dict()
    tree = build.build({**config, "architectures": [class_name]}, class_name)
    return describe(tree, ModelIdentity(class_name, source="local"), "transformers")


def paths(record, role):
    return [part.paths for part in record.components if part.role.value == role]


def assert_sums(record):
    assert sum(part.parameters for part in record.components) == record.parameters.total


@pytest.mark.parametrize(("class_name", "halves"), WHOLE_MODELS.items(), ids=WHOLE_MODELS)
def test_a_model_that_is_a_codec_has_two_halves(class_name, halves):
    record = described(class_name)
    found = [{path for part in paths(record, role) for path in part} for role in (AUDIO, GENERATOR)]
    assert found == [*halves]
    assert {part.role.value for part in record.components} <= {AUDIO, GENERATOR}
    assert "embeds like text" not in record.absent["projector"]
    assert_sums(record)


@pytest.mark.parametrize(("class_name", "expected"), INSIDE.items(), ids=INSIDE)
def test_a_codec_inside_a_model(class_name, expected):
    record = described(class_name)
    assert {role: paths(record, role) for role in expected} == expected
    assert not paths(record, OTHER)
    assert_sums(record)


def test_a_codec_of_weight_normed_convolutions_is_an_audio_encoder():
    record = record_of("apertus1p5")
    assert paths(record, AUDIO) == [("model.audio_tokenizer",)]
    assert not paths(record, PROJECTOR)
    assert [(each.modality, each.steps) for each in record.inputs] == [
        ("image", ("codes", "placeholders")),
        ("audio", ("codes", "placeholders")),
    ]


TOKENIZERS = {
    "chameleon": (VISION_ENCODER, "model.vqmodel"),
    "emu3": (VISION_ENCODER, "model.vqmodel"),
    "janus": (GENERATOR, "model.vqmodel"),
    "kyutai_speech_to_text": (AUDIO, "codec_model"),
}


@pytest.mark.parametrize(("model_type", "expected"), TOKENIZERS.items(), ids=TOKENIZERS)
def test_what_makes_tokens_of_images_or_sound_is_no_projector(model_type, expected):
    role, path = expected
    assert (path,) in paths(record_of(model_type), role)
    assert not any(at.startswith(path) for part in paths(record_of(model_type), PROJECTOR) for at in part)


class Codec(nn.Module):
    """A codec whose halves have names that say nothing."""

    def __init__(self):
        super().__init__()
        self.a, self.quantizer, self.b, self.c = (nn.Linear(4, 4) for _ in range(4))

    def encode(self, x):
        return self.quantizer(self._first(x))

    def _first(self, x):
        return self.a(x)

    def decode(self, codes):
        return self.c(self.b(self.quantizer(codes)))


def test_the_decoder_half_is_what_only_decode_uses():
    assert read_decoder_half(Codec()) == ("b", "c")
    assert read_decoder_half(nn.Linear(4, 4)) == ()


@pytest.mark.parametrize("normed", [weight_norm, nn.utils.parametrizations.spectral_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_convolution_with_a_computed_weight_is_a_convolution(normed):
    class Stem(nn.Module):
        config = transformers.PretrainedConfig()

        def __init__(self):
            super().__init__()
            self.conv = normed(nn.Conv1d(1, 8, 7))

    with torch.device("cpu"):
        conv = read_model(Stem(), Stem.config).find("conv")
    assert (conv.class_name, convolution_channels(conv)) == ("Conv1d", (1, 8))
    assert [path for path, _ in leaves(conv, "conv")] == ["conv"]


def test_convolutions_before_a_recurrent_network_are_an_encoder():
    recurrent = module("LSTM", weight_ih_l0=(4 * VISION, VISION), weight_hh_l0=(4 * VISION, VISION))
    reader = module("Reader", stem=convolution(1, VISION, 7), rnn=recurrent)
    found = roles(model(first=reader, bridge=linear(VISION, TEXT), language_model=text()))
    assert (found["audio_encoder"], found["projector"]) == ([("first",)], [("bridge",)])


def test_a_quantizer_reads_what_its_name_says_where_no_convolution_shows_it():
    tokenizer = module("Tokenizer", down=linear(VISION, VISION), quantizer=table(512, VISION))
    found = roles(
        model(audio_tokenizer=tokenizer, vision=module("V", patches=convolution(3, 8, 4, 4)), language=text())
    )
    assert found["audio_encoder"] == [("audio_tokenizer",)]


def test_a_table_of_codes_next_to_the_text_layers_belongs_to_the_language_model():
    found = roles(model(language_model=text(), embed_audio_codes=table(2048, TEXT), audio_head=linear(TEXT, 2048)))
    assert found["language_model"] == [("language_model", "embed_audio_codes")]
    assert found["generator"] == [("audio_head",)]
    # one with another width is not added to the text's embeddings
    found = roles(model(language_model=text(), embed_audio_codes=table(WORDS, TEXT // 2)))
    assert found["language_model"] == [("language_model",)]

"""The finders and refinements that assign roles, each on a small tree."""

from tests.anatomy.small_trees import (
    TEXT,
    VISION,
    WORDS,
    audio_encoder,
    convolution,
    layers,
    linear,
    model,
    module,
    norm,
    roles,
    table,
    text,
    tower,
)
from vlm_inspect.anatomy.roles import role_rules
from vlm_inspect.anatomy.roles.assign_roles import find_roles
from vlm_inspect.core.architecture import Role


def test_a_family_beats_an_accessor(monkeypatch):
    family = role_rules.Family("SomeForConditionalGeneration", {"thing": Role.GENERATOR}, "it draws")
    monkeypatch.setattr(role_rules, "FAMILIES", (family,))
    tree = model({"get_encoder(image)": "thing"}, thing=tower(), language_model=text())
    (generator,) = (assigned for assigned in find_roles(tree) if assigned.role is Role.GENERATOR)
    assert (generator.paths, generator.rule, generator.detail) == (("thing",), "family", "it draws")


def test_an_accessor_beats_a_name():
    accessors = {"get_encoder(image)": "projector", "get_encoder(audio)": ""}
    found = roles(model(accessors, projector=tower(), language_model=text()))
    assert found["vision_encoder"] == [("projector",)]


def test_an_accessor_with_one_result_for_images_and_audio_is_ignored():
    accessors = {"get_encoder(image)": "thing", "get_encoder(audio)": "thing"}
    reader = module("Reader", embed_tokens=table(WORDS, TEXT), layers=layers(TEXT))
    found = roles(model(accessors, thing=reader, language_model=text()))
    assert "vision_encoder" not in found


def test_an_encoder_by_accessor_needs_neither_attention_nor_convolutions():
    folds = module("ModuleList", **{"0": module("FoldLayer", projection=linear(12, VISION))})
    accessors = {"get_encoder(image)": "vision_tower", "get_encoder(audio)": ""}
    found = roles(model(accessors, vision_tower=module("FoldModel", folds=folds), language_model=text()))
    assert found["vision_encoder"] == [("vision_tower",)]


def test_a_module_named_for_audio_without_layers_is_a_projector():
    embed = module("Embedder", projection=linear(VISION, TEXT))
    found = roles(model(audio_tower=audio_encoder(), embed_audio=embed, language_model=text()))
    assert found["audio_encoder"] == [("audio_tower",)]
    assert found["projector"] == [("embed_audio",)]


def test_layers_behind_a_convolution_over_a_waveform_are_an_audio_encoder():
    found = roles(model(first=audio_encoder(), bridge=linear(VISION, TEXT), language_model=text()))
    assert found["audio_encoder"] == [("first",)]


def test_layers_behind_a_convolution_over_pixels_are_a_vision_encoder():
    found = roles(model(first=tower(), bridge=linear(VISION, TEXT), language_model=text()))
    assert found["vision_encoder"] == [("first",)]


def test_a_convolution_over_pixels_without_layers_is_a_projector():
    found = roles(model(patches=module("Patches", proj=convolution(3, TEXT, 8, 8)), language_model=text()))
    assert found["projector"] == [("patches",)]
    assert "vision_encoder" not in found


def test_linears_to_the_text_width_are_a_projector_whatever_their_name():
    mlp = module("Sequential", **{"0": norm(128), "1": linear(128, TEXT), "2": linear(TEXT, TEXT)})
    inner = text("InnerModel")
    found = roles(model(vision_model=tower(), mlp1=mlp, language_model=module("LM", model=inner)))
    assert found["projector"] == [("mlp1",)]


def test_a_text_model_has_no_projector():
    found = roles(model(model=text(), between=linear(TEXT, TEXT), patch_projection=linear(8, 16)))
    assert set(found) == {"language_model", "lm_head"}


def test_a_projection_next_to_the_text_layers_belongs_to_the_language_model():
    language = text(
        per_layer_projection=linear(TEXT, 4 * TEXT), per_layer_projection_norm=norm(TEXT), pooler=norm(TEXT)
    )
    found = roles(model(vision_tower=tower(), multi_modal_projector=linear(VISION, TEXT), language_model=language))
    assert found["projector"] == [("multi_modal_projector",)]


def test_a_projection_next_to_the_text_layers_is_a_projector_if_named_for_images():
    language = text(vision_tower=tower(), mm_projector=linear(TEXT, TEXT), visual_projection=linear(TEXT, TEXT))
    found = roles(model(model=language))
    assert found["projector"] == [("model.mm_projector",), ("model.visual_projection",)]
    assert found["language_model"] == [("model",)]


def test_an_encoder_with_the_texts_vocabulary_is_a_language_model():
    reader = module("Stack", embed_tokens=table(WORDS, TEXT), patches=convolution(3, TEXT, 8, 8), layers=layers(TEXT))
    found = roles(model(shared=table(WORDS, TEXT), encoder=reader, decoder=reader))
    assert found["language_model"] == [("shared", "encoder", "decoder")]


def test_an_encoder_with_another_vocabulary_is_other():
    proteins = module(
        "ProteinEncoder",
        model=module("Inner", word_embeddings=table(30, VISION), layers=layers(VISION)),
        resampler=module("Compressor", latents=(8, VISION), out=linear(VISION, TEXT)),
    )
    found = roles(model(model=text(protein_encoder=proteins)))
    assert found["other"] == [("model.protein_encoder",)]
    assert found["projector"] == [("model.protein_encoder.resampler",)]
    assert found["language_model"] == [("model",)]


def test_a_wrapper_of_an_encoder_and_its_projector_has_no_role():
    image = module("ImageEmbedding", img_processor=tower(), img_projection=linear(VISION, TEXT), gate=(VISION,))
    found = roles(model(model=text(embed_extend=module("Both", image_embed=image))))
    assert found["vision_encoder"] == [("model.embed_extend.image_embed.img_processor",)]
    assert found["projector"] == [
        ("model.embed_extend.image_embed.img_projection", "model.embed_extend.image_embed.gate")
    ]


def test_a_transformer_and_its_patch_embedding_are_one_encoder():
    whole = module(
        "VisionModel",
        patches=convolution(3, VISION, 8, 8),
        model=module("VisionEncoder", layers=layers(VISION)),
        vision_adapter=linear(VISION, TEXT),
    )
    found = roles(model(vision_model=whole, language_model=text()))
    assert found["vision_encoder"] == [("vision_model",)]
    assert found["projector"] == [("vision_model.vision_adapter",)]


def test_two_encoders_of_two_widths_in_one_tower_are_split():
    both = module(
        "VisionModel",
        sam_encoder=tower("SamEncoder", 16),
        clip_encoder=tower("ClipEncoder"),
        clip_queries=(4, VISION),
        sam_norm=norm(16),
        gate=(1,),
    )
    found = roles(model(vision_tower=both, language_model=text()))
    assert found["vision_encoder"] == [
        ("vision_tower.sam_encoder", "vision_tower.sam_norm"),
        ("vision_tower.clip_encoder", "vision_tower.clip_queries", "vision_tower.gate"),
    ]


def test_two_stacks_of_one_width_in_one_tower_are_one_encoder():
    stack = module("Encoder", layers=layers(VISION))
    other = module("Encoder", layers=layers(VISION, count=4))
    both = module("VisionModel", patches=convolution(3, VISION, 8, 8), local=stack, all=other)
    assert roles(model(vision_tower=both, language_model=text()))["vision_encoder"] == [("vision_tower",)]


def codec(*halves):
    modules = {"encoder": tower("Encoder"), "decoder": module("Decoder", layers=layers(VISION))}
    children = {name: modules[name] for name in halves}
    return module("Codec", **children, quantize=module("VectorQuantizer", codes=table(64, VISION)))


def test_a_codec_without_a_decoder_is_an_encoder():
    found = roles(model(model=module("Both", vqmodel=codec("encoder"), language_model=text())))
    assert found["vision_encoder"] == [("model.vqmodel",)]
    assert "generator" not in found


def test_the_decoder_half_of_a_codec_is_a_generator():
    found = roles(model(model=module("Both", vqmodel=codec("encoder", "decoder"), language_model=text())))
    assert found["vision_encoder"] == [("model.vqmodel",)]
    assert found["generator"] == [("model.vqmodel.decoder",)]


def test_a_codec_in_a_model_with_another_encoder_is_a_generator():
    halves = codec("encoder", "decoder")
    found = roles(model(model=module("Both", vision_tower=tower(), vqmodel=halves, language_model=text())))
    assert found["vision_encoder"] == [("model.vision_tower",)]
    assert found["generator"] == [("model.vqmodel",)]


def test_a_talker_is_a_generator_as_a_whole():
    talker = module("Talker", thinker_to_talker_proj=linear(TEXT, 16), model=text("Inner"), codec_head=linear(TEXT, 9))
    thinker = module("Thinker", model=module("Inner", language_model=text()), lm_head=linear(TEXT, WORDS))
    tree = model(thinker=thinker, talker=talker, lm_head=norm(1))
    found = roles(tree)
    assert found["generator"] == [("talker",)]
    assert found["language_model"] == [("thinker.model.language_model",)]


def test_the_final_projection_of_an_audio_encoder_is_a_projector():
    encoder = audio_encoder(
        ln_post=norm(VISION), proj1=linear(VISION, VISION), proj2=linear(VISION, TEXT), proj_norm=norm(TEXT)
    )
    found = roles(model(audio_tower=encoder, language_model=text()))
    assert found["projector"] == [("audio_tower.proj1", "audio_tower.proj2", "audio_tower.proj_norm")]


def test_a_final_projection_before_another_projector_belongs_to_the_encoder():
    encoder = audio_encoder(output_proj=linear(VISION, TEXT))
    embed = module("Embedder", projection=linear(TEXT, TEXT))
    found = roles(model(audio_tower=encoder, embed_audio=embed, language_model=text()))
    assert found["projector"] == [("embed_audio",)]


def test_bare_parameters_go_to_the_projector_with_the_most_similar_name():
    found = roles(
        model(
            model=module(
                "Both",
                high_res_alpha=(1,),
                newline=(TEXT,),
                vision_tower=tower(),
                high_res_proj=linear(VISION, TEXT),
                aligner=linear(VISION, TEXT),
                language_model=text(),
            )
        )
    )
    assert found["projector"] == [
        ("model.high_res_proj", "model.high_res_alpha"),
        ("model.aligner", "model.newline"),
    ]


def test_the_path_of_a_language_model_without_other_parts():
    assert roles(model(model=module("Whole", language_model=text())))["language_model"] == [("model.language_model",)]
    assert roles(model(model=text()))["language_model"] == [("model",)]


def test_a_transform_before_the_head_belongs_to_the_head():
    inside = module("Predictions", transform=linear(TEXT, TEXT), decoder=linear(TEXT, WORDS))
    found = roles(model({"get_output_embeddings": "cls.decoder"}, model=text(), cls=inside, lm_head=norm(1)))
    assert found["lm_head"] == [("cls",)]
    siblings = {
        "lm_head": module("Head", dense=linear(TEXT, TEXT), norm=norm(TEXT)),
        "decoder": linear(TEXT, WORDS),
    }
    found = roles(model({"get_output_embeddings": "decoder"}, model=text(), **siblings))
    assert found["lm_head"] == [("lm_head", "decoder")]


def test_every_assignment_has_evidence():
    assignments = find_roles(model(vision_tower=tower(), projector=linear(VISION, TEXT), language_model=text()))
    assert {assigned.role.value: assigned.detail for assigned in assignments} == {
        "vision_encoder": "the name 'vision_tower'",
        "projector": "the name 'projector'",
        "language_model": "the lowest module with the text embedding language_model.embed_tokens and layers",
        "lm_head": "the name 'lm_head'",
    }

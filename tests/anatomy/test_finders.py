"""The rules that give a module its role, each on a tree that is no larger than the rule."""

from tests.anatomy.small_trees import (
    TEXT,
    VISION,
    WORDS,
    convolution,
    layers,
    linear,
    listener,
    model,
    module,
    norm,
    roles,
    table,
    text,
    tower,
)
from vlm_inspect.anatomy.roles.find import find_roles


def test_an_accessor_beats_a_name():
    accessors = {"get_encoder(image)": "projector", "get_encoder(audio)": ""}
    found = roles(model(accessors, projector=tower(), language_model=text()))
    assert found["vision_encoder"] == [("projector",)]


def test_an_accessor_that_answers_alike_for_images_and_sound_is_not_believed():
    accessors = {"get_encoder(image)": "thing", "get_encoder(audio)": "thing"}
    reader = module("Reader", embed_tokens=table(WORDS, TEXT), layers=layers(TEXT))
    found = roles(model(accessors, thing=reader, language_model=text()))
    assert "vision_encoder" not in found


def test_an_encoder_that_an_accessor_names_may_have_neither_attention_nor_convolutions():
    folds = module("ModuleList", **{"0": module("FoldLayer", projection=linear(12, VISION))})
    accessors = {"get_encoder(image)": "vision_tower", "get_encoder(audio)": ""}
    found = roles(model(accessors, vision_tower=module("FoldModel", folds=folds), language_model=text()))
    assert found["vision_encoder"] == [("vision_tower",)]


def test_a_module_named_for_sound_without_layers_is_a_projector():
    embed = module("Embedder", projection=linear(VISION, TEXT))
    found = roles(model(audio_tower=listener(), embed_audio=embed, language_model=text()))
    assert found["audio_encoder"] == [("audio_tower",)]
    assert found["projector"] == [("embed_audio",)]


def test_layers_behind_a_convolution_over_a_wave_hear():
    found = roles(model(first=listener(), bridge=linear(VISION, TEXT), language_model=text()))
    assert found["audio_encoder"] == [("first",)]


def test_layers_behind_a_convolution_over_pixels_see():
    found = roles(model(first=tower(), bridge=linear(VISION, TEXT), language_model=text()))
    assert found["vision_encoder"] == [("first",)]


def test_pixels_that_no_layer_follows_go_straight_to_the_text():
    found = roles(model(patches=module("Patches", proj=convolution(3, TEXT, 8, 8)), language_model=text()))
    assert found["projector"] == [("patches",)]
    assert "vision_encoder" not in found


def test_a_map_without_a_telling_name_that_writes_the_texts_width_projects():
    mlp = module("Sequential", **{"0": norm(128), "1": linear(128, TEXT), "2": linear(TEXT, TEXT)})
    inner = text("InnerModel")
    found = roles(model(vision_model=tower(), mlp1=mlp, language_model=module("LM", model=inner)))
    assert found["projector"] == [("mlp1",)]


def test_a_text_model_projects_nothing():
    found = roles(model(model=text(), between=linear(TEXT, TEXT), patch_projection=linear(8, 16)))
    assert set(found) == {"language_model", "lm_head"}


def test_a_projection_beside_the_texts_own_layers_is_the_texts():
    language = text(
        per_layer_projection=linear(TEXT, 4 * TEXT), per_layer_projection_norm=norm(TEXT), pooler=norm(TEXT)
    )
    found = roles(
        model(vision_tower=tower(), multi_modal_projector=linear(VISION, TEXT), language_model=language)
    )
    assert found["projector"] == [("multi_modal_projector",)]


def test_a_projection_beside_the_texts_own_layers_that_is_named_for_images_is_not():
    language = text(
        vision_tower=tower(), mm_projector=linear(TEXT, TEXT), visual_projection=linear(TEXT, TEXT)
    )
    found = roles(model(model=language))
    assert found["projector"] == [("model.mm_projector",), ("model.visual_projection",)]
    assert found["language_model"] == [("model",)]


def test_an_encoder_of_the_texts_vocabulary_is_language():
    reader = module(
        "Stack", embed_tokens=table(WORDS, TEXT), patches=convolution(3, TEXT, 8, 8), layers=layers(TEXT)
    )
    found = roles(model(shared=table(WORDS, TEXT), encoder=reader, decoder=reader))
    assert found["language_model"] == [("shared", "encoder", "decoder")]


def test_an_encoder_of_another_vocabulary_is_neither_language_nor_vision():
    proteins = module(
        "ProteinEncoder",
        model=module("Inner", word_embeddings=table(30, VISION), layers=layers(VISION)),
        resampler=module("Compressor", latents=(8, VISION), out=linear(VISION, TEXT)),
    )
    found = roles(model(model=text(protein_encoder=proteins)))
    assert found["other"] == [("model.protein_encoder",)]
    assert found["projector"] == [("model.protein_encoder.resampler",)]
    assert found["language_model"] == [("model",)]


def test_a_module_that_holds_a_tower_and_its_projector_is_neither():
    image = module(
        "ImageEmbedding", img_processor=tower(), img_projection=linear(VISION, TEXT), gate=(VISION,)
    )
    found = roles(model(model=text(embed_extend=module("Both", image_embed=image))))
    assert found["vision_encoder"] == [("model.embed_extend.image_embed.img_processor",)]
    assert found["projector"] == [
        ("model.embed_extend.image_embed.img_projection", "model.embed_extend.image_embed.gate")
    ]


def test_a_transformer_whose_patches_are_embedded_beside_it_is_no_tower_of_its_own():
    whole = module(
        "VisionModel",
        patches=convolution(3, VISION, 8, 8),
        model=module("VisionEncoder", layers=layers(VISION)),
        vision_adapter=linear(VISION, TEXT),
    )
    found = roles(model(vision_model=whole, language_model=text()))
    assert found["vision_encoder"] == [("vision_model",)]
    assert found["projector"] == [("vision_model.vision_adapter",)]


def test_two_encoders_of_two_widths_in_one_tower_are_two():
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


def test_two_stacks_of_one_width_in_one_tower_are_one_encoders():
    stack = module("Encoder", layers=layers(VISION))
    other = module("Encoder", layers=layers(VISION, count=4))
    both = module("VisionModel", patches=convolution(3, VISION, 8, 8), local=stack, all=other)
    assert roles(model(vision_tower=both, language_model=text()))["vision_encoder"] == [("vision_tower",)]


def codec(*halves):
    made = {"encoder": tower("Encoder"), "decoder": module("Decoder", layers=layers(VISION))}
    children = {name: made[name] for name in halves}
    return module("Codec", **children, quantize=module("VectorQuantizer", codes=table(64, VISION)))


def test_a_codec_that_only_encodes_sees():
    found = roles(model(model=module("Both", vqmodel=codec("encoder"), language_model=text())))
    assert found["vision_encoder"] == [("model.vqmodel",)]
    assert "generator" not in found


def test_the_half_of_a_codec_that_decodes_draws():
    found = roles(model(model=module("Both", vqmodel=codec("encoder", "decoder"), language_model=text())))
    assert found["vision_encoder"] == [("model.vqmodel",)]
    assert found["generator"] == [("model.vqmodel.decoder",)]


def test_a_codec_beside_a_tower_only_draws():
    halves = codec("encoder", "decoder")
    found = roles(model(model=module("Both", vision_tower=tower(), vqmodel=halves, language_model=text())))
    assert found["vision_encoder"] == [("model.vision_tower",)]
    assert found["generator"] == [("model.vqmodel",)]


def test_a_talker_is_a_generator_to_its_last_part():
    talker = module(
        "Talker", thinker_to_talker_proj=linear(TEXT, 16), model=text("Inner"), codec_head=linear(TEXT, 9)
    )
    thinker = module("Thinker", model=module("Inner", language_model=text()), lm_head=linear(TEXT, WORDS))
    tree = model(thinker=thinker, talker=talker, lm_head=norm(1))
    found = roles(tree)
    assert found["generator"] == [("talker",)]
    assert found["language_model"] == [("thinker.model.language_model",)]


def test_what_leaves_an_audio_towers_width_for_the_texts_is_its_projector():
    heard = listener(
        ln_post=norm(VISION), proj1=linear(VISION, VISION), proj2=linear(VISION, TEXT), proj_norm=norm(TEXT)
    )
    found = roles(model(audio_tower=heard, language_model=text()))
    assert found["projector"] == [("audio_tower.proj1", "audio_tower.proj2", "audio_tower.proj_norm")]


def test_what_a_projector_outside_takes_in_is_the_towers_own():
    heard = listener(output_proj=linear(VISION, TEXT))
    embed = module("Embedder", projection=linear(TEXT, TEXT))
    found = roles(model(audio_tower=heard, embed_audio=embed, language_model=text()))
    assert found["projector"] == [("embed_audio",)]


def test_parameters_go_to_the_projector_that_they_are_named_like():
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


def test_a_language_model_alone_keeps_its_own_path():
    assert roles(model(model=module("Whole", language_model=text())))["language_model"] == [
        ("model.language_model",)
    ]
    assert roles(model(model=text()))["language_model"] == [("model",)]


def test_what_transforms_before_the_head_is_the_heads():
    inside = module("Predictions", transform=linear(TEXT, TEXT), decoder=linear(TEXT, WORDS))
    found = roles(model({"get_output_embeddings": "cls.decoder"}, model=text(), cls=inside, lm_head=norm(1)))
    assert found["lm_head"] == [("cls",)]
    beside = {
        "lm_head": module("Head", dense=linear(TEXT, TEXT), norm=norm(TEXT)),
        "decoder": linear(TEXT, WORDS),
    }
    found = roles(model({"get_output_embeddings": "decoder"}, model=text(), **beside))
    assert found["lm_head"] == [("lm_head", "decoder")]


def test_every_claim_says_why():
    claims = find_roles(model(vision_tower=tower(), projector=linear(VISION, TEXT), language_model=text()))
    assert {claim.role.value: claim.detail for claim in claims} == {
        "vision_encoder": "the name 'vision_tower'",
        "projector": "the name 'projector'",
        "language_model": "the lowest module with the text embedding language_model.embed_tokens and layers",
        "lm_head": "the name 'lm_head'",
    }

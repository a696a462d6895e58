"""The layouts of published repositories, and small ones of the same kinds, from headers alone."""

import json
import math

import pytest

from tests import sparse
from tests.builders import phi3_v, tiny_vlm
from tests.builders.repositories import LAYOUTS
from tests.builders.repositories.layout import described, headers, sizes
from tests.builders.test_repositories_without_code import INTERNVL, INTERNVL_CONFIG
from tests.builders.tiny_vlm import BODY, HEAD, TABLE, TEXT_LAYERS
from tests.cli.program import run
from vlm_inspect.core.architecture import Role
from vlm_inspect.render import render
from vlm_inspect.render.card import build_card, card_tables

REPOSITORIES = {
    **{name: (layout.CONFIG, layout.SHAPES) for name, layout in LAYOUTS.items()},
    "internvl2_2b without its code": (INTERNVL_CONFIG, INTERNVL),
    "phi3_v": (phi3_v.CONFIG, phi3_v.SHAPES),
    "tiny_vlm": (tiny_vlm.CONFIG, tiny_vlm.SHAPES),
}


def tiny(*added, config=tiny_vlm.CONFIG):
    shapes = dict(BODY)
    for each in added:
        shapes |= each
    return described(config, shapes)


def text_of(record):
    (text,) = record.by_role(Role.LANGUAGE_MODEL)
    return text


@pytest.mark.parametrize("name", LAYOUTS)
def test_parts_of_a_repository_by_its_headers(name):
    layout = LAYOUTS[name]
    record = described(layout.CONFIG, layout.SHAPES)
    found = {}
    for role, count in sizes(record):
        found.setdefault(role, []).append(count)
    expected = {role: list(counts) for role, counts in getattr(layout, "PARTS", {}).items()}
    assert {role: found.get(role) for role in expected} == expected
    assert record.parameters.total == layout.TOTAL == sum(count for _, count in sizes(record))


# --- bytes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPOSITORIES)
def test_bytes_of_the_components_add_up_to_the_file(name):
    config, shapes = REPOSITORIES[name]
    stored = sum(sum(part.stored_bytes.values()) for part in described(config, shapes).components)
    assert stored == headers(shapes).total_bytes


@pytest.mark.parametrize(
    "extra",
    [
        {"text.wte": (1000, 64)},
        {"image_newline": (64,)},
        {"rotary.inv_freq": (8,)},
        {"inv_freq": (8,)},
        {"text.rotary.inv_freq": (8,), "vision_tower.position_ids": (1, 16)},
        {"unrelated.weight": (5, 7), "unrelated.position_ids": (1, 16)},
    ],
    ids=str,
)
def test_bytes_of_bare_parameters_and_buffers_belong_to_a_component(extra):
    record = tiny(TABLE, HEAD, extra)
    assert sum(sum(part.stored_bytes.values()) for part in record.components) == 2 * sum(
        math.prod(shape) for shape in (BODY | TABLE | HEAD | extra).values()
    )


def test_a_bare_parameter_with_a_role_of_its_own_has_its_bytes():
    record = tiny(TABLE, HEAD, {"image_newline": (64,)})
    (projector,) = record.by_role(Role.PROJECTOR)
    assert projector.paths == ("projector", "image_newline")
    assert projector.stored_bytes == {"BF16": 2 * projector.parameters}


# --- text embeddings ---------------------------------------------------------------------------------

EMBEDDINGS = {
    "a bare parameter": {"text.wte": (1000, 64)},
    "a bare parameter of another name": {"text.token_table": (1000, 64)},
    "two bare tables": {"text.wte.embedding": (1000, 64), "text.wte.new_embedding": (8, 64)},
    "a module in the module": {
        "text.embed_tokens.additional_embedding.weight": (8, 64),
        "text.embed_tokens.weight": (1000, 64),
    },
    "a module of another name": {"text.vocab_embedding.weight": (1000, 64)},
    "none": {},
}
HEADS = {"next to the layers": {"text.lm_head.weight": (1000, 64)}, "at the root": HEAD, "by its size": None}


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("head", HEADS)
def test_a_language_model_is_found_without_a_plain_embedding(embedding, head):
    tables = EMBEDDINGS[embedding]
    by_size = HEADS[head] is None
    if by_size and not tables:
        return  # nothing is left to find the head by
    record = tiny(tables, {"text.ff_out.weight": (1000, 64)} if by_size else HEADS[head])
    text = text_of(record)
    assert text.paths == ("text",)
    assert text.parameters == TEXT_LAYERS + sum(map(math.prod, tables.values()))
    assert text.layer_count == 4
    assert [part.parameters for part in record.by_role(Role.LM_HEAD)] == [64_000]
    assert [part.paths for part in record.by_role(Role.VISION_ENCODER)] == [("vision_tower",)]
    assert [part.parameters for part in record.by_role(Role.PROJECTOR)] == [2048]
    assert record.kind == "vision-language"


def test_each_table_of_an_embedding_is_shown():
    text = text_of(tiny(EMBEDDINGS["two bare tables"], HEAD))
    assert [(stage.path, stage.num_embeddings, stage.embedding_dim) for stage in text.embeddings] == [
        ("text.wte.embedding", 1000, 64),
        ("text.wte.new_embedding", 8, 64),
    ]


def test_an_embedding_that_was_not_found_is_not_shown():
    text = text_of(tiny(HEAD))
    assert text.embeddings == ()
    assert text.width == 64
    assert "embedding" in text.unknown["embeddings"]


def test_the_language_model_is_unknown_where_nothing_shows_it():
    nameless = {name.replace("text.", "part."): shape for name, shape in BODY.items()}
    record = described({"architectures": ["TinyVLM"], "model_type": "tiny_vlm"}, nameless)
    assert not record.by_role(Role.LANGUAGE_MODEL)
    assert {"language_model", "lm_head"} <= record.unknown.keys()
    assert not record.absent
    assert record.unknown["language_model"] == "no name, class or shape shows the purpose of part"


def test_code_of_the_repository_is_the_next_step_where_no_language_model_shows():
    nameless = {name.replace("text.", "part."): shape for name, shape in BODY.items()}
    config = {"architectures": ["TinyVLM"], "model_type": "tiny_vlm"}
    code = {"auto_map": {"AutoModel": "modeling_tiny.TinyVLM"}}
    assert not any("--trust-remote-code" in note for note in described(config, nameless).notes)
    assert any("--trust-remote-code" in note for note in described({**config, **code}, nameless).notes)
    assert not any("--trust-remote-code" in note for note in described({**config, **code}, tiny_vlm.SHAPES).notes)


def test_layers_of_another_width_than_the_head_are_no_language_model():
    record = described(tiny_vlm.CONFIG, {**BODY, "lm_head.weight": (1000, 48)})
    assert [text.paths for text in record.by_role(Role.LANGUAGE_MODEL)] in ([], [("text",)])


def test_layers_behind_pixels_are_never_the_language_model():
    tower = {name.replace("vision_tower.", "body."): shape for name, shape in BODY.items() if "vision" in name}
    record = described(tiny_vlm.CONFIG, {**tower, "lm_head.weight": (1000, 32)})
    assert [part.paths for part in record.by_role(Role.VISION_ENCODER)] == [("body",)]
    assert not record.by_role(Role.LANGUAGE_MODEL)


def test_a_tied_head_of_a_bare_embedding_counts_once():
    config = {**tiny_vlm.CONFIG, "tie_word_embeddings": True}
    record = tiny({"text.wte": (1000, 64)}, config=config)
    (head,) = record.by_role(Role.LM_HEAD)
    assert (head.parameters, head.head.tied_to) == (0, "text.wte")
    assert text_of(record).parameters == 261_184 == TEXT_LAYERS + 64_000


def test_the_program_shows_a_bare_embedding(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(tiny_vlm.CONFIG))
    shapes = {**BODY, "text.wte": (1000, 64), "text.lm_head.weight": (1000, 64)}
    sparse.write(tmp_path / "model.safetensors", shapes)
    record = run("show", str(tmp_path), "--json", cwd=tmp_path).data
    parts = {part["role"]: part for part in record["components"]}
    assert parts["language_model"]["parameters"] == TEXT_LAYERS + 64_000
    assert "language_model" not in record.get("absent", {})
    assert sum(sum(part["stored_bytes"].values()) for part in parts.values()) == 2 * record["parameters"]["total"]


def test_resampler_named_for_images_is_no_second_encoder():
    layer = {"latents": (4, 32), "layers.0.to_q.weight": (32, 32), "layers.0.to_kv.weight": (64, 32)}
    resampler = {f"vision_tokenizer.{name}": shape for name, shape in layer.items()}
    out = {"vision_tokenizer.projection.weight": (64, 32)}
    record = tiny(TABLE, HEAD, resampler, out)
    assert [part.paths for part in record.by_role(Role.VISION_ENCODER)] == [("vision_tower",)]
    assert ("vision_tokenizer",) in [part.paths for part in record.by_role(Role.PROJECTOR)]


@pytest.mark.parametrize("name", REPOSITORIES)
def test_reasons_are_short_enough_for_a_cell(name):
    config, shapes = REPOSITORIES[name]
    card = render(card_tables(build_card(described(config, shapes))), "markdown")
    assert "unknown (" in card
    assert " …)" not in card


# --- layers ------------------------------------------------------------------------------------------


def layers_of(name):
    layout = LAYOUTS[name]
    return text_of(described(layout.CONFIG, layout.SHAPES)).layers


def test_a_layer_may_hold_the_projections_of_its_attention_and_mlp():
    (layer,) = layers_of("molmo_7b_d")
    attention, mlp = layer.attention, layer.mlp
    assert (attention.heads, attention.key_value_heads, attention.head_width) == (28, 4, 128)
    assert attention.bias == ("query", "key", "value")
    assert (mlp.input_width, mlp.hidden_width, mlp.output_width) == (3584, 18944, 3584)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [("down", "up"), ("contract", "expand"), ("back", "forth"), ("out_lin", "up_lin"), ("0", "2")],
)
def test_the_hidden_width_of_an_mlp_is_the_wider_one_whatever_its_projections_are_called(narrow, wide):
    shapes = {key: shape for key, shape in tiny_vlm.SHAPES.items() if ".mlp." not in key}
    for layer in range(4):
        at = f"text.blocks.{layer}.mlp"
        first, second = (narrow, wide) if narrow == "0" else (wide, narrow)
        shapes |= {f"{at}.{first}.weight": (256, 64), f"{at}.{second}.weight": (64, 256)}
    (layer,) = text_of(described(tiny_vlm.CONFIG, shapes)).layers
    assert (layer.mlp.input_width, layer.mlp.hidden_width, layer.mlp.output_width) == (64, 256, 64)


def test_an_mlp_of_numbered_projections_may_be_narrow_inside():
    shapes = {key: shape for key, shape in tiny_vlm.SHAPES.items() if ".mlp." not in key}
    for layer in range(4):
        at = f"text.blocks.{layer}.mlp"
        shapes |= {f"{at}.net.0.weight": (16, 64), f"{at}.net.2.weight": (64, 16)}
    (layer,) = text_of(described(tiny_vlm.CONFIG, shapes)).layers
    assert (layer.mlp.input_width, layer.mlp.hidden_width, layer.mlp.output_width) == (64, 16, 64)


def test_the_class_of_a_router_is_unknown_in_headers():
    shapes = {key: shape for key, shape in tiny_vlm.SHAPES.items() if "text.blocks" not in key or ".mlp." not in key}
    for layer in range(4):
        at = f"text.blocks.{layer}.mlp"
        shapes[f"{at}.gate.weight"] = (6, 64)
        for expert in range(6):
            shapes |= {f"{at}.experts.{expert}.{name}.weight": (32, 64) for name in ("up_proj", "gate_proj")}
            shapes[f"{at}.experts.{expert}.down_proj.weight"] = (64, 32)
    (layer,) = text_of(described({**tiny_vlm.CONFIG, "num_experts_per_tok": 2}, shapes)).layers
    (experts,) = layer.mlp.experts
    assert (experts.count, experts.per_token, experts.router) == (6, 2, None)
    assert "router" in experts.unknown


def test_projections_of_experts_may_be_stacked_in_a_module_each():
    dense, sparse = layers_of("moondream3")
    assert (dense.mlp.hidden_width, dense.mlp.experts) == (8192, ())
    (experts,) = sparse.mlp.experts
    assert (experts.count, experts.hidden_width, experts.parameters) == (64, 1024, 6_291_456)


def test_a_three_dimensional_weight_without_a_router_is_a_convolution():
    record = tiny(TABLE, HEAD, {"vision_tower.mix.fc1.weight": (8, 8, 3), "vision_tower.mix.fc2.weight": (8, 8, 3)})
    assert not [part for part in record.components if any(layer.mlp and layer.mlp.experts for layer in part.layers)]


def test_a_head_of_two_linears_is_shown_with_both():
    layout = LAYOUTS["xgen_mm"]
    (head,) = described(layout.CONFIG, layout.SHAPES).by_role(Role.LM_HEAD)
    assert [(stage.in_features, stage.out_features) for stage in head.stages] == [(3072, 32064), (3072, 3)]


def test_a_module_that_also_makes_other_outputs_is_no_projector():
    regions = {
        "region.coord_encoder.weight": (64, 16),
        "region.coord_decoder.weight": (24, 64),
        "region.size_encoder.weight": (64, 32),
    }
    record = tiny(TABLE, HEAD, regions)
    assert [part.paths for part in record.by_role(Role.PROJECTOR)] == [("projector",)]
    assert [part.paths for part in record.by_role(Role.OTHER)] == [("region",)]

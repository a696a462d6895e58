"""The stages of projectors, in the order of transformers' modeling code."""

import pytest
from msgspec.structs import replace

from tests.anatomy.small_trees import TEXT, VISION, convolution, linear, model, module, norm, text, tower
from tests.every_type.answers import record_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.anatomy.stages.projector import projector_stages, with_branches
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.stages import ActivationStage, LinearStage, NormStage
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.text.stages import stages_cell


def projectors(model_type):
    return record_of(model_type).by_role(Role.PROJECTOR)


def linear_stage(in_features, out_features):
    return LinearStage("Linear", in_features=in_features, out_features=out_features)


def branches(stages):
    return [stage.branch for stage in with_branches(stages)]


@pytest.mark.parametrize(
    ("model_type", "kinds"),
    [
        ("llava", "linear activation linear"),
        ("gemma3", "pooling norm parameter"),
        ("hunyuan_vl", "norm convolution activation convolution linear norm"),
        ("florence2", "embedding embedding linear norm"),
        ("glm4v", "linear norm activation mlp"),
        ("gemma4_unified", "norm linear norm embedding norm norm linear"),
        ("phi4_multimodal", "linear activation linear"),
        ("mistral3", "norm linear linear activation linear"),
        ("perception_lm", "linear activation linear pooling"),
        ("evolla", "block linear norm"),
    ],
)
def test_stages_are_in_order_of_use(model_type, kinds):
    assert " ".join(stage.kind for stage in projectors(model_type)[0].stages) == kinds


def test_an_mlp_among_other_stages_has_no_class():
    *_, mlp = projectors("glm4v")[0].stages
    assert (mlp.class_name, mlp.sizes) == (None, (4096, 13696, 4096))


def test_a_called_function_is_a_stage():
    (gelu,) = (stage for stage in projectors("phi4_multimodal")[0].stages if stage.kind == "activation")
    assert (gelu.class_name, gelu.path) == ("gelu", "")


def test_an_activation_between_two_linears_of_a_tower_is_a_stage():
    (projector,) = (part for part in projectors("qwen3_omni_moe") if "audio_tower" in part.paths[0])
    assert [stage.kind for stage in projector.stages] == ["linear", "activation", "linear"]


def test_separators_are_not_stages():
    stages = projectors("hunyuan_vl")[0].stages
    assert not [stage for stage in stages if stage.kind == "parameter"]


@pytest.mark.parametrize("model_type", ["llava", "aya_vision", "ernie4_5_vl_moe", "minimax_m3_vl", "mistral3"])
def test_a_possible_sequence_has_no_branches(model_type):
    assert {stage.branch for part in projectors(model_type) for stage in part.stages} == {None}


def test_linears_with_concatenated_outputs_are_branches():
    aligner = projectors("deepseek_vl_hybrid")[-1]
    assert [stage.branch for stage in aligner.stages] == [0, 1, None, None]


def test_projections_of_two_towers_to_the_same_width_are_branches():
    assert [stage.branch for stage in projectors("vibevoice_asr")[0].stages] == [0, 0, 0, 1, 1, 1]


def test_half_of_a_width_is_a_gate_only_after_an_activation():
    silu = ActivationStage("SiLU")
    assert branches([linear_stage(64, 32), silu, linear_stage(16, 32)]) == [None] * 3
    assert branches([linear_stage(64, 32), linear_stage(16, 32)]) == [0, 1]


def test_sequences_of_different_output_widths_are_not_branches():
    assert branches([linear_stage(64, 32), linear_stage(48, 24)]) == [None, None]


def test_a_norm_alone_is_not_a_branch():
    assert branches([NormStage("LayerNorm", width=24), linear_stage(64, 24)]) == [None, None]


def test_stages_declared_in_order_stay_in_order():
    projector = module("SomeProjector", norm=norm(VISION), merge=convolution(VISION, 48, 2, 2), out=linear(48, TEXT))
    tree = model(vision_tower=tower("SomeVisionModel"), multi_modal_projector=projector, language_model=text())
    record = describe(tree, ModelIdentity("m", source="local"), "transformers")
    (found,) = record.by_role(Role.PROJECTOR)
    assert [stage.kind for stage in found.stages] == ["norm", "convolution", "linear"]


def projector_of(projector):
    tree = model(vision_tower=tower("SomeVisionModel"), multi_modal_projector=projector, language_model=text())
    (found,) = describe(tree, ModelIdentity("m", source="local"), "transformers").by_role(Role.PROJECTOR)
    return found


UP, DOWN = linear(VISION, 96), linear(96, TEXT)


@pytest.mark.parametrize(
    "linears",
    [
        {"w1": UP, "w2": DOWN, "w3": UP},
        {"down": DOWN, "gate": UP, "up": UP},
        {"alpha": UP, "beta": UP, "gamma": DOWN},
        {"fc1_g": UP, "fc1_x": UP, "fc2": DOWN},
        {"linear_v": UP, "norm": norm(96), "linear": UP, "out": DOWN},
    ],
)
def test_two_projections_of_the_same_widths_are_a_gate(linears):
    *norms, mlp = sorted(projector_of(module("SomeProjector", **linears)).stages, key=lambda each: each.kind == "mlp")
    assert (mlp.kind, mlp.sizes) == ("mlp", (VISION, 96, TEXT))
    assert mlp.class_name == (None if norms else "SomeProjector")
    assert [each.kind for each in norms] == (["norm"] if "norm" in linears else [])


def test_a_gated_mlp_inside_a_projector_keeps_its_class():
    inner = module("SomeGLU", w1=UP, w2=DOWN, w3=UP)
    stages = projector_of(module("SomeProjector", norm=norm(VISION), mlp=inner)).stages
    assert [(stage.class_name, stage.kind) for stage in stages] == [("LayerNorm", "norm"), ("SomeGLU", "mlp")]


@pytest.mark.parametrize(
    "linears",
    [
        {"0": UP, "1": linear(96, 96), "2": DOWN},
        {"a": linear(VISION, VISION), "b": linear(VISION, VISION), "c": linear(VISION, TEXT)},
        {"a": UP, "b": linear(96, 48), "c": linear(48, TEXT)},
    ],
)
def test_projections_that_can_follow_each_other_are_a_sequence(linears):
    stages = projector_of(module("SomeProjector", **linears)).stages
    assert [stage.kind for stage in stages] == ["linear"] * 3
    assert {stage.branch for stage in stages} == {None}


@pytest.mark.parametrize(("order", "kinds"), [(("a", "b", "c"), ["linear"] * 3), (("a", "c", "b"), ["mlp"])])
def test_the_order_of_use_tells_a_gate_from_a_bottleneck(order, kinds):
    wide = linear(TEXT, 96)
    plain = module("SomeProjector", a=wide, b=linear(96, TEXT), c=wide)
    projector = replace(plain, forward_order=order)
    stages = projector_stages(projector, "projector")
    assert [stage.kind for stage in stages] == kinds


def cell_of(projector):
    return plain_text(stages_cell(projector_of(projector).stages))


LEVEL = module("SomeMerger", norm=norm(96), out=linear(96, TEXT))
LEVELS = module("ModuleList", **{str(index): LEVEL for index in range(3)})
LEVEL_CELL = f"3 x (LayerNorm((96,)) + Linear(96 -> {TEXT}))"


def test_a_list_of_projections_for_each_level_stands_beside_the_last_one():
    merger = module("SomeMerger", out=linear(VISION, TEXT), levels=LEVELS)
    assert cell_of(merger) == f"Linear({VISION} -> {TEXT}) beside {LEVEL_CELL}"


def test_what_all_branches_have_in_common_comes_after_them():
    connector = module("SomeConnector", out=linear(VISION, TEXT), levels=LEVELS, last=linear(TEXT, TEXT))
    assert cell_of(connector) == f"(Linear({VISION} -> {TEXT}) beside {LEVEL_CELL}) + Linear"


def test_the_levels_of_granite_docling_are_no_steps_of_its_connector():
    (connector,) = projectors("granite_docling")
    assert [stage.branch for stage in connector.stages if stage.kind == "linear"] == [0, *[1] * 6, 2, *[3] * 6, None]


def test_equal_items_that_keep_the_width_are_steps():
    block = module("SomeBlock", norm=norm(48), out=linear(48, 48))
    steps = module("ModuleList", **{str(index): block for index in range(3)})
    stages = projector_of(module("SomeProjector", first=linear(VISION, 48), steps=steps, last=linear(48, TEXT))).stages
    assert {stage.branch for stage in stages} == {None}

"""Experts: lists and stacked weights, shared experts, routers and inactive parameters."""

import pytest

from tests.anatomy.layer_parts import (
    attention,
    fused_experts,
    layer,
    layers,
    linear,
    listed_experts,
    mlp,
    part,
    read,
    rms_norm,
)
from vlm_inspect.anatomy.layers.experts import inactive_in_group, inactive_parameters
from vlm_inspect.anatomy.layers.read import read_stack
from vlm_inspect.anatomy.layers.stacks import LayerContext
from vlm_inspect.core.architecture import Experts
from vlm_inspect.core.module_tree import ModuleTree

ONE = 3 * 32 * 16


def block(experts, **more):
    return part("SomeMoE", (), {"top_k": 2}, gate=linear(32, 4), experts=experts, **more)


def mlp_of(node, config=None):
    return read(layer(self_attn=attention(), mlp=node), config).mlp


@pytest.mark.parametrize("experts", [listed_experts(), fused_experts(), fused_experts(transposed=True)])
def test_listed_and_stacked_experts_are_equal(experts):
    mlp = mlp_of(block(experts))
    (experts,) = mlp.experts
    assert (experts.count, experts.per_token, experts.hidden_width, experts.parameters) == (4, 2, 16, ONE)
    assert (mlp.input_width, mlp.hidden_width, mlp.output_width, mlp.gated) == (32, 16, 32, True)
    assert experts.path == "mlp.experts"


def test_experts_without_a_gate():
    plain = part("SomeExperts", {"up_proj": (4, 16, 32), "down_proj": (4, 32, 16)}, {"num_experts": 4})
    mlp = mlp_of(block(plain))
    assert (mlp.gated, mlp.experts[0].parameters) == (False, 2 * 32 * 16)


def test_biases_count_as_parameters_of_an_expert():
    shapes = {
        "gate_up_proj": (4, 32, 32),
        "gate_up_proj_bias": (4, 32),
        "down_proj": (4, 16, 32),
        "down_proj_bias": (4, 32),
    }
    (experts,) = mlp_of(block(part("SomeExperts", shapes, {"num_experts": 4}))).experts
    assert experts.parameters == ONE + 64


def test_each_stacked_matrix_in_a_module_of_its_own():
    parallel = part(
        "SomeMoE",
        input_linear=part("SomeParallelExperts", {"weight": (4, 32, 32)}, {"num_experts": 4}),
        output_linear=part("SomeParallelExperts", {"weight": (4, 32, 16)}, {"num_experts": 4}),
        router=part("SomeTopKGating", (), {"top_k": 1}, layer=linear(32, 4)),
    )
    mlp = mlp_of(parallel)
    assert (mlp.class_name, mlp.hidden_width) == ("SomeMoE", 16)
    assert (mlp.experts[0].parameters, mlp.experts[0].per_token) == (ONE, 1)


def test_a_convolution_is_not_a_group_of_experts():
    conv = part("Conv1d", {"weight": (1024, 1, 7)}, {"in_channels": 1024, "out_channels": 1024, "kernel_size": (7,)})
    assert mlp_of(part("SomeConvMLP", conv=conv, up=linear(32, 96), down_proj=linear(96, 32))).experts == ()


def test_shared_experts_need_a_module():
    (experts,) = mlp_of(block(fused_experts(), shared_experts=mlp(hidden=32)), {"n_shared_experts": 2}).experts
    assert (experts.shared, experts.shared_width) == (2, 32)
    (experts,) = mlp_of(block(fused_experts(), shared_expert=mlp(hidden=32))).experts
    assert (experts.shared, experts.shared_width) == (1, 32)
    (experts,) = mlp_of(block(fused_experts()), {"n_shared_experts": 2}).experts
    assert experts.shared is None


def test_router_and_scoring():
    router = part("SomeTopKRouter", {"weight": (4, 32), "e_score_correction_bias": (4,)})
    node = part("SomeMoE", (), {"top_k": 2}, gate=router, experts=fused_experts())
    (experts,) = mlp_of(node).experts
    assert (experts.router, experts.scoring) == ("SomeTopKRouter", "sigmoid")


def test_experts_in_parallel_with_a_dense_mlp():
    record = read(layer(self_attn=attention(), mlp=mlp(), router=linear(32, 4), experts=fused_experts(top_k=2))).mlp
    assert (record.class_name, record.hidden_width) == ("SomeMLP", 96)
    assert [(each.count, each.path) for each in record.experts] == [(4, "experts")]


def test_text_and_vision_may_have_separate_experts():
    node = part("SomeMoeBlock", text_moe=block(fused_experts()), vision_moe=block(fused_experts(8)))
    text, vision = mlp_of(node).experts
    assert [(each.modality, each.count) for each in (text, vision)] == [("text", 4), ("vision", 8)]
    assert (inactive_in_group(text), inactive_in_group(vision)) == (2 * ONE, 8 * ONE)


def test_a_routers_activation_is_not_the_mlps():
    router = part("SomeTopKRouter", {"weight": (4, 32)}, score=part("Sigmoid"))
    experts = part(
        "SomeExperts",
        {"gate_up_proj": (4, 32, 32), "down_proj": (4, 32, 16)},
        {"num_experts": 4},
        act_fn=part("SiLU"),
    )
    assert mlp_of(part("SomeMoE", gate=router, experts=experts)).activation == "SiLU"


def test_an_activation_without_a_name_is_unknown():
    plain = part("SomeMLP", up=linear(32, 96), down_proj=linear(96, 32))
    assert mlp_of(plain).unknown["activation"]
    assert mlp_of(plain, {"hidden_act": "gelu"}).activation == "gelu"


def stack_of(node, config=None):
    nodes = layers(layer(self_attn=attention(), mlp=mlp()), layer(self_attn=attention(), mlp=node))
    tree = ModuleTree(part("Model", layers=nodes, norm=rms_norm(32)))
    return tree, (read_stack("layers", nodes, LayerContext(config or {})),)


def test_experts_that_a_token_is_not_routed_to_are_inactive():
    assert inactive_parameters(*stack_of(block(fused_experts()))) == (2 * ONE, None)


def test_inactive_parameters_are_unknown_without_experts_per_token():
    undeclared = part("SomeMoE", gate=linear(32, 4), experts=fused_experts())
    count, reason = inactive_parameters(*stack_of(undeclared))
    assert (count, reason) == (
        0,
        "nothing says to how many experts a token is routed",
    )
    assert inactive_parameters(*stack_of(undeclared, {"num_experts_per_tok": 1})) == (3 * ONE, None)


def test_tied_experts_are_inactive_once():
    tree, stacks = stack_of(block(fused_experts()))
    ties = (("elsewhere", "layers.1.mlp.experts.gate_up_proj"), ("there", "layers.1.mlp.experts.down_proj"))
    assert inactive_parameters(ModuleTree(tree.root, ties), stacks) == (0, None)


def test_unread_experts_do_not_count_as_active():
    flat = part("SomeExpertGLU", {"w1": (4 * 16, 32), "w2": (4 * 16, 32)}, {"moe_num_experts": 4})
    _, reason = inactive_parameters(*stack_of(part("SomeFFN", router=linear(32, 4), experts=flat)))
    assert reason == "its experts lie in its weights in a way that is not read"


def test_experts_of_different_sizes_cannot_be_counted():
    uneven = part("ModuleList", **{"0": mlp(hidden=16), "1": mlp(hidden=32)})
    _, reason = inactive_parameters(*stack_of(block(uneven)))
    assert reason == "its experts are not alike"


def test_vision_experts_are_inactive_for_text():
    assert inactive_in_group(Experts(8, 2, parameters=10, modality="vision")) == 80

"""What one attention is: heads, kinds, norms, biases, mechanisms."""

import pytest

from tests.anatomy.layer_parts import attention, layer, linear, part, read, rms_norm


def read_attention(node, config=None, **around):
    return read(layer(self_attn=node), config, **around).attention


def test_heads_follow_from_what_the_output_takes_in_not_from_a_query_that_holds_a_gate():
    gated = read_attention(attention(q_proj=linear(32, 64)))
    assert (gated.heads, gated.head_width, gated.features) == (4, 8, ("output gate",))
    assert read_attention(attention()).features == ()


@pytest.mark.parametrize(
    ("made", "kind", "shared"),
    [(32, "multi-head", 4), (16, "grouped-query", 2), (8, "multi-query", 1)],
)
def test_key_value_heads_follow_from_what_is_projected_to_keys(made, kind, shared):
    read = read_attention(attention(k_proj=linear(32, made), v_proj=linear(32, made)))
    assert (read.kind, read.key_value_heads) == (kind, shared)


def test_queries_keys_and_values_in_one_weight():
    fused = part(
        "SomeAttention", (), {"head_dim": 8}, qkv_proj=linear(32, 64, bias=True), o_proj=linear(32, 32)
    )
    read = read_attention(fused)
    assert (read.heads, read.key_value_heads, read.bias) == (4, 2, ("query", "key", "value"))


def test_keys_and_values_in_one_weight():
    node = part(
        "SomeAttention", (), {"heads": 4}, to_q=linear(32, 32), to_kv=linear(32, 64), to_out=linear(32, 32)
    )
    read = read_attention(node)
    assert (read.heads, read.key_value_heads, read.head_width) == (4, 4, 8)


def test_a_projection_may_be_wrapped():
    wrapped = {
        name: part("Wrapped", linear=linear(32, 32)) for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    }
    assert read_attention(attention(**wrapped)).key_value_heads == 4


def test_torchs_own_attention():
    node = part(
        "MultiheadAttention",
        {"in_proj_weight": (96, 32), "in_proj_bias": (96,)},
        {"num_heads": 4, "head_dim": 8},
        out_proj=linear(32, 32, bias=True),
    )
    read = read_attention(node)
    assert (read.kind, read.heads, read.bias) == ("multi-head", 4, ("query", "key", "value", "output"))


def test_latent_attention_has_ranks_and_no_key_value_heads():
    node = part(
        "SomeAttention",
        (),
        {"num_heads": 4},
        q_a_proj=linear(32, 12),
        q_b_proj=linear(12, 48),
        kv_a_proj_with_mqa=linear(32, 20),
        kv_b_proj=linear(16, 64),
        o_proj=linear(32, 32),
    )
    read = read_attention(node)
    assert (read.kind, read.heads, read.key_value_heads, read.head_width) == ("latent", 4, None, 12)
    assert (read.latent.key_value_rank, read.latent.query_rank) == (16, 12)
    assert (read.latent.rotary_width, read.latent.value_width) == (4, 8)


def test_queries_of_latent_attention_need_not_be_compressed():
    node = part(
        "SomeAttention",
        (),
        {"num_heads": 4},
        q_proj=linear(32, 48),
        kv_a_proj_with_mqa=linear(32, 20),
        kv_b_proj=linear(16, 64),
        o_proj=linear(32, 32),
    )
    assert read_attention(node).latent.query_rank is None


def test_norms_on_queries_and_keys_are_told_and_an_indexers_are_not():
    node = attention(
        q_norm=rms_norm(8),
        k_norm=rms_norm(8),
        indexer=part("SomeIndexer", k_norm=rms_norm(4), wq=linear(32, 8)),
    )
    read = read_attention(node)
    assert [(norm.name, norm.width) for norm in read.qk_norm] == [("q_norm", 8), ("k_norm", 8)]
    assert read.features == ("indexer",)


def test_which_projections_have_a_bias():
    assert read_attention(attention(bias=("q_proj", "v_proj"))).bias == ("query", "value")


def test_a_bias_is_unknown_where_no_projection_has_a_known_name():
    read = read_attention(part("SomeAttention", (), {"num_heads": 4}, odd=linear(32, 32)))
    assert read.bias == ()
    assert "bias" in read.unknown


def test_sinks_are_seen():
    node = part("SomeAttention", {"sinks": (4,)}, {"head_dim": 8}, o_proj=linear(32, 32))
    assert read_attention(node).features == ("sinks",)


@pytest.mark.parametrize(
    ("class_name", "parameters", "attributes", "mechanism"),
    [
        ("SomeMixer", {"A_log": (4,), "D": (4,)}, {"num_heads": 4, "ssm_state_size": 16}, "state space"),
        ("SomeGatedDeltaNet", {"A_log": (4,), "dt_bias": (4,)}, {"num_v_heads": 4}, "linear attention"),
        ("SomeLightningAttention", {}, {"layer_type": "linear_attention"}, "linear attention"),
        ("SomeSelfAttention", {"time_decay": (4,)}, {}, "recurrence"),
    ],
)
def test_what_stands_in_the_place_of_attention(class_name, parameters, attributes, mechanism):
    read = read_attention(part(class_name, parameters, attributes, out_proj=linear(32, 32)))
    assert (read.mechanism, read.kind, read.positions) == (mechanism, None, None)


def test_a_class_named_after_a_linear_model_has_latent_attention_all_the_same():
    node = part("SomeLinearAttention", (), {"num_heads": 4}, kv_b_proj=linear(16, 64), o_proj=linear(32, 32))
    assert read_attention(node).mechanism == "attention"


def test_a_short_convolution_has_no_heads():
    conv = part(
        "Conv1d", {"weight": (32, 1, 4)}, {"in_channels": 32, "out_channels": 32, "kernel_size": (4,)}
    )
    read = read_attention(
        part("SomeShortConv", conv=conv, out_proj=linear(32, 32)), {"num_attention_heads": 4}
    )
    assert (read.mechanism, read.convolution, read.heads) == ("convolution", 4, None)


def test_cross_attention_beside_self_attention_is_told_beside_it():
    told = read(
        layer(self_attn=attention(), encoder_attn=attention(), fc1=linear(32, 96), fc2=linear(96, 32))
    )
    assert not told.attention.cross
    assert [each.cross for each in told.extra_attention] == [True]
    assert (told.mlp.hidden_width, told.mlp.class_name) == (96, None)


def test_a_state_space_beside_attention_is_told_beside_it():
    mamba = part("SomeMamba", {"A_log": (4,), "D": (4,)}, out_proj=linear(32, 32))
    told = read(layer(mamba=mamba, self_attn=attention()))
    assert told.attention.mechanism == "attention"
    assert [each.mechanism for each in told.extra_attention] == ["state space"]


def test_keys_of_another_width_come_from_elsewhere():
    assert read_attention(attention(k_proj=linear(48, 32), v_proj=linear(48, 32))).cross


def test_a_sublayer_named_attention_is_the_attention_that_it_holds():
    sublayer = part(
        "SomeLayerSelfAttention", SelfAttention=attention("SomeAttention"), layer_norm=rms_norm(32)
    )
    assert read(layer(sub=sublayer)).attention.class_name == "SomeAttention"

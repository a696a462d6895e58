"""Reading one attention: heads, kinds, norms, biases, mechanisms."""

import pytest

from tests.anatomy.layer_parts import attention, layer, linear, part, read, rms_norm


def read_attention(node, config=None, **context):
    return read(layer(self_attn=node), config, **context).attention


def test_heads_come_from_the_output_projection_not_from_a_query_with_a_gate():
    gated = read_attention(attention(q_proj=linear(32, 64)))
    assert (gated.heads, gated.head_width, gated.features) == (4, 8, ("output gate",))
    assert read_attention(attention()).features == ()


def test_a_gate_may_be_part_of_the_output_projection():
    gated = part("GatedOutput", gate_proj=linear(32, 32), linear=linear(32, 32))
    assert read_attention(attention(o_proj=gated)).features == ("output gate",)
    assert read_attention(attention(indexer=part("SomeIndexer", gate_proj=linear(32, 4)))).features == ("indexer",)


@pytest.mark.parametrize(
    ("key_width", "kind", "key_value_heads"),
    [(32, "multi-head", 4), (16, "grouped-query", 2), (8, "multi-query", 1)],
)
def test_key_value_heads_come_from_the_key_projection(key_width, kind, key_value_heads):
    read = read_attention(attention(k_proj=linear(32, key_width), v_proj=linear(32, key_width)))
    assert (read.kind, read.key_value_heads) == (kind, key_value_heads)


def test_fused_queries_keys_and_values():
    fused = part("SomeAttention", (), {"head_dim": 8}, qkv_proj=linear(32, 64, bias=True), o_proj=linear(32, 32))
    read = read_attention(fused)
    assert (read.heads, read.key_value_heads, read.bias) == (4, 2, ("query", "key", "value"))


def test_fused_keys_and_values():
    node = part("SomeAttention", (), {"heads": 4}, to_q=linear(32, 32), to_kv=linear(32, 64), to_out=linear(32, 32))
    read = read_attention(node)
    assert (read.heads, read.key_value_heads, read.head_width) == (4, 4, 8)


def test_a_projection_may_be_wrapped():
    wrapped = {name: part("Wrapped", linear=linear(32, 32)) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
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


def read_latent_attention(**queries):
    return read_attention(
        part(
            "SomeAttention",
            (),
            {"num_heads": 4},
            **queries,
            kv_a_proj_with_mqa=linear(32, 20),
            kv_b_proj=linear(16, 64),
            o_proj=linear(32, 32),
        )
    )


def test_latent_attention_has_ranks_and_no_key_value_heads():
    read = read_latent_attention(q_a_proj=linear(32, 12), q_b_proj=linear(12, 48))
    assert (read.kind, read.heads, read.key_value_heads, read.head_width) == ("latent", 4, None, 12)
    assert (read.latent.key_value_rank, read.latent.query_rank) == (16, 12)
    assert (read.latent.rotary_width, read.latent.value_width) == (4, 8)


def test_latent_attention_without_a_query_rank():
    assert read_latent_attention(q_proj=linear(32, 48)).latent.query_rank is None


def test_query_and_key_norms_are_reported_but_not_an_indexers():
    node = attention(
        q_norm=rms_norm(8),
        k_norm=rms_norm(8),
        indexer=part("SomeIndexer", k_norm=rms_norm(4), wq=linear(32, 8)),
    )
    read = read_attention(node)
    assert [(norm.name, norm.width) for norm in read.qk_norm] == [("q_norm", 8), ("k_norm", 8)]
    assert read.features == ("indexer",)


def test_projections_with_a_bias():
    assert read_attention(attention(bias=("q_proj", "v_proj"))).bias == ("query", "value")


def test_bias_is_unknown_if_no_projection_name_is_known():
    read = read_attention(part("SomeAttention", (), {"num_heads": 4}, odd=linear(32, 32)))
    assert read.bias == ()
    assert "bias" in read.unknown


def test_sinks_are_a_feature():
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
def test_mixers_that_replace_attention(class_name, parameters, attributes, mechanism):
    read = read_attention(part(class_name, parameters, attributes, out_proj=linear(32, 32)))
    assert (read.mechanism, read.kind, read.positions) == (mechanism, None, None)


def test_latent_attention_of_a_class_named_linear():
    node = part("SomeLinearAttention", (), {"num_heads": 4}, kv_b_proj=linear(16, 64), o_proj=linear(32, 32))
    assert read_attention(node).mechanism == "attention"


def test_a_short_convolution_has_no_heads():
    conv = part("Conv1d", {"weight": (32, 1, 4)}, {"in_channels": 32, "out_channels": 32, "kernel_size": (4,)})
    read = read_attention(part("SomeShortConv", conv=conv, out_proj=linear(32, 32)), {"num_attention_heads": 4})
    assert (read.mechanism, read.convolution, read.heads) == ("convolution", 4, None)


def test_cross_attention_next_to_self_attention_is_extra_attention():
    record = read(layer(self_attn=attention(), encoder_attn=attention(), fc1=linear(32, 96), fc2=linear(96, 32)))
    assert not record.attention.cross
    assert [each.cross for each in record.extra_attention] == [True]
    assert (record.mlp.hidden_width, record.mlp.class_name) == (96, None)


def test_a_state_space_next_to_attention_is_extra_attention():
    mamba = part("SomeMamba", {"A_log": (4,), "D": (4,)}, out_proj=linear(32, 32))
    record = read(layer(mamba=mamba, self_attn=attention()))
    assert record.attention.mechanism == "attention"
    assert [each.mechanism for each in record.extra_attention] == ["state space"]


def test_keys_of_another_input_width_mean_cross_attention():
    assert read_attention(attention(k_proj=linear(48, 32), v_proj=linear(48, 32))).cross


def test_a_sublayer_named_attention_is_unwrapped():
    sublayer = part("SomeLayerSelfAttention", SelfAttention=attention("SomeAttention"), layer_norm=rms_norm(32))
    assert read(layer(sub=sublayer)).attention.class_name == "SomeAttention"

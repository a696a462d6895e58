"""Sequence operations in statements of published models."""

import ast
import textwrap

import pytest

from vlm_inspect.builders.forward.fusion_ops import joins_in


def joins(body):
    source = f"def forward(self):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    return list(joins_in(ast.parse(source).body[0], "Model.forward"))


def operations(body):
    return [(join.operation, join.target, join.values) for join in joins(body)]


@pytest.mark.parametrize(
    ("statement", "operation", "target", "value"),
    [
        (
            "x = inputs_embeds.masked_scatter(mask, image_features)",
            "scatter",
            "inputs_embeds",
            "image_features",
        ),
        (
            "x = inputs_embeds.to(a).masked_scatter(mask, image_features)",
            "scatter",
            "inputs_embeds",
            "image_features",
        ),
        ("final_embedding[mask] = image_features", "scatter", "final_embedding", "image_features"),
        ("hidden_states[mask, :] = local", "scatter", "hidden_states", "local"),
        ("input_ids[special_image_mask] = image_tokens", "scatter", "input_ids", "image_tokens"),
        (
            "x = inputs_embeds.index_put(indices=at, values=img, accumulate=False)",
            "scatter",
            "inputs_embeds",
            "img",
        ),
        ("return torch.where(mask, image_embeds, inputs_embeds)", "scatter", "inputs_embeds", "image_embeds"),
        ("inputs_embeds += audio_embeds", "add", "inputs_embeds", "audio_embeds"),
        ("x = torch.cat([features, inputs_embeds], dim=1)", "prepend", "inputs_embeds", "features"),
        ("x = torch.cat((inputs_embeds, patches), 1)", "append", "inputs_embeds", "patches"),
        ("x = self.get_input_embeddings()(bpe_tokens)", "embed", "embed_tokens", "bpe_tokens"),
        ("x = self.language_model.embed_tokens(bpe_tokens)", "embed", "embed_tokens", "bpe_tokens"),
    ],
)
def test_statement_has_operation_target_and_value(statement, operation, target, value):
    assert (operation, target, (value,)) in operations(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "llm_input_ids[special_image_mask] = 0",
        'mm_encoder_outputs["image"] = self.get_image_features(pixel_values)',
        "rows, columns = torch.where(mask)",
        "x = torch.cat(image_features, dim=0)",
        "x = self.get_input_embeddings()",
        "outputs = self.language_model(inputs_embeds=inputs_embeds)",
    ],
)
def test_other_statements_are_no_operations(statement):
    assert joins(statement) == []


def test_value_is_traced_to_its_sources():
    (join,) = joins("""
        vision_outputs = self.vision_model(pixel_values)
        query_output = self.qformer(vision_outputs[0])
        language_model_inputs = self.language_projection(query_output)
        inputs_embeds = torch.cat([language_model_inputs, inputs_embeds], dim=1)
    """)[:1]
    assert {"query_output", "qformer", "vision_model", "pixel_values"} <= set(join.sources)


def test_sources_of_the_text_are_not_sources_of_a_feature():
    (join,) = joins("""
        inputs_embeds = inputs_embeds.masked_scatter(image_mask, image_features)
        video_features = video_features.to(inputs_embeds.device)
        inputs_embeds = inputs_embeds.masked_scatter(mask, video_features)
    """)[1:]
    assert join.values == ("video_features",)
    assert "image_features" not in join.sources


def test_operation_has_its_statement_and_method():
    (join,) = joins("inputs_embeds = inputs_embeds.masked_scatter(\n    mask,\n    image_features,\n)")
    assert join.statement == "inputs_embeds = inputs_embeds.masked_scatter(mask, image_features)"
    assert join.where == "Model.forward"
    assert join.mask == ("mask",)

"""Text models and their heads: no encoder of images or sound, and nothing to project."""

import pytest

from tests.anatomy.test_task_models import described, parts


@pytest.mark.parametrize(
    ("class_name", "model_type", "heads"),
    [
        ("ElectraForMaskedLM", "electra", {"generator_predictions", "generator_lm_head"}),
        ("ModernBertForMaskedLM", "modernbert", {"head", "decoder"}),
        ("ModernVBertForMaskedLM", "modernvbert", {"projection_head", "lm_head"}),
        ("BltForCausalLM", "blt", {"lm_head"}),
        ("Gemma3ForCausalLM", "gemma3_text", {"lm_head"}),
    ],
)
def test_a_transform_before_the_lm_head_is_no_task_head(class_name, model_type, heads):
    found = parts(described(class_name, model_type))
    assert found["lm_head"] == heads
    assert "task_head" not in found


@pytest.mark.parametrize(
    ("class_name", "model_type", "heads"),
    [
        ("T5ForQuestionAnswering", "t5", {"qa_outputs"}),
        ("CanineForSequenceClassification", "canine", {"classifier"}),  # hashes characters
        ("AlbertModel", "albert", None),
        ("GPT2ForSequenceClassification", "gpt2", {"score"}),
        ("Gemma3ForCausalLM", "gemma3_text", None),
        ("WhisperForCausalLM", "whisper", None),
    ],
)
def test_a_text_model_is_a_language_model_and_its_heads(class_name, model_type, heads):
    record = described(class_name, model_type)
    found = parts(record)
    assert record.kind == "text"
    assert set(found) <= {"language_model", "lm_head", "task_head"}
    assert found.get("task_head") == heads
    assert record.absent["projector"] == "only a language model was built"

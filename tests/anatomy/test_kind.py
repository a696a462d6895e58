import pytest
from msgspec.structs import replace

from tests.every_type.answers import record_of
from vlm_inspect.anatomy.kind import with_kind
from vlm_inspect.core.architecture import Role


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("llava", "vision-language"),
        ("fuyu", "vision-language"),
        ("chameleon", "vision-language"),
        ("mllama", "vision-language"),
        ("qwen2_audio", "audio-language"),
        ("qwen2_5_omni", "omni"),
        ("gemma4_unified", "omni"),
        ("mistral4", "text"),
        ("evolla", "other"),
        ("pi0", "other"),
    ],
)
def test_the_kind_follows_from_roles_and_inputs(model_type, kind):
    assert record_of(model_type).kind == kind


def test_a_head_that_is_unknown_leaves_the_kind_unknown():
    record = record_of("llava")
    rest = tuple(part for part in record.components if part.role is not Role.LM_HEAD)
    record = replace(record, kind=None, components=rest, unknown={"lm_head": "needs remote code"})
    assert with_kind(record).kind is None
    assert with_kind(record).unknown["kind"] == "needs remote code"

"""The nine models of the catalogue, cell by cell, with no network."""

import csv
import io

import pytest

from tests.cli.program import call, cells, run
from vlm_inspect.sources import catalogue

COLUMNS = (
    "model,model_class,vision_model,vision_layers,vision_embeddings,projector,"
    "language_model,language_layers,language_mlp,lm_head,total_parameters"
)
CLIP = ("CLIPVisionModel", "24 layers", "Conv2d(3, 1024) + Embedding(577)")
SIGLIP = ("SiglipVisionModel", "27 layers", "Conv2d(3, 1152) + Embedding(729)")
IDEFICS2_VISION = ("Idefics2VisionTransformer", "27 layers", "Conv2d(3, 1152) + Embedding(4900)")
CLIP_PROJECTOR = "Linear(1024 -> 4096) + GELU + Linear"
SIGLIP_PROJECTOR = "Linear(1152 -> 4096) + GELU + Linear"
IDEFICS2_PROJECTOR = "Idefics2MLP (1152 -> 14336 -> 4096) + Idefics2PerceiverResampler (3 layers, 64 latents)"
LLAMA_2 = ("LlamaModel", "32 layers", "LlamaMLP (4096 -> 11008 -> 4096)")
LLAMA_3 = ("LlamaModel", "32 layers", "LlamaMLP (4096 -> 14336 -> 4096)")
MISTRAL = ("MistralModel", "32 layers", "MistralMLP (4096 -> 14336 -> 4096)")
LLAVA, LLAVA_NEXT = "LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration"
IDEFICS2 = "Idefics2ForConditionalGeneration"

EXPECTED = {
    "TIGER-Lab/Mantis-8B-clip-llama3": (
        LLAVA, *CLIP, CLIP_PROJECTOR, *LLAMA_3, "Linear(4096 -> 128258)", "8,354,764,800",
    ),
    "TIGER-Lab/Mantis-8B-siglip-llama3": (
        LLAVA, *SIGLIP, SIGLIP_PROJECTOR, *LLAMA_3, "Linear(4096 -> 128258)", "8,480,007,232",
    ),
    "llava-hf/llava-1.5-7b-hf": (
        LLAVA, *CLIP, CLIP_PROJECTOR, *LLAMA_2, "Linear(4096 -> 32064)", "7,063,427,072",
    ),
    "microsoft/Phi-3-vision-128k-instruct": (
        "Phi3VForCausalLM", *CLIP, "Linear(4096 -> 3072) + GELU + Linear",
        "Phi3VModel", "32 layers", "Phi3MLP (3072 -> 8192 -> 3072)", "Linear(3072 -> 32064)", "4,146,621,440",
    ),
    "llava-hf/llava-v1.6-mistral-7b-hf": (
        LLAVA_NEXT, *CLIP, CLIP_PROJECTOR, *MISTRAL, "Linear(4096 -> 32064)", "7,566,747,648",
    ),
    "llava-hf/llava-v1.6-vicuna-7b-hf": (
        LLAVA_NEXT, *CLIP, CLIP_PROJECTOR, *LLAMA_2, "Linear(4096 -> 32064)", "7,063,431,168",
    ),
    "HuggingFaceM4/idefics2-8b-base": (
        IDEFICS2, *IDEFICS2_VISION, IDEFICS2_PROJECTOR, *MISTRAL, "Linear(4096 -> 32002)", "8,402,759,920",
    ),
    "HuggingFaceM4/idefics2-8b": (
        IDEFICS2, *IDEFICS2_VISION, IDEFICS2_PROJECTOR, *MISTRAL, "Linear(4096 -> 32003)", "8,402,768,112",
    ),
    "HuggingFaceM4/idefics2-8b-chatty": (
        IDEFICS2, *IDEFICS2_VISION, IDEFICS2_PROJECTOR, *MISTRAL, "Linear(4096 -> 32003)", "8,402,768,112",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The columns of the table that every release must show, as CSV."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        return call("table", "--offline", "--format", "csv", "--columns", COLUMNS)


def test_the_expected_models_are_the_catalogue():
    assert tuple(EXPECTED) == catalogue.names()


@pytest.mark.parametrize("model", EXPECTED)
def test_every_cell_of_a_seed_model_is_as_expected(answered, model):
    rows = {row[0]: tuple(row[1:]) for row in csv.reader(io.StringIO(answered.stdout))}
    assert rows[model] == EXPECTED[model]


def test_offline_is_answered_from_the_catalogue_without_a_word_on_stderr(answered):
    assert (answered.code, answered.stderr) == (0, "")


def test_no_network_still_gives_the_whole_table(seed_table):
    headers, *rows = cells(seed_table.stdout)
    assert seed_table.code == 0
    assert len(headers) == 15
    assert [row[0].strip("`") for row in rows] == list(catalogue.names())
    assert {len(row) for row in rows} == {15}


def test_no_network_is_one_line_on_stderr(seed_table):
    assert seed_table.stderr.count("\n") == 1
    assert seed_table.stderr.startswith("note: ")
    assert seed_table.stderr.endswith("9 models are answered from the built-in catalogue.\n")


def test_a_model_whose_class_is_code_of_its_repo_is_whole_and_says_once_what_it_was_read_from(seed_table):
    row = next(row for row in cells(seed_table.stdout) if "Phi-3-vision" in row[0])
    assert "Phi3FlashAttention2" in row[11]
    assert not any("unknown" in cell for cell in row)
    assert seed_table.stdout.count("no code of its repo was run") == 1


def test_stdout_is_the_same_to_the_byte_in_another_place_locale_width_and_hash_seed(seed_table, seed_table_elsewhere):
    assert seed_table_elsewhere.code == 0
    assert seed_table_elsewhere.stdout == seed_table.stdout


def test_quiet_says_nothing_on_stderr(seed_table_elsewhere):
    assert seed_table_elsewhere.stderr == ""


def test_the_comparison_shows_what_is_stated_beside_what_is_derived():
    answer = call("table", "--kind", "comparison", "--offline")
    headers, *rows = cells(answer.stdout)
    mantis = dict(zip(headers, rows[0], strict=True))
    assert (answer.code, answer.stderr, len(headers), len(rows)) == (0, "", 10, 9)
    assert mantis["# of Parameters"] == "8.35B"
    assert mantis["Vision Encoder"] == "openai/clip-vit-large-patch14-336"
    assert all("not stated" not in row for row in rows)


def test_the_environments_offline_switch_is_the_same_as_the_option(here):
    answer = run("table", "llava-hf/llava-1.5-7b-hf", "--format", "json", cwd=here, HF_HUB_OFFLINE="1")
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.data[0]["model"] == {
        "id": "llava-hf/llava-1.5-7b-hf", "revision": None, "source": "catalogue",
    }  # fmt: skip

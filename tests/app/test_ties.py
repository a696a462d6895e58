"""Whether the head is counted: the class, config.json and the names of the checkpoint's tensors decide."""

import itertools
import json
import logging

import pytest
import torch
import transformers
from safetensors.torch import save_file

from tests import checkpoints, sparse
from tests.published import GEMMA_3_4B, LLAVA_1_5_7B, MISTRAL_SMALL_3_1, QWEN2_5_VL_7B
from vlm_inspect.app.pipeline import cached_result, inspect_model, resolve
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.options import InspectOptions

MISTRAL3 = {
    "model_type": "mistral3",
    "architectures": ["Mistral3ForConditionalGeneration"],
    "text_config": {"model_type": "mistral", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    | {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 100, "head_dim": 16},
    "vision_config": {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1}
HEAD, EMBEDDING = 100 * 32, "model.language_model.embed_tokens.weight"
LAYOUT_2024 = {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
LAYOUT_2024 |= {f"model.{part}.": f"{part}." for part in ("vision_tower", "multi_modal_projector")}
LEVELS = list(itertools.product([None, True, False], repeat=2))


def stating(config, *, top=None, text=None):
    """The configuration with `tie_word_embeddings` at two levels."""
    config = json.loads(json.dumps(config))
    if top is not None:
        config["tie_word_embeddings"] = top
    if text is not None:
        config["text_config"]["tie_word_embeddings"] = text
    return config


def tensors_of(config, *, head):
    """What a checkpoint of 2024 holds, with a head or without."""
    tensors = checkpoints.tensors_of(stating(config, top=True))
    if head:
        tensors["lm_head.weight"] = tensors[EMBEDDING]
    return checkpoints.renamed(tensors, LAYOUT_2024)


def without_weights(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def parameters(folder, **options):
    return inspect_model(str(folder), options=InspectOptions(**options)).architecture.parameters


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache")


# --- the loader


@pytest.mark.parametrize("stored", ["no head", "another head"])
@pytest.mark.parametrize(("top", "text"), LEVELS)
def test_total_is_that_of_the_loaded_model(tmp_path, top, text, stored):
    config = stating(MISTRAL3, top=top, text=text)
    model_class = transformers.Mistral3ForConditionalGeneration
    state = model_class(transformers.Mistral3Config.from_dict(stating(MISTRAL3, top=True))).state_dict()
    state = {name: tensor.clone() for name, tensor in state.items() if name != "lm_head.weight"}
    if stored == "another head":
        state["lm_head.weight"] = torch.ones_like(state[EMBEDDING])
    without_weights(tmp_path, config)
    save_file(checkpoints.renamed(state, LAYOUT_2024), tmp_path / "model.safetensors", metadata={"format": "pt"})
    transformers.utils.logging.set_verbosity(logging.CRITICAL)
    loaded = model_class.from_pretrained(tmp_path)
    total = sum(parameter.numel() for parameter in loaded.parameters())

    found = parameters(tmp_path)

    states_the_tie = {value for value in (top, text) if value is not None} == {True}
    if states_the_tie and stored == "another head":  # names cannot tell whether the values are equal
        assert (found.total, total - found.total) == (parameters(without_weights(tmp_path / "m", config)).total, HEAD)
    else:
        assert found.total == total
        assert bool(found.ties) == (loaded.lm_head.weight is loaded.get_input_embeddings().weight)
    assert found.uncertain is None


# --- no checkpoint at hand


@pytest.mark.parametrize(("top", "text"), LEVELS)
def test_a_count_is_uncertain_unless_config_json_states_what_the_class_builds(tmp_path, top, text):
    found = parameters(without_weights(tmp_path, stating(MISTRAL3, top=top, text=text)))
    builds_tie = top is not False
    stated = {value for value in (top, text) if value is not None}
    assert bool(found.ties) == builds_tie
    if stated == {builds_tie}:
        assert found.uncertain is None
    else:
        assert f"{HEAD:,} parameters {'more' if builds_tie else 'fewer'}" in found.uncertain


def test_mistral_small_without_its_checkpoint_is_23_billion_and_uncertain(tmp_path):
    found = parameters(without_weights(tmp_path, MISTRAL_SMALL_3_1))
    assert (found.total, bool(found.uncertain)) == (23_340_272_640, True)
    assert "does not say whether the head is tied" in found.uncertain
    assert "671,088,640 parameters more" in found.uncertain


@pytest.mark.parametrize("config", [LLAVA_1_5_7B, QWEN2_5_VL_7B], ids=["llava", "qwen"])
def test_a_class_that_ties_nothing_is_certain(tmp_path, config):
    assert parameters(without_weights(tmp_path, config)).uncertain is None


@pytest.mark.parametrize(
    ("config", "is_uncertain"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1}, True),
        (
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1, "tie_word_embeddings": True},
            False,
        ),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1}, False),
        ({"model_type": "siglip", "architectures": ["SiglipModel"]}, False),
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, False),
        (GEMMA_3_4B, True),
    ],
    ids=["ties by default", "states it", "does not tie", "no head", "no embedding", "gemma"],
)
def test_other_kinds_of_models(tmp_path, config, is_uncertain):
    assert bool(parameters(without_weights(tmp_path, config)).uncertain) == is_uncertain


def test_weights_in_a_pickle_leave_the_count_uncertain(tmp_path):
    without_weights(tmp_path, MISTRAL3)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert parameters(tmp_path).uncertain


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"", b"\0" * 40])
def test_a_file_that_cannot_be_read_leaves_the_count_uncertain(tmp_path, content):
    without_weights(tmp_path, MISTRAL3)
    (tmp_path / "model.safetensors").write_bytes(content)
    assert parameters(tmp_path).uncertain


def test_names_of_another_model_leave_the_count_uncertain(tmp_path):
    checkpoints.save(tmp_path, MISTRAL3, {"unet.conv.weight": (3, 3)})
    assert parameters(tmp_path).uncertain


# --- a folder


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_stored_head_of_mistral_small_is_counted(tmp_path, shards, use_cache):
    checkpoints.save(tmp_path, MISTRAL_SMALL_3_1, tensors_of(MISTRAL_SMALL_3_1, head=True), shards)
    record = inspect_model(str(tmp_path), options=InspectOptions(use_cache=use_cache)).architecture
    (head,) = record.by_role(Role.LM_HEAD)
    assert (record.parameters.total, head.parameters) == (24_011_361_280, 671_088_640)
    assert (record.parameters.uncertain, record.parameters.ties, head.head) == (None, (), None)
    assert sum(part.parameters for part in record.components) == record.parameters.total
    (note,) = record.notes
    assert "stores lm_head.weight separately" in note
    assert "unties the two where their values differ" in note


def test_an_index_is_enough(tmp_path):
    checkpoints.save(tmp_path, MISTRAL_SMALL_3_1, tensors_of(MISTRAL_SMALL_3_1, head=True), 3)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    assert parameters(tmp_path).total == 24_011_361_280


def test_a_checkpoint_without_a_head_is_tied_and_certain(tmp_path):
    checkpoints.save(tmp_path, MISTRAL3, tensors_of(MISTRAL3, head=False))
    record = inspect_model(str(tmp_path)).architecture
    assert (bool(record.parameters.ties), record.parameters.uncertain, record.notes) == (True, None, ())


def test_a_head_that_is_not_stored_and_not_tied_is_a_note(tmp_path):
    checkpoints.save(tmp_path, stating(MISTRAL3, top=False, text=True), tensors_of(MISTRAL3, head=False))
    (note,) = inspect_model(str(tmp_path)).architecture.notes
    assert "stores no head: the loader initializes its 3,200 parameters newly" in note


@pytest.mark.parametrize("name", ["embed_out.weight", "lm_head.weight"])
def test_a_head_under_a_name_that_the_loader_renames_is_found(tmp_path, name):
    config = {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "num_hidden_layers": 1}
    config |= {"tie_word_embeddings": True, "llm_config": {"tie_word_embeddings": False}}
    checkpoints.save(tmp_path, config, dict.fromkeys([name, "gpt_neox.embed_in.weight"], (50432, 6144)))
    assert parameters(tmp_path).ties == ()


def test_a_changed_checkpoint_is_read_again(tmp_path):
    for head in (False, True, False):
        checkpoints.save(tmp_path, MISTRAL3, tensors_of(MISTRAL3, head=head))
        assert bool(parameters(tmp_path).ties) != head


# --- the Hub


def publish(hub, tmp_path, config, *, head, shards=1):
    folder = checkpoints.save(tmp_path / "m", config, tensors_of(config, head=head), shards)
    hub.add_model("org/name", {path.name: path for path in folder.iterdir()})


def requested(hub):
    return [request.path.rpartition("/")[2] for request in hub.requests if "config.json" not in request.path]


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(
    ("config", "shards", "file"),
    [(MISTRAL3, 1, "model.safetensors"), (MISTRAL_SMALL_3_1, 3, "model.safetensors.index.json")],
    ids=["single file", "index"],
)
def test_the_hub_is_asked_once(hub, options, tmp_path, config, shards, file, head):
    publish(hub, tmp_path, config, head=head, shards=shards)
    for _ in range(2):
        record = inspect_model("org/name", options=options).architecture
        assert (bool(record.parameters.ties), record.parameters.uncertain) == (not head, None)
    assert requested(hub) == [file]
    assert sum(request.body_bytes for request in hub.requests) < 100_000


def test_a_model_that_states_its_tie_takes_no_request(hub, options, tmp_path):
    publish(hub, tmp_path, stating(MISTRAL3, top=True), head=False)
    assert inspect_model("org/name", options=options).architecture.parameters.ties
    assert requested(hub) == []


def test_a_repository_without_safetensors_is_asked_for_them_once(hub, options):
    hub.add_model("org/name", {"config.json": json.dumps(MISTRAL3).encode(), "pytorch_model.bin": b""})
    for _ in range(2):
        assert inspect_model("org/name", options=options).architecture.parameters.uncertain
    assert len(requested(hub)) == 2


def test_offline_the_cached_names_decide(hub, options, tmp_path):
    publish(hub, tmp_path, MISTRAL3, head=True)
    offline = InspectOptions(cache_dir=options.cache_dir, offline=True)
    resolve("org/name", options=options)
    assert parameters("org/name", cache_dir=options.cache_dir, offline=True).uncertain
    assert requested(hub) == []
    for use_cache in (True, False):
        inspect_model("org/name", options=InspectOptions(cache_dir=options.cache_dir, use_cache=use_cache))
        for cached in (True, False):
            offline = InspectOptions(cache_dir=options.cache_dir, offline=True, use_cache=cached)
            found = inspect_model("org/name", options=offline).architecture.parameters
            assert (found.ties, found.uncertain) == ((), None)


def test_a_fault_of_the_hub_leaves_the_count_uncertain(hub, options, tmp_path):
    publish(hub, tmp_path, MISTRAL3, head=True)
    hub.fault("model.safetensors", status=403)
    assert inspect_model("org/name", options=options).architecture.parameters.uncertain
    hub.forget_faults()
    assert inspect_model("org/name", options=options).architecture.parameters.uncertain is None


def test_a_result_from_the_cache_alone_takes_no_request(hub, options, tmp_path):
    publish(hub, tmp_path, MISTRAL3, head=True)
    model = resolve("org/name", options=options)
    assert cached_result(model, options) is None
    inspect_model("org/name", options=options)
    count = len(hub.requests)
    assert cached_result(model, options).architecture.parameters.ties == ()
    assert len(hub.requests) == count


def test_header_and_class_agree_where_the_head_is_stored(tmp_path):
    sparse.write(tmp_path / "model.safetensors", tensors_of(MISTRAL3, head=True))
    without_weights(tmp_path, MISTRAL3)
    assert parameters(tmp_path, builder="header").total == parameters(tmp_path).total

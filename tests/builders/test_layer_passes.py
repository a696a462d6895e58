"""How often layers run: what is read from the source of `forward` is what running it shows."""

from collections import Counter

import pytest
import torch
import transformers
from msgspec.structs import replace
from torch import nn

from tests.every_type.answers import record_of, tree_of
from vlm_inspect.anatomy.layers.read import with_passes
from vlm_inspect.anatomy.layers.stacks import layer_passes
from vlm_inspect.builders.forward.layer_passes import read_passes
from vlm_inspect.builders.transformers.module_tree import read_model
from vlm_inspect.core import codec
from vlm_inspect.core.architecture import LayerStack, Loop, Role

SIZES = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TEXT = {"input_ids": torch.tensor([[3, 4, 5]])}
LOOPED = {
    "DoryForCausalLM": (
        {**SIZES, **TOKENS, "intermediate_size": 48, "num_hidden_layers": 6, "n_input_layers": 1}
        | {"n_recurrent_layers": 3, "n_output_layers": 2, "n_recurrent_loops": 4},
        TEXT,
    ),
    "HrmTextForCausalLM": (
        {**SIZES, **TOKENS, "intermediate_size": 48, "num_hidden_layers": 2, "H_cycles": 2, "L_cycles": 3},
        TEXT,
    ),
    "AlbertModel": (
        {"vocab_size": 64, "embedding_size": 16, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
        | {"num_hidden_layers": 6, "num_hidden_groups": 2, "inner_group_num": 2},
        TEXT,
    ),
    "Inkling2LoopForCausalLM": (
        {**SIZES, **TOKENS, "unpadded_vocab_size": 60, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2}
        | {"swa_head_dim": 8, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2}
        | {"num_hidden_layers": 8, "n_layers_per_attn_res_block": 2, "loop_layer_index_start": 2}
        | {"loop_layer_index_end": 6, "loop_num_passes": 3, "loop_gate_rank": 4},
        TEXT,
    ),
    "PerceiverModel": (
        {"num_latents": 4, "d_latents": 16, "d_model": 32, "num_blocks": 3, "num_self_attends_per_block": 2}
        | {"num_self_attention_heads": 2, "num_cross_attention_heads": 2},
        {"inputs": torch.zeros(1, 5, 32)},
    ),
    # these run each layer once, with slices, indices or loops in their code
    "LlamaForCausalLM": ({**SIZES, **TOKENS, "intermediate_size": 48, "num_hidden_layers": 3}, TEXT),
    "XLMModel": ({"vocab_size": 64, "emb_dim": 32, "n_layers": 3, "n_heads": 4}, TEXT),
    "BertModel": (
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
        },
        TEXT,
    ),
    "T5Model": (
        {"vocab_size": 64, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 48, "num_layers": 3},
        {**TEXT, "decoder_input_ids": TEXT["input_ids"]},
    ),
}


@pytest.mark.parametrize(("class_name", "case"), LOOPED.items(), ids=LOOPED)
@pytest.mark.filterwarnings("ignore")
def test_the_passes_of_a_class_are_those_of_a_run(class_name, case):
    sizes, inputs = case
    kind = getattr(transformers, class_name)
    model = kind(kind.config_class(**sizes)).eval()
    runs = Counter()
    lists = {path: module for path, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    for path, layers in lists.items():
        for index, layer in enumerate(layers):
            layer.register_forward_hook(lambda *_, at=(path, index): runs.update([at]))
    with torch.no_grad():
        model(**inputs)
    tree = read_model(model, model.config)
    # lists whose layers are called by their parts run no hook
    read = {path: layer_passes(tree, path, len(layers)) for path, layers in lists.items() if runs[path, 0]}
    assert read == {path: [runs[path, index] for index in range(len(lists[path]))] for path in read}
    assert read


def passes(stack_class, **attributes):
    """What is read of a class whose instances have five layers, one other module and these attributes."""
    module = stack_class()
    module.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(5))
    module.stack = nn.Sequential(nn.ModuleList([nn.Linear(2, 2)]))
    module.config = transformers.PretrainedConfig(**attributes)
    return read_passes(module)


class Once(nn.Module):
    def forward(self, x):
        for layer in self.layers[:]:
            x = layer(x)
        return x


class EarlyExit(nn.Module):
    def forward(self, x):
        for index, layer in enumerate(self.layers[: self.config.exit]):
            x = layer(x) + index
        return x


class Slice(nn.Module):
    def forward(self, x, cache=None):
        start, count = self.config.start, len(self.layers) - 2
        end = min(start + count, 4)
        for step in range(self.config.times + 1):
            if step == 0:
                continue_from = x
            for layer in self.layers[start:end]:
                x = layer(x, cache) if cache is None else self.checkpoint(layer.__call__, x, cache)
        return x + continue_from


class Indexed(nn.Module):
    def forward(self, x):
        for number in range(10):
            x = self.layers[number // 2](x)
        return x


class WholeStack(nn.Module):
    def forward(self, x):
        for _ in range(self.config.times):
            x = self.stack(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Argument(nn.Module):
    def forward(self, x, num_steps=None):
        num_steps = num_steps or self.config.times
        for _ in range(num_steps):
            for layer in self.layers:
                x = layer(x)
        return x


class Data(nn.Module):
    def forward(self, x):
        batch, frames, _ = x.shape
        for _ in range(frames):
            for layer in self.layers:
                x = layer(x)
        while len(x) > batch:
            x = self.stack(x)
        return x


class Sides(nn.Module):
    def forward(self, x, cache=None):
        if cache is None:
            for layer in self.layers:
                x = layer(x)
        else:
            for layer in self.layers:
                x = layer(x, cache)
        return self.stack(x) if cache else self.stack(x, None)


class Parts(nn.Module):
    def forward(self, x):
        for level, layer in enumerate(self.layers):
            for number in range(2):
                x = layer.block[number](x)
            x = layer.norm(x) + level
        for _ in range(2):
            x = self.stack.inner(x)
        return x


class Unread(nn.Module):
    def forward(self, x, order):
        for index in order:
            x = self.layers[index](x)
        for _ in range(2):
            x = sum(layer(x) for layer in self.layers)
        return x


class Passed(nn.Module):
    def forward(self, x):
        x = self.layers[0](x)
        for _ in range(2):
            x = run_all(self.layers, x)
        return x


def run_all(layers, x):
    return nn.Sequential(*layers)(x)


class Endless(nn.Module):
    def forward(self, x):
        for _ in range(1_000_000_000_000):
            x = self.stack(x)
        for _ in range(1000):
            for _ in range(1000):
                x = self.layers[0](x)
        return x


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        (Once, {}, {}),
        (EarlyExit, {"exit": 3}, {"layers": (1, 1, 1, 0, 0)}),
        (Slice, {"start": 1, "times": 2}, {"layers": (0, 3, 3, 3, 0)}),
        (Indexed, {}, {"layers": (2, 2, 2, 2, 2)}),
        (WholeStack, {"times": 4}, {"stack": (4,)}),
        (WholeStack, {"times": 1}, {}),
        (Argument, {"times": 4}, {"layers": (None,) * 5}),
        (Data, {}, {}),
        (Sides, {}, {}),
        (Parts, {}, {}),
        (Unread, {}, {}),
        (Passed, {}, {}),
        (Endless, {}, {}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_loops_of_a_forward(kind, config, expected):
    assert passes(kind, **config) == expected


def stack_with(*each):
    stack = with_passes(LayerStack("layers", len(each), ()), each)
    return stack.passes, stack.loops, dict(stack.unknown)


def test_equal_passes_are_those_of_the_whole_stack():
    assert stack_with(1, 1, 1) == (1, (), {})
    assert stack_with(6, 6) == (6, (), {})
    assert stack_with(1, 3, 3, 1, 0) == (1, (Loop(1, 2, 3), Loop(4, 4, 0)), {})
    assert stack_with(2, 6, 2) == (2, (Loop(1, 1, 3),), {})
    passes, loops, unknown = stack_with(None, 1)
    assert (passes, loops, [*unknown]) == (None, (), ["passes"])


def test_passes_of_layers_that_a_tree_does_not_have_are_ignored():
    tree = replace(tree_of("inkling2_loop"), passes={"model.language_model.layers": (2,), "model": ()})
    assert layer_passes(tree, "model.language_model.layers", 24) == [1] * 24
    outer = replace(tree, passes={"model.language_model": (2,), "model": (None,)})
    assert layer_passes(outer, "model.language_model.layers", 2) == [None, None]


def test_unknown_passes_stay_unknown_in_a_file():
    record = record_of("inkling2_loop")
    parts = tuple(
        replace(part, stacks=tuple(with_passes(stack, [None] * stack.count) for stack in part.stacks))
        for part in record.components
    )
    unknown = replace(record, components=parts)
    assert codec.architecture_from_data(codec.to_data(unknown)) == unknown


def test_a_model_with_a_loop_says_which_layers_run_how_often():
    (language,) = record_of("inkling2_loop").by_role(Role.LANGUAGE_MODEL)
    (stack,) = language.stacks
    assert (stack.count, stack.passes, stack.loops) == (24, 1, (Loop(6, 17, 3),))
    # active parameters count weights, not work
    assert language.active < language.parameters

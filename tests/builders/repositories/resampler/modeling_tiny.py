"""A resampler that is declared in another order than it runs, in front of transformers' own Llama."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, SiglipVisionConfig, SiglipVisionModel


class TinyConfig(LlamaConfig):
    model_type = "tiny_resampler"

    def __init__(self, query_num=8, vision_config=None, **kwargs):
        self.query_num = query_num
        self.vision_config = SiglipVisionConfig(**(vision_config or {}))
        super().__init__(**kwargs)


class Resampler(nn.Module):
    def __init__(self, num_queries, embed_dim, num_heads, kv_dim):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(num_queries, embed_dim))
        self.ln_post = nn.LayerNorm(embed_dim)
        self.attn = nn.MultiheadAttention(embed_dim, num_heads)
        self.ln_q = nn.LayerNorm(embed_dim)
        self.ln_kv = nn.LayerNorm(embed_dim)
        self.proj = nn.Parameter(torch.zeros(embed_dim, embed_dim))
        self.kv_proj = nn.Linear(kv_dim, embed_dim, bias=False)

    def forward(self, x):
        x = self.ln_kv(self.kv_proj(x))
        q = self.ln_q(self.query)
        out = self.attn(q.unsqueeze(1), x, x)[0]
        return self.ln_post(out) @ self.proj


class TinyForCausalLM(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.llm = LlamaForCausalLM(config)
        self.vpm = SiglipVisionModel(config.vision_config)
        self.resampler = Resampler(
            config.query_num, config.hidden_size, config.num_attention_heads, config.vision_config.hidden_size
        )
        self.post_init()

    def get_vllm_embedding(self, data):
        vision_hidden_states = self.resampler(self.vpm(data["pixel_values"]).last_hidden_state)
        vllm_embedding = self.llm.model.embed_tokens(data["input_ids"])
        for i in range(len(data["input_ids"])):
            cur_vs_hs = vision_hidden_states[i]
            cur_vllm_emb = vllm_embedding[i]
            image_indices = data["image_bound"][i]
            cur_vllm_emb.scatter_(0, image_indices.view(-1, 1), cur_vs_hs.view(-1, cur_vs_hs.shape[-1]))
        return vllm_embedding, vision_hidden_states

    def forward(self, data, **kwargs):
        vllm_embedding, vision_hidden_states = self.get_vllm_embedding(data)
        return self.llm(input_ids=None, inputs_embeds=vllm_embedding, **kwargs)

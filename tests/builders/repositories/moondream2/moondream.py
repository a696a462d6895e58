import torch
from torch import nn

from .config import MoondreamConfig
from .layers import QuantizedLinear, two_linears


def build_vision_model(config, dtype):
    patch_dim = config.enc_patch_size * config.enc_patch_size * config.in_channels
    num_patches = (config.crop_size // config.enc_patch_size) ** 2
    vision = nn.ModuleDict(
        {
            "patch_emb": nn.Linear(patch_dim, config.enc_dim, dtype=dtype),
            "blocks": nn.ModuleList(
                [
                    nn.ModuleDict(
                        {
                            "ln1": nn.LayerNorm(config.enc_dim, dtype=dtype),
                            "attn": nn.ModuleDict(
                                {
                                    "qkv": nn.Linear(config.enc_dim, 3 * config.enc_dim, dtype=dtype),
                                    "proj": nn.Linear(config.enc_dim, config.enc_dim, dtype=dtype),
                                }
                            ),
                            "ln2": nn.LayerNorm(config.enc_dim, dtype=dtype),
                            "mlp": two_linears(nn.Linear, config.enc_dim, config.enc_ff_dim, config.enc_dim, dtype),
                        }
                    )
                    for _ in range(config.enc_n_layers)
                ]
            ),
            "post_ln": nn.LayerNorm(config.enc_dim, dtype=dtype),
            "proj_mlp": two_linears(
                nn.Linear, config.enc_dim * 2, config.proj_inner_dim, config.proj_out_dim, dtype
            ),
        }
    )
    vision.pos_emb = nn.Parameter(torch.zeros(1, num_patches, config.enc_dim, dtype=dtype))
    return vision


def build_text_model(config, dtype):
    qkv_dim = int(config.dim * (1 + 2 * config.n_kv_heads / config.n_heads))
    linear_cls = QuantizedLinear if config.group_size is not None else nn.Linear
    text = nn.ModuleDict(
        {
            "blocks": nn.ModuleList(
                [
                    nn.ModuleDict(
                        {
                            "ln": nn.LayerNorm(config.dim, dtype=dtype),
                            "attn": nn.ModuleDict(
                                {
                                    "qkv": linear_cls(config.dim, qkv_dim, dtype=dtype),
                                    "proj": linear_cls(config.dim, config.dim, dtype=dtype),
                                }
                            ),
                            "mlp": two_linears(linear_cls, config.dim, config.ff_dim, config.dim, dtype),
                        }
                    )
                    for _ in range(config.n_layers)
                ]
            ),
            "post_ln": nn.LayerNorm(config.dim, dtype=dtype),
            "lm_head": nn.Linear(config.dim, config.vocab_size, dtype=dtype),
        }
    )
    text.wte = nn.Parameter(torch.empty(config.vocab_size, config.dim, dtype=dtype))
    text.register_buffer("freqs_cis", torch.zeros(config.max_context, 32), persistent=False)
    return text


class MoondreamModel(nn.Module):
    def __init__(self, config: MoondreamConfig, dtype=torch.bfloat16, setup_caches=True):
        super().__init__()
        self.config = config
        self.vision = build_vision_model(config.vision, dtype)
        self.text = build_text_model(config.text, dtype)
        region = config.region
        self.region = nn.ModuleDict(
            {
                "coord_encoder": nn.Linear(region.coord_feat_dim, region.dim, dtype=dtype),
                "coord_decoder": two_linears(nn.Linear, region.dim, region.inner_dim, region.coord_out_dim, dtype),
                "size_encoder": nn.Linear(region.size_feat_dim, region.dim, dtype=dtype),
                "size_decoder": two_linears(nn.Linear, region.dim, region.inner_dim, region.size_out_dim, dtype),
            }
        )
        self.region.coord_features = nn.Parameter(torch.empty(region.coord_feat_dim // 2, 1, dtype=dtype).T)
        self.region.size_features = nn.Parameter(torch.empty(region.size_feat_dim // 2, 2, dtype=dtype).T)
        if setup_caches:
            self._setup_caches()

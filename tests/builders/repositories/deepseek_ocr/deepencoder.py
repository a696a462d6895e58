from functools import partial
from types import SimpleNamespace

import torch
import torch.nn as nn


class MlpProjector(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        if cfg.projector_type == "identity":
            modules = nn.Identity()
        elif cfg.projector_type == "linear":
            modules = nn.Linear(cfg.input_dim, cfg.n_embed)
        elif cfg.projector_type == "mlp_gelu":
            mlp_depth = cfg.get("depth", 1)
            modules = [nn.Linear(cfg.input_dim, cfg.n_embed)]
            for _ in range(1, mlp_depth):
                modules.append(nn.GELU())
                modules.append(nn.Linear(cfg.n_embed, cfg.n_embed))
            modules = nn.Sequential(*modules)
        else:
            raise ValueError(f"Unknown projector type: {cfg.projector_type}")
        self.layers = modules


class CLIPVisionEmbeddings(nn.Module):
    def __init__(self, hidden_size=1024, image_size=224, patch_size=14, num_channels=3):
        super().__init__()
        self.class_embedding = torch.nn.Parameter(torch.randn(hidden_size))
        self.patch_embedding = torch.nn.Conv2d(num_channels, hidden_size, patch_size, patch_size, bias=False)
        self.num_positions = (image_size // patch_size) ** 2 + 1
        self.position_embedding = torch.nn.Embedding(self.num_positions, hidden_size)
        self.register_buffer("position_ids", torch.arange(self.num_positions).expand((1, -1)))


class NoTPFeedForward(nn.Module):
    def __init__(self, cfg, dim, hidden_dim):
        super().__init__()
        self.fc1 = torch.nn.Linear(dim, hidden_dim, bias=True)
        self.fc2 = torch.nn.Linear(hidden_dim, dim, bias=True)


class LayerNormfp32(torch.nn.LayerNorm):
    def forward(self, x):
        return super().forward(x)


class NoTPAttention(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.num_heads = cfg.num_attention_heads
        self.head_dim = cfg.hidden_size // cfg.num_attention_heads
        self.qkv_proj = torch.nn.Linear(cfg.hidden_size, cfg.hidden_size * 3, bias=True)
        self.out_proj = torch.nn.Linear(cfg.hidden_size, cfg.hidden_size, bias=True)


class NoTPTransformerBlock(nn.Module):
    def __init__(self, cfg, layer_id):
        super().__init__()
        self.dim = cfg.hidden_size
        self.self_attn = NoTPAttention(cfg)
        self.mlp = NoTPFeedForward(cfg, dim=cfg.hidden_size, hidden_dim=cfg.ffn_hidden_size)
        self.layer_id = layer_id
        self.layer_norm1 = torch.nn.LayerNorm(cfg.hidden_size, eps=cfg.layernorm_epsilon)
        self.layer_norm2 = torch.nn.LayerNorm(cfg.hidden_size, eps=cfg.layernorm_epsilon)


class NoTPTransformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.num_layers = cfg.num_layers
        self.layers = nn.ModuleList()
        for layer_id in range(self.num_layers):
            self.layers.append(NoTPTransformerBlock(cfg, layer_id + 1))


class VitModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(
            hidden_size=cfg.hidden_size, image_size=cfg.image_size, patch_size=cfg.patch_size
        )
        self.transformer = NoTPTransformer(cfg=cfg)
        if cfg.get("fp32norm", False):
            self.pre_layrnorm = LayerNormfp32(cfg.hidden_size, eps=cfg.get("pre_layernorm_epsilon", 1e-5))
        else:
            self.pre_layrnorm = torch.nn.LayerNorm(cfg.hidden_size, eps=cfg.get("pre_layernorm_epsilon", 1e-5))


class Settings(dict):
    def __getattr__(self, name):
        return self[name]


vit_model_cfg = Settings(
    num_layers=24,
    hidden_size=1024,
    num_attention_heads=16,
    ffn_hidden_size=4096,
    image_size=224,
    patch_size=14,
    layernorm_epsilon=1e-5,
)


def build_clip_l():
    return VitModel(cfg=vit_model_cfg)


class LayerNorm2d(nn.Module):
    def __init__(self, num_channels, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))


class MLPBlock(nn.Module):
    def __init__(self, embedding_dim, mlp_dim, act=nn.GELU):
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = act()


class Attention(nn.Module):
    def __init__(self, dim, num_heads, input_size):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * input_size[0] - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * input_size[1] - 1, dim // num_heads))


class Block(nn.Module):
    def __init__(self, dim, num_heads, norm_layer, window_size, input_size):
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = Attention(dim, num_heads, input_size if window_size == 0 else (window_size, window_size))
        self.norm2 = norm_layer(dim)
        self.mlp = MLPBlock(embedding_dim=dim, mlp_dim=int(dim * 4.0))
        self.window_size = window_size


class PatchEmbed(nn.Module):
    def __init__(self, embed_dim):
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=(16, 16), stride=(16, 16))


class ImageEncoderViT(nn.Module):
    def __init__(self, depth=12, embed_dim=768, num_heads=12, norm_layer=nn.LayerNorm, global_attn_indexes=()):
        super().__init__()
        self.patch_embed = PatchEmbed(embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, 64, 64, embed_dim))
        self.blocks = nn.ModuleList()
        for i in range(depth):
            block = Block(
                dim=embed_dim,
                num_heads=num_heads,
                norm_layer=norm_layer,
                window_size=14 if i not in global_attn_indexes else 0,
                input_size=(64, 64),
            )
            self.blocks.append(block)
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, 256, kernel_size=1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(256),
        )
        self.net_2 = nn.Conv2d(256, 512, kernel_size=3, stride=2, padding=1, bias=False)
        self.net_3 = nn.Conv2d(512, 1024, kernel_size=3, stride=2, padding=1, bias=False)


def build_sam_vit_b(checkpoint=None):
    return ImageEncoderViT(norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), global_attn_indexes=[2, 5, 8, 11])

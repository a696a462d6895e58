from transformers import PretrainedConfig


class MolmoConfig(PretrainedConfig):
    model_type = "molmo"

    def __init__(
        self,
        vocab_size=50304,
        embedding_size=50304,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=None,
        layer_norm_eps=1e-5,
        qkv_bias=False,
        weight_tying=False,
        attention_layer_norm=False,
        tie_word_embeddings=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.layer_norm_eps = layer_norm_eps
        self.qkv_bias = qkv_bias
        self.weight_tying = weight_tying
        self.attention_layer_norm = attention_layer_norm
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

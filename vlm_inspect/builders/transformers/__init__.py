"""Models built from transformers' own classes on the meta device."""

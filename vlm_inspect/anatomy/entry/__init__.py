"""How images, videos and sounds get into the language model."""

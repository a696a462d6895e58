"""The stages of embeddings, projectors and other modules outside the layers."""

"""What embeddings, projectors and heads do, step by step."""

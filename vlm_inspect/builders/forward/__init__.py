"""What the code of a model's own classes says, read as text and never run."""

"""ModuleTree and configuration to Architecture."""

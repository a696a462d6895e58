"""What a configuration says and the built classes did not read, or built otherwise."""

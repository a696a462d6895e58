"""What only an environment with every extra can show: `make test-timm`."""

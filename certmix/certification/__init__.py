"""Statistics -> bounds -> certificates: where the failure probability is spent."""

"""Our signatures against other implementations of OAuth 1.0a."""

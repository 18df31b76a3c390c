"""How long the parts take, beside those of others."""

"""Images → Predictions: the network, its backbones and its weights."""

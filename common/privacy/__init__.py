"""Differential privacy for contrastive pretraining; begin with `common.privacy.mechanism`."""

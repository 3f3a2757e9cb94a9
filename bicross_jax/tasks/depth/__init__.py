"""Depth: metrics, protocols, baselines, uncertainty."""

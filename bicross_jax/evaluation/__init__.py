"""Evaluation of depth: metrics, protocols, baselines, confidence intervals and reports."""

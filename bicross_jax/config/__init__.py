"""Configs: their grammar, the sections they share, tables of experiments."""

"""EvDistill: event segmentation by distillation from frames (docs/systems/evdistill.md)."""

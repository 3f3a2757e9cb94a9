"""BiCross: pretraining, cross-modality distillation, cross-domain adaptation."""

"""Loss functions: arrays in, one scalar out.

They pool over the global batch: under a mapped axis pass its name as `axis_name`, take the
gradient on every device, and average the gradients (`jax.lax.pmean`) afterwards.
"""

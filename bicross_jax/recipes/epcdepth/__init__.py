"""EPCDepth: depth without labels, from stereo pairs (Peng et al. 2021)."""

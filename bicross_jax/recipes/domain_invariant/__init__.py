"""Akada et al. (WACV 2022): depth learned from rendered pictures, for real ones (docs/systems/domain_invariant.md)."""

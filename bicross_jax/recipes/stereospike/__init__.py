"""StereoSpike: spiking networks that see depth in events (Rancon et al. 2021)."""

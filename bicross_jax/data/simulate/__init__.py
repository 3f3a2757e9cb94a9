"""Recordings that are made of others: spike streams and events of frames."""

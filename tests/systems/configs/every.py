"""A config file without stages: its tables stand for every stage of every system."""

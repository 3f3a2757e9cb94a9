"""Where the files of real data sets lie, in the published layouts and in those of their users."""

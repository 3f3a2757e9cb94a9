"""Pictures: colour maps with a scale in metres, panels of the papers' kind, videos."""

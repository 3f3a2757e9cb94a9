"""Tasks: what is predicted, and how it is judged, drawn and written."""

"""The memory of this process: entries, and what is served, kept and forgotten. It knows neither Django nor a network."""

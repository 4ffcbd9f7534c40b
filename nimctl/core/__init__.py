"""Values and pure decisions: no clock, environment, files or network."""

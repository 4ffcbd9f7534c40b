"""What lies under `NIMCTL_HOME`."""

"""NIM manifests: from files, servers and images; and what in them has to be tried out."""

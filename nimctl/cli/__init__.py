"""The command line: argv becomes a request, results become words."""

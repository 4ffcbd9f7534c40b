"""The commands: name, module and help line. `--help` reads this table and imports no command."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One command; its module under `nimctl.cli` has a `command`."""

    module: str
    group: str
    help: str


COMMANDS: dict[str, Entry] = {
    "pull": Entry("pull", "Models", "Download a model, verify it and keep it in the store."),
    "build-engine": Entry("build_engine", "Models", "Build a model's engine for this machine."),
    "serve": Entry("serve", "Models", "Serve a model: pull, build and launch what is missing."),
    "list-profiles": Entry(
        "list_profiles", "Models", "Show the ways to run a model, with reasons."
    ),
    "profiles": Entry("profiles", "Models", "Check model files of your own; tell where they lie."),
    "versions": Entry("versions", "Registries", "List the versions of a model on NGC."),
    "list": Entry("list", "Store", "List the models in the store."),
    "inspect": Entry("inspect", "Store", "Show all that is known of a server or a stored model."),
    "verify": Entry("verify", "Store", "Read stored files again; name and repair what is damaged."),
    "engines": Entry("engines", "Store", "List built engines; move them, remove them."),
    "prune": Entry("prune", "Store", "Remove files that no stored model needs."),
    "rm": Entry("rm", "Store", "Remove a model from the store, or a stopped server."),
    "push": Entry("push", "Registries", "Push a stored model, or its engine, to an OCI registry."),
    "mirror": Entry("mirror", "Registries", "Lay a stored model out as a mirror of its registry."),
    "login": Entry("login", "Registries", "Keep a registry's token or password."),
    "logout": Entry("logout", "Registries", "Forget a registry's token or password."),
    "ps": Entry("ps", "Servers", "List servers."),
    "logs": Entry("logs", "Servers", "Print a server's log."),
    "stop": Entry("stop", "Servers", "Stop servers; requests in flight are finished."),
    "update": Entry("update", "Servers", "Replace a router's replicas, one after another."),
    "restart": Entry("restart", "Servers", "Stop a server and start it again as it was."),
    "doctor": Entry(
        "doctor", "Machine", "Look at this machine; say what is wrong and how to fix it."
    ),
}

"""Where artifacts come from: one module a kind of registry, all behind `core.ports.Registry`."""

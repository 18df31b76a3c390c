"""The commands: each parses flags, calls one function of the framework, returns an exit status."""

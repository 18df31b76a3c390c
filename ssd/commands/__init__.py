"""The commands: flags in, one function of the framework called, an exit status out."""

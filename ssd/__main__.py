"""`python -m ssd`, and `torchrun -m ssd`: the command `ssd`."""

from ssd.commands.main import ssd

if __name__ == "__main__":
    ssd()

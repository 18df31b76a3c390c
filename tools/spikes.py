"""`ssd spikes`, by the name of a file."""

from ssd.commands.main import door

if __name__ == "__main__":
    door("spikes")

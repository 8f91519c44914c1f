"""stylize turns photographs into paintings."""

__version__ = "0.1.0"

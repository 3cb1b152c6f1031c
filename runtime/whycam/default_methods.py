"""The methods that are taken where none is named: see docs/explanation/explanations.md for the figures behind them."""

METHOD = "grad-cam++"
"""Where."""
TIME = "keep-one"
"""When."""

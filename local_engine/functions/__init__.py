"""The engine's own functions, as workers, operators and the console call them."""

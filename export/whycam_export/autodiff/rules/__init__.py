"""The rules of differentiation, a file per family of operators."""

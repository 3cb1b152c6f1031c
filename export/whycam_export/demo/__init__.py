"""The demo: generated scenes with known ground truth, and the whole road from clips to explained alerts over them."""

"""`whycam doctor`: what stands in the way of a device that watches, and the exact fix; a file per group of checks."""

"""What `whycam bench` measures: how fast a bundle is on this device, and how many cameras it can hold."""

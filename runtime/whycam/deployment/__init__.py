"""From a bundle that arrives to a bundle that runs: tested on this device, installed, on trial, taken back."""

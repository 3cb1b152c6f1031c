"""The workstation side of whycam: training and export."""

"""The subcommands that the workstation adds to `whycam`: a file each."""

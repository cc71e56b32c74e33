"""The developer's side of the project: set-up, servers, demonstration. Standard library only."""

"""A trained toy Stable Diffusion 1.5: a small world in which learning can be measured exactly."""

"""Measurements that take minutes: the microworld's quality and what training costs."""

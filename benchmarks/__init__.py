"""Recipes compared on the microworld, where what was learnt can be measured."""

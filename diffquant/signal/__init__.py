"""Filters, masks and transforms of planar images."""

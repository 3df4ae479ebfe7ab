"""Delivery: a KochavaRequest in, a Receipt or a DeliveryError out. It knows nothing of Segment."""

"""The mapping: pure functions from Segment messages to Kochava requests, and back from postbacks."""

"""The Segment side of the wire: functions, webhooks, and what goes back to Segment."""

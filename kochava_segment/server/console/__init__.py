"""The console: pages on which people see what this destination does, and mend what failed.

Pages are made on the server; what JavaScript there is only makes them quicker.
"""

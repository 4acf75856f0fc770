"""fyke in a Python program: recordings, their events and journeys, live collections, and Retis' own names.

What is public is what `fyke/__init__.py` names; the modules here may change.
"""

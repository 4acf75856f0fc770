"""Event files of Retis (JSON lines, versions 1.5 to 1.7): read and written.

What Retis has no place for goes into an object `fyke` of the event (`mapping.OWN`), so that nothing is lost
on the way through JSON; Retis' own tools pass over it.
"""

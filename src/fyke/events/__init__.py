"""What an event is, and the files that hold them. Needs neither root nor Linux."""

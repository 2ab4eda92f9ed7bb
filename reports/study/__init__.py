"""What a study found: reading `study.json`, and showing it as a table, as figures, as one page."""

"""Submit a sweep, or one run, as a job array or here."""

"""Charts of runs in one style: PNG files for run folders, inline SVG for the report. Free of torch."""

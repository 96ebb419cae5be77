"""What has happened in a run, as a page that people look at."""

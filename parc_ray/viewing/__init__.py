"""Looking at motions: scenes, characters, the viewer in the browser, videos."""

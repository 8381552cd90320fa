"""An HTTP server around one `Detector`, and the page it shows to people."""

//! Paths, directories, stdin and archives become named streams of bytes. Knows files and compression, not Envoy.

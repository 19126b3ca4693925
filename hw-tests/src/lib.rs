//! Runs the real binaries against real tools.

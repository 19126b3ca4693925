//! What other tools need to go to registries.

use std::process::Command;

use super::{Bench, tool};

/// A tool that leaves the home of whoever runs the tests alone.
pub(crate) fn homeless(bench: &Bench, name: &str) -> Command {
    let mut command = tool(name);
    command.env("HOME", bench.path("")).env("DOCKER_CONFIG", bench.path(""));
    command.env("COSIGN_PASSWORD", "").env("XDG_CONFIG_HOME", bench.path("config"));
    command.current_dir(bench.path(""));
    command
}

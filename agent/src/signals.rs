//! Signals that the daemon waits for, and that nobody it starts may inherit as waiting.
//!
//! A signal that is to be waited for is blocked first, and what a program blocks its children block too
//! (`pthread_sigmask(3)`): a hook that must end would not hear of it.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// What ends a program.
const ENDS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];
/// What the daemon waits for beside it: to look at once.
const LOOK: Signal = Signal::SIGHUP;

/// Sends signals to `to` from now on, each as what `wake` makes of it. To be called before any other
/// thread is started: they block what this one blocks.
///
/// # Errors
/// What the system says.
pub fn listen<T: Send + 'static>(
    to: Sender<T>,
    wake: impl Fn(Signal) -> T + Send + 'static,
) -> io::Result<()> {
    let signals: SigSet = ENDS.into_iter().chain([LOOK]).collect();
    signals.thread_block()?;
    // It ends with the program.
    let _ = thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if to.send(wake(signal)).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// Starts `command`, so that it can be ended by the usual signals. One that comes to us in that moment
/// ends us at once, which is what it asks for.
///
/// # Errors
/// What the system says.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let before = SigSet::thread_get_mask()?;
    if !ENDS.into_iter().any(|signal| before.contains(signal)) {
        return command.spawn();
    }
    ENDS.into_iter().collect::<SigSet>().thread_unblock()?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_is_started_can_be_ended_and_we_still_wait() {
        // Blocked in this thread only, which ends with the test.
        ENDS.into_iter().collect::<SigSet>().thread_block().unwrap();
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]).stdout(Stdio::piped());
        let child = spawn(&mut command).unwrap();
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let mask = u64::from_str_radix(said.split_whitespace().last().unwrap(), 16).unwrap();
        for signal in ENDS {
            assert_eq!(mask >> (signal as u32 - 1) & 1, 0, "{signal} is blocked: {said}");
            assert!(SigSet::thread_get_mask().unwrap().contains(signal));
        }
    }
}

//! A serial console: lines that are waited for, with a deadline, and what is typed.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use super::trouble::Trouble;

/// Longest line that is kept whole: a machine that prints garbage for ever must not fill memory. A
/// report of `gybe status` with evidence of many boots is one line.
const LINE_LEN_MAX: usize = 1 << 20;
/// How many lines are kept to say what was seen before a deadline.
const TAIL_LEN: usize = 12;
/// What a Linux kernel prints when it breaks down. None of it is ever said by a healthy guest.
const CRASH_SIGNS: &[&str] = &[
    "Kernel panic - not syncing",
    "Oops:",
    "BUG: ",
    "double fault",
    "general protection fault",
    "detected stalls on CPUs",
    "Unable to handle kernel",
    "KVM internal error",
];

/// A line, and when it was complete.
struct Line {
    at: Instant,
    text: String,
}

/// The console of a machine that has power.
pub(crate) struct Console {
    lines: Receiver<Line>,
    input: Box<dyn Write + Send>,
    log: File,
    tail: Vec<String>,
    crash_is_wanted: bool,
    /// When the last line that was waited for was complete.
    pub(crate) seen_at: Instant,
}

/// What a reader makes of a line: something, or nothing yet.
type Meaning<'a, T> = &'a mut dyn FnMut(&str) -> Option<T>;

impl Console {
    /// A console over two streams; every line is kept in `log`.
    pub(crate) fn new(
        output: impl Read + Send + 'static,
        input: impl Write + Send + 'static,
        log: File,
    ) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || read_lines(output, &sender));
        Self {
            lines,
            input: Box::new(input),
            log,
            tail: Vec::new(),
            crash_is_wanted: false,
            seen_at: Instant::now(),
        }
    }

    /// From now on a kernel that breaks down is what the case wants, or no longer.
    pub(crate) fn want_crash(&mut self, wanted: bool) {
        self.crash_is_wanted = wanted;
    }

    /// Waits until `meaning` makes something of a line.
    ///
    /// # Errors
    /// [`Trouble::GuestCrash`] when the kernel broke down and nobody wanted that; [`Trouble::Case`]
    /// with `what` and the last lines when the deadline passed or the machine went away.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        meaning: Meaning<'_, T>,
    ) -> Result<T, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.keep(&line.text);
                    self.look_for_crash(&line.text)?;
                    if let Some(found) = meaning(&line.text) {
                        self.seen_at = line.at;
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = limit.as_secs();
                    return Err(self.lost(&format!("{what}: not seen within {seconds} s")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.lost(&format!("{what}: the console ended first")));
                }
            }
        }
    }

    /// Types a line.
    ///
    /// # Errors
    /// When the machine is gone.
    pub(crate) fn type_line(&mut self, line: &str) -> Result<(), Trouble> {
        self.keep(&format!("> {line}"));
        let typed = self.input.write_all(format!("{line}\n").as_bytes());
        typed
            .and_then(|()| self.input.flush())
            .map_err(|cause| Trouble::case(format!("cannot type `{line}` on the console: {cause}")))
    }

    fn look_for_crash(&self, line: &str) -> Result<(), Trouble> {
        let crashed = CRASH_SIGNS.iter().any(|sign| line.contains(sign));
        if crashed && !self.crash_is_wanted {
            return Err(Trouble::GuestCrash(line.to_owned()));
        }
        Ok(())
    }

    fn keep(&mut self, line: &str) {
        // The log is for people; a full disk shows elsewhere.
        drop(writeln!(self.log, "{line}"));
        if self.tail.len() == TAIL_LEN {
            self.tail.remove(0);
        }
        self.tail.push(line.to_owned());
    }

    fn lost(&self, what: &str) -> Trouble {
        let tail = self.tail.join("\n      | ");
        Trouble::case(format!("{what}; the last lines were\n      | {tail}"))
    }
}

fn read_lines(mut output: impl Read, lines: &Sender<Line>) {
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    loop {
        let len = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for &byte in buffer.get(..len).unwrap_or_default() {
            if byte == b'\n' || line.len() >= LINE_LEN_MAX {
                let text = plain(&line);
                line.clear();
                if lines.send(Line { at: Instant::now(), text }).is_err() {
                    return;
                }
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
    }
    let text = plain(&line);
    drop(lines.send(Line { at: Instant::now(), text }));
}

/// The line without carriage returns and without what moves a cursor or colours it (ECMA-48 CSI).
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                if letters.next() == Some('[') {
                    letters.by_ref().find(|end| matches!(end, '\x40'..='\x7e'));
                }
            }
            letter if letter.is_control() && letter != '\t' => {}
            letter => kept.push(letter),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(said: &'static str) -> Console {
        Console::new(said.as_bytes(), io::sink(), tempfile::tempfile().unwrap())
    }

    fn find(console: &mut Console, text: &str) -> Result<String, Trouble> {
        let mut meaning = |line: &str| line.contains(text).then(|| line.to_owned());
        console.wait(text, Duration::from_secs(5), &mut meaning)
    }

    #[test]
    fn lines_come_without_what_moves_a_cursor() {
        let mut console = console("\x1b[2J\x1b[01;01Hguest: \x1b[1mup\x1b[0m\r\nnext\r\n");
        assert_eq!(find(&mut console, "up").unwrap(), "guest: up");
        assert_eq!(find(&mut console, "next").unwrap(), "next");
    }

    #[test]
    fn a_last_line_needs_no_end() {
        assert_eq!(find(&mut console("a\nlogin:"), "login").unwrap(), "login:");
    }

    #[test]
    fn a_guest_that_crashed_by_itself_is_told_from_a_case_that_failed() {
        let said = "ok\n[ 1.0] Kernel panic - not syncing: oh\nup\n";
        let trouble = find(&mut console(said), "up").unwrap_err();
        assert!(matches!(trouble, Trouble::GuestCrash(line) if line.contains("panic")));
        let mut wanted = console(said);
        wanted.want_crash(true);
        assert_eq!(find(&mut wanted, "up").unwrap(), "up");
    }

    #[test]
    fn what_was_not_seen_is_named_with_the_last_lines() {
        let trouble = find(&mut console("one\ntwo\n"), "three").unwrap_err();
        let Trouble::Case(text) = trouble else { panic!("{trouble:?}") };
        assert!(text.contains("three") && text.contains("two"), "{text}");
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let mut console = Console::new(
            io::repeat(b'x').take(3 * LINE_LEN_MAX as u64),
            io::sink(),
            tempfile::tempfile().unwrap(),
        );
        assert_eq!(find(&mut console, "x").unwrap().len(), LINE_LEN_MAX);
    }
}

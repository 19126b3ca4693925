//! Where the password of an encrypted key comes from: `COSIGN_PASSWORD`, or whoever sits there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// The variable that cosign reads, too. Set to nothing it is an empty password.
pub(super) const VARIABLE: &str = "COSIGN_PASSWORD";

/// The longest password, in bytes.
const PASSWORD_LEN_MAX: usize = 1024;

/// Gives the password when it is needed, and only then.
pub(crate) type Password<'a> = &'a dyn Fn() -> Result<Zeroizing<Vec<u8>>, PasswordError>;

/// The password of the key in a file.
pub(super) fn of(path: &Path) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    if let Some(password) = std::env::var_os(VARIABLE) {
        return Ok(Zeroizing::new(password.into_vec()));
    }
    // Not stdin: that may be the pipe of a script.
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    ask(&terminal.map_err(|_| PasswordError::NoTerminal)?, path)
}

/// Asks on a terminal; what is typed is not shown.
fn ask(mut terminal: &File, path: &Path) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    write!(terminal, "Password of {}: ", path.display()).map_err(PasswordError::Terminal)?;
    let silent = Silent::new(terminal).map_err(|cause| PasswordError::Terminal(cause.into()))?;
    let typed = line(terminal);
    drop(silent);
    // The line feed was not shown either. If the terminal is gone, reading has said so.
    let _ = writeln!(terminal);
    typed
}

/// Reads to the end of a line, byte by byte as it is typed.
fn line(mut terminal: &File) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    // As long as it can become, so that no copy is left behind where it grew.
    let mut typed = Zeroizing::new(Vec::with_capacity(PASSWORD_LEN_MAX));
    loop {
        let mut byte = 0;
        terminal.read_exact(std::slice::from_mut(&mut byte)).map_err(PasswordError::Terminal)?;
        match byte {
            b'\n' | b'\r' => return Ok(typed),
            // Interrupt, end of file, quit.
            3 | 4 | 28 => return Err(PasswordError::Given),
            8 | 127 => drop(typed.pop()),
            // Erase the line.
            21 => typed.clear(),
            _ if typed.len() >= PASSWORD_LEN_MAX => return Err(PasswordError::TooLong),
            byte => typed.push(byte),
        }
    }
}

/// A terminal that shows nothing and turns no key into a signal, so that whatever is typed it is
/// put back as it was.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        for (index, value) in
            [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)]
        {
            if let Some(place) = silent.control_chars.get_mut(index as usize) {
                *place = value;
            }
        }
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that refuses.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("encrypted, and there is no terminal to ask for the password: set {VARIABLE}")]
    NoTerminal,
    #[error("cannot ask for the password: {0}")]
    Terminal(io::Error),
    #[error("encrypted, and no password was given")]
    Given,
    #[error("password is longer than {PASSWORD_LEN_MAX} bytes")]
    TooLong,
}

//! Keys that cosign made or took over, encrypted under a password: what we sign with them cosign
//! accepts, and without the password nothing is signed.

use std::fs;
use std::process::Command;

use crate::bench::{Bench, Release};
use crate::judges::cosign_verify;
use crate::registry::Registry;
use crate::tools::{self, run};

/// Makes `NAME.key` and `NAME.pub`.
fn generate(bench: &Bench, version: &str, name: &str, password: &str) {
    let mut generate = bench.tool(version);
    generate.env("COSIGN_PASSWORD", password);
    run(generate.args(["generate-key-pair", "--output-key-prefix", name]));
}

/// Makes `NAME.key` and `NAME.pub` of `KEY.pem`.
fn import(bench: &Bench, key: &str, name: &str, password: &str) {
    let mut import = bench.tool("cosign3");
    import.env("COSIGN_PASSWORD", password);
    import.args(["import-key-pair", "--key"]).arg(bench.path(&format!("{key}.pem")));
    run(import.args(["--output-key-prefix", name]));
}

/// `sign` with `NAME.key`, without a terminal.
fn sign(bench: &Bench, release: &Release, name: &str) -> Command {
    let mut sign = Command::new("setsid");
    sign.arg("--wait").arg(env!("CARGO_BIN_EXE_gybe-publish")).arg("sign");
    sign.arg(release.source()).arg("--key").arg(bench.path(&format!("{name}.key")));
    sign.env_remove("COSIGN_PASSWORD");
    sign
}

#[test]
fn cosign_accepts_what_we_sign_with_its_own_keys() {
    let (bench, registry) = (Bench::new(), Registry::start());
    generate(&bench, "cosign2", "made2", "two words");
    generate(&bench, "cosign3", "made3", "pässword");
    generate(&bench, "cosign3", "empty", "");
    import(&bench, "ed25519", "taken", "secret");
    import(&bench, "p256", "taken-p256", "secret");
    for (name, password) in [
        ("made2", "two words"),
        ("made3", "pässword"),
        ("empty", ""),
        ("taken", "secret"),
        ("taken-p256", "secret"),
    ] {
        let release = bench.release(&format!("locked-{name}"));
        run(sign(&bench, &release, name).env("COSIGN_PASSWORD", password));
        assert_eq!(bench.verdict(&release, &[name], 1).as_deref(), Ok(name));
        let simple = registry.name(&format!("simple-{name}"), &release);
        bench.push(&release, &simple);
        bench.push_simple_signing(&release, &simple);
        let bundle = registry.name(&format!("bundle-{name}"), &release);
        bench.push_with_referrers(&release, &bundle);
        for (version, at) in [("cosign2", &simple), ("cosign3", &simple), ("cosign3", &bundle)] {
            let said = cosign_verify(&bench, version, name, at)
                .unwrap_or_else(|why| panic!("{version} refuses {at}: {why}"));
            assert!(said.contains(&release.digest), "{version} {at}: {said}");
        }
        assert!(cosign_verify(&bench, "cosign3", "other", &simple).is_err(), "{name}");
    }
}

#[test]
fn a_key_that_does_not_open_signs_nothing_and_says_why() {
    let bench = Bench::new();
    let release = bench.release("shut");
    generate(&bench, "cosign3", "made", "secret");
    import(&bench, "rsa", "rsa-taken", "secret");
    let whole = fs::read_to_string(bench.path("made.key")).unwrap();
    let (head, tail) = whole.split_at(whole.len() / 2);
    let lines: Vec<&str> = whole.lines().collect();
    let other = if tail.starts_with('A') { "B" } else { "A" };
    fs::write(bench.path("flipped.key"), format!("{head}{other}{}", &tail[1..])).unwrap();
    fs::write(bench.path("cut.key"), [lines[0], lines[1], lines[lines.len() - 1]].join("\n"))
        .unwrap();
    let index = bench.index(&release);
    for (name, password, whys) in [
        ("made", Some("Secret"), ["wrong password, or damaged"; 2]),
        ("made", Some(""), ["wrong password, or damaged"; 2]),
        (
            "made",
            None,
            ["encrypted, and there is no terminal to ask for the password: set COSIGN_PASSWORD"; 2],
        ),
        // Base64 of base64: a change may leave text that is none.
        ("flipped", Some("secret"), ["wrong password, or damaged", "encrypted, but "]),
        ("cut", Some("secret"), ["encrypted, but not as cosign does it: EOF while parsing"; 2]),
        ("rsa-taken", Some("secret"), ["neither an EC P-256 key nor an Ed25519 key"; 2]),
    ] {
        let mut sign = sign(&bench, &release, name);
        sign.envs(password.map(|password| ("COSIGN_PASSWORD", password)));
        let said = tools::outcome(&mut sign).unwrap_err();
        let path = bench.path(&format!("{name}.key"));
        let expected = whys.map(|why| format!("error: key {}: {why}", path.display()));
        assert!(expected.iter().any(|it| said.starts_with(it)), "{name} {password:?}: {said}");
    }
    assert_eq!(bench.index(&release), index);
}

/// Runs a command on a terminal of its own: waits for the question, looks whether the terminal
/// shows what is typed, types, and prints how the command ended, that, and what was on the screen.
///
/// We hold the command's end of the terminal too. Else the last words of a command could be lost, as
/// happened once: Linux may say that the other end is closed before it gives what was written last.
const TERMINAL: &str = r#"
import os, pty, select, sys, termios
typed, command = sys.argv[1].encode().decode("unicode_escape").encode("latin-1"), sys.argv[2:]
terminal, other = pty.openpty()
pid = os.fork()
if pid == 0:
    os.close(terminal)
    os.login_tty(other)
    os.environ.pop("COSIGN_PASSWORD", None)
    os.execvp(command[0], command)
ended = os.pidfd_open(pid)
os.set_blocking(terminal, False)
screen = b""
def more():
    "Waits until there is more on the screen, or the command has ended: then there is all of it."
    global screen
    gone = ended in select.select([terminal, ended], [], [])[0]
    try:
        while True: screen += os.read(terminal, 1024)
    except BlockingIOError:
        return not gone
while b"Password of " not in screen or not screen.endswith(b": "):
    if not more(): sys.exit("not asked: %r" % screen)
# The question comes first and the terminal is silenced next: typing waits for that.
while termios.tcgetattr(terminal)[3] & termios.ECHO: os.sched_yield()
os.write(terminal, typed)
while more(): pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(status, b"secret" in screen, screen.decode(errors="replace"))
"#;

#[test]
fn a_password_is_asked_for_on_the_terminal_and_not_shown() {
    let bench = Bench::new();
    generate(&bench, "cosign3", "made", "secret");
    for (typed, status, says) in [
        (r"secret\n", 0, "signed with "),
        // Erasing the last letter, and the whole line.
        (r"secre\x7fet\r", 0, "signed with "),
        (r"wrong\x15secret\n", 0, "signed with "),
        (r"wrong\n", 1, "wrong password, or damaged"),
        (r"secret\x03", 1, "encrypted, and no password was given"),
    ] {
        let release = bench.release(&format!("typed-{}", typed.len()));
        let mut ask = Command::new("python3");
        ask.arg("-c").arg(TERMINAL).arg(typed).arg(env!("CARGO_BIN_EXE_gybe-publish"));
        ask.arg("sign").arg(release.source()).arg("--key").arg(bench.path("made.key"));
        let said = run(&mut ask);
        assert!(said.starts_with(&format!("{status} False ")), "{typed}: {said}");
        assert!(said.contains(says), "{typed}: {said}");
    }
}

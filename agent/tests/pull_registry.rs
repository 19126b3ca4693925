//! A registry that has nothing, or wants other credentials: told once, and left alone.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fixture::{Device, Recipe};
use serde_json::json;

const FAILED: i32 = 1;
const HOUR_S: u64 = 3600;

/// A registry that answers everything in the same way, and counts what it is asked.
struct Registry {
    host: String,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        // It ends with the test.
        drop(thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), answer, &counter);
            }
        }));
        Self { host, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Answers what is asked on one connection, as far as it is HTTP and not TLS.
fn serve(mut stream: TcpStream, answer: &str, asked: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) || byte[0] == 0x16 && head.is_empty() {
            return;
        }
        head.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    // Whoever asked may have gone.
    let _ = stream.write_all(answer.as_bytes());
}

#[test]
fn a_404_and_an_unauthorised_answer_are_each_told_once_and_not_hammered() {
    let one = Recipe::new("1.0.0", 1).seal();
    for (answer, class) in [
        ("404 Not Found", "not-found"),
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"acme\"", "unauthorised"),
        ("403 Forbidden", "unauthorised"),
    ] {
        let registry = Registry::start(answer);
        let device = Device::with(&one);
        let insecure = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host);
        device.write("etc/containers/registries.conf", &insecure);
        let reference = format!("docker://{}/acme/gateway:stable", registry.host);
        let config = format!("reference = \"{reference}\"\n[pull]\ninterval_s = {HOUR_S}\n");
        device.write("etc/gybe/config.toml", &config);
        let look = |boot: u32, uptime_s: u64| {
            let id = format!("{boot:08x}-0000-4000-8000-000000000000\n");
            device.write("proc/sys/kernel/random/boot_id", &id);
            device.write("proc/uptime", &format!("{uptime_s}.00 1.00\n"));
            let before = registry.asked();
            let ended = device.gybe(&["upgrade", "--automatic"]);
            (ended, registry.asked() - before)
        };
        let (ended, asked) = look(1, 1000);
        ended.ended(FAILED, class);
        assert!((1..=8).contains(&asked), "{class}: {asked} requests");
        for (boot, uptime_s) in [(1, 1001), (1, HOUR_S), (2, 10), (2, 100)] {
            let (ended, asked) = look(boot, uptime_s);
            ended.done();
            assert_eq!(asked, 0, "{class}: it asked again after {uptime_s} s of boot {boot}");
        }
        let (ended, asked) = look(3, 3 * HOUR_S);
        ended.ended(FAILED, "");
        assert!((1..=8).contains(&asked), "{class}: {asked} requests");
        let pull = &device.status()["pull"];
        assert_eq!(
            (&pull["trouble"]["class"], &pull["trouble"]["count"]),
            (&json!(class), &json!(2))
        );
        let told = pull["transitions"].as_array().unwrap();
        assert_eq!(told.len(), 1, "{class} is told once: {told:?}");
        assert_eq!(told[0]["reason"], class);
    }
}

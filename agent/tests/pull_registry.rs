//! Looks at a registry: what they cost, and what is left alone because nothing is to be had there.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fixture::{Device, Recipe, Release};
use serde_json::{Value, json};

const FAILED: i32 = 1;
const HOUR_S: u64 = 3600;

/// A registry that counts what it is asked, and how many bytes of bodies it gave.
struct Registry {
    host: String,
    asked: Arc<AtomicUsize>,
    given: Arc<AtomicUsize>,
}

impl Registry {
    /// One that gives `answer` to every path, as status line, further headers and body.
    fn start(answer: impl Fn(&Asked) -> (String, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, given) = (Arc::default(), Arc::default());
        let registry = Self { host, asked: Arc::clone(&asked), given: Arc::clone(&given) };
        // It ends with the test.
        drop(thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(head) = Asked::read(&mut stream) else { continue };
                let (status, body) = answer(&head);
                let _ = asked.fetch_add(1, Ordering::SeqCst);
                let _ = given.fetch_add(body.len(), Ordering::SeqCst);
                let len = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
                );
                // Whoever asked may have gone.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        }));
        registry
    }

    /// One that has `release` under the tag `stable`.
    fn with(release: &Release) -> Self {
        let folder = release.folder().to_owned();
        let (digest, manifest_type) =
            (release.digest.to_string(), gybe_core::manifest::MANIFEST_TYPE);
        Self::start(move |asked| {
            let index: Value =
                serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
            let tagged = |tag: &str| {
                let name = "org.opencontainers.image.ref.name";
                let entries = index["manifests"].as_array().unwrap().iter();
                let found = { entries }.find(|it| it["annotations"][name] == tag)?;
                Some(found["digest"].as_str()?.to_owned())
            };
            let name = asked.path.rsplit('/').next().unwrap();
            let found = match name {
                "stable" => Some(digest.clone()),
                name if name.starts_with("sha256:") => Some(name.to_owned()),
                tag => tagged(tag),
            };
            let path =
                |digest: String| folder.join("blobs/sha256").join(&digest["sha256:".len()..]);
            let blob = found.and_then(|digest| fs::read(path(digest)).ok());
            match blob.filter(|_| !asked.path.contains("/referrers/")) {
                None => ("404 Not Found".to_owned(), b"{}".to_vec()),
                Some(blob) => match asked.range {
                    Some((first, last)) => {
                        let status = "206 Partial Content\r\nContent-Range: bytes";
                        let status = format!("{status} {first}-{last}/{}", blob.len());
                        (status, blob[first..=last].to_vec())
                    }
                    None => (format!("200 OK\r\nContent-Type: {manifest_type}"), blob),
                },
            }
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Makes `device` follow the tag `stable` here.
    fn is_followed_by(&self, device: &Device, pull: &str) {
        let insecure = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", self.host);
        device.write("etc/containers/registries.conf", &insecure);
        let reference = format!("docker://{}/acme/gateway:stable", self.host);
        let config = format!("reference = \"{reference}\"\n[pull]\n{pull}");
        device.write("etc/gybe/config.toml", &config);
    }
}

/// What is asked for.
struct Asked {
    path: String,
    range: Option<(usize, usize)>,
}

impl Asked {
    /// Reads the head of a request, if it is HTTP and not TLS.
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read(&mut byte), Ok(1)) || byte[0] == 0x16 && head.is_empty() {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let range = head.lines().find_map(|line| {
            let lower = line.to_ascii_lowercase();
            let (first, last) = lower.strip_prefix("range: bytes=")?.trim().split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(Self { path, range })
    }
}

#[test]
fn a_404_and_an_unauthorised_answer_are_each_told_once_and_not_hammered() {
    let one = Recipe::new("1.0.0", 1).seal();
    for (answer, class) in [
        ("404 Not Found", "not-found"),
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"acme\"", "unauthorised"),
        ("403 Forbidden", "unauthorised"),
    ] {
        let registry = Registry::start(|_| (answer.to_owned(), b"{}".to_vec()));
        let device = Device::with(&one);
        registry.is_followed_by(&device, &format!("interval_s = {HOUR_S}\n"));
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

#[test]
fn what_a_registry_gave_is_what_a_budget_lost() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    let registry = Registry::with(&two);
    let budget = 10_000_000;
    registry.is_followed_by(&device, &format!("budget_bytes = {budget}\n"));
    let left = || device.status()["pull"]["budget"]["left_bytes"].as_u64().unwrap();
    let given = || u64::try_from(registry.given.load(Ordering::SeqCst)).unwrap();
    assert_eq!(left(), budget);
    device.gybe(&["upgrade", "--automatic"]).done();
    assert_eq!(device.status()["next_boot"], "b");
    assert_eq!(budget - left(), given());
    // Looking costs something, too.
    let before = given();
    device.gybe(&["upgrade", "--automatic"]).done();
    assert!(given() > before);
    assert_eq!(budget - left(), given());
    assert_eq!(device.status()["pull"]["fetched_bytes"], given());
    // With nothing left nothing is asked for.
    registry.is_followed_by(&device, &format!("budget_bytes = {}\n", given()));
    let before = registry.asked();
    device.gybe(&["upgrade", "--automatic"]).ended(FAILED, "budget");
    assert_eq!(registry.asked(), before);
}

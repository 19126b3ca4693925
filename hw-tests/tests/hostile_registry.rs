//! Registries that are made to use up memory: installs end in order, within the memory of an honest
//! one, and nothing that was good is touched.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured is worth reading")]

mod bench;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bench::{Bench, DONE, Device, Ended, Small, run, tool};
use gybe_hw_tests::registry::certificates;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// As for installs from a folder.
const MEMORY_MAX: u64 = 24 << 20;
/// Longer than any limit on anything.
const ENDLESS: usize = 64 << 20;

/// What a registry does to one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoils {
    Nothing,
    /// Manifests and indexes never end.
    Documents,
    /// Lists of referrers never end.
    Lists,
    /// Lists of referrers are as long as they may be, and go on.
    Pages,
    /// Answers have headers that never end.
    Headers,
    /// Everything is an error whose words never end.
    Errors,
    /// Tokens never end.
    Tokens,
    /// Packs come whole, and longer than they are.
    Packs,
    /// Blobs come whole, whatever part was asked for.
    Whole,
    /// Blobs lie in a store at this port.
    Store(u16),
}

const ALL: [Spoils; 8] = [
    Spoils::Nothing,
    Spoils::Documents,
    Spoils::Lists,
    Spoils::Pages,
    Spoils::Headers,
    Spoils::Errors,
    Spoils::Tokens,
    Spoils::Packs,
];

/// Speaks TLS with certificates that are made in `folder`.
fn tls(folder: &Path) -> Arc<ServerConfig> {
    fs::create_dir(folder).unwrap();
    certificates(folder).unwrap();
    let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

/// Serves a layout over TLS, spoilt; gives the port.
fn serve(tls: &Arc<ServerConfig>, layout: &Path, spoils: Spoils) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, layout) = (Arc::clone(tls), layout.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&tls)).unwrap();
            let stream = StreamOwned::new(session, stream.unwrap());
            let layout = layout.clone();
            // Whoever hangs up in the middle has had enough, and that is well.
            thread::spawn(move || answer_all(stream, &layout, spoils, port));
        }
    });
    port
}

fn answer_all(
    stream: StreamOwned<ServerConnection, TcpStream>,
    layout: &Path,
    spoils: Spoils,
    port: u16,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = Vec::new();
        stream.read_until(b'\n', &mut first)?;
        let first = String::from_utf8_lossy(&first).into_owned();
        if !first.ends_with("HTTP/1.1\r\n") {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let line = line.trim_end();
            if let Some(wanted) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (from, to) = wanted.split_once('-').unwrap();
                range = Some((from.parse().unwrap(), to.parse::<usize>().unwrap() + 1));
            }
            if line.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap();
        answer(stream.get_mut(), path, range, layout, (spoils, port))?;
        stream.get_mut().flush()?;
    }
}

fn answer(
    stream: &mut dyn Write,
    path: &str,
    range: Option<(usize, usize)>,
    layout: &Path,
    (spoils, port): (Spoils, u16),
) -> io::Result<()> {
    let rest = path.strip_prefix("/v2/a/b/").unwrap_or("token");
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    let endless = |stream: &mut dyn Write, head: &str| {
        stream.write_all(
            format!("HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
        )?;
        let piece = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
        (0..ENDLESS / 0x4000).try_for_each(|_| stream.write_all(piece.as_bytes()))?;
        stream.write_all(b"0\r\n\r\n")
    };
    match (spoils, kind) {
        (Spoils::Documents, "manifests")
        | (Spoils::Lists, "referrers")
        | (Spoils::Tokens, "token") => {
            return endless(stream, "200 OK");
        }
        (Spoils::Errors, _) => return endless(stream, "500 Broken"),
        (Spoils::Headers, _) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            return (0..ENDLESS / 100).try_for_each(|number| {
                stream.write_all(format!("X-{number}: {}\r\n", "x".repeat(90)).as_bytes())
            });
        }
        (Spoils::Tokens, _) => {
            let realm = format!("Bearer realm=\"https://127.0.0.1:{port}/token\"");
            let head = format!("HTTP/1.1 401 Who\r\nWWW-Authenticate: {realm}\r\n");
            return stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes());
        }
        (Spoils::Pages, "referrers") => {
            let entry = format!(
                "{{\"mediaType\":\"{}\",\"digest\":\"sha256:{}\",\"size\":1}}",
                "application/vnd.oci.image.manifest.v1+json",
                "0".repeat(64)
            );
            let entries = vec![entry; 1000].join(",");
            let text = format!(
                "{{\"schemaVersion\":2,\"manifests\":[{entries}],\"annotations\":{{\"x\":\"{}\"}}}}",
                "x".repeat(800_000)
            );
            let head = format!("Link: <{path}?n>; rel=\"next\"\r\nContent-Length: {}", text.len());
            return stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{text}").as_bytes());
        }
        _ => {}
    }
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?).unwrap();
    let name_of = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    let entries = index["manifests"].as_array().unwrap();
    let tagged = entries.iter().find(|entry| name_of(entry) == name);
    let digest = tagged.map_or(name, |entry| entry["digest"].as_str().unwrap());
    let file = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let Ok(blob) = fs::read(file)
        .map_err(drop)
        .and_then(|blob| if kind == "referrers" { Err(()) } else { Ok(blob) })
    else {
        return stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    };
    if spoils == Spoils::Packs && blob.len() > 200_000 {
        return endless(stream, "200 OK");
    }
    if let (Spoils::Store(port), "blobs") = (spoils, kind) {
        let words = "elsewhere";
        let head =
            format!("Location: https://127.0.0.1:{port}{path}\r\nContent-Length: {}", words.len());
        return stream.write_all(format!("HTTP/1.1 307 There\r\n{head}\r\n\r\n{words}").as_bytes());
    }
    let range = range.filter(|_| spoils != Spoils::Whole);
    let (from, to) = range.unwrap_or((0, blob.len()));
    let status = match range {
        Some(_) => format!("206 Part\r\nContent-Range: bytes {from}-{}/{}", to - 1, blob.len()),
        None => "200 OK".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", to - from);
    stream.write_all(head.as_bytes())?;
    stream.write_all(&blob[from..to])
}

/// Lets a device believe the registries at `ports`, whose certificates are in `folder`.
fn admit(device: &Device<'_>, folder: &Path, ports: &[u16]) {
    // Hardly any waiting: what is tried again is as bad.
    let config = bench::config() + "[registry]\ntries = 2\nstall_s = 20\noverall_s = 60\n";
    device.write("usr/lib/gybe/config.toml", &config);
    let authority = fs::read_to_string(folder.join("ca.crt")).unwrap();
    for port in ports {
        device.write(&format!("etc/containers/certs.d/127.0.0.1:{port}/ca.crt"), &authority);
    }
}

/// Installs and gives the most memory that this took.
fn measured(device: &Device<'_>, source: &str) -> (Ended, u64) {
    let gybe = device.command(&["install", source]);
    let mut time = tool("time");
    time.args(["--quiet", "--format=%M", "--output"]).arg(device.path("memory"));
    time.arg(gybe.get_program()).args(gybe.get_args());
    let ended = run(time.env_remove("GYBE_LOG").env("NO_PROXY", "127.0.0.1"));
    let said = fs::read_to_string(device.path("memory")).unwrap();
    let kib: u64 = said.lines().last().unwrap().trim().parse().unwrap();
    (ended, kib << 10)
}

#[test]
fn hostile_registries_end_in_order_and_in_bounded_memory() {
    let bench = Bench::new("hostile-registry");
    for (name, number) in [("one", 1), ("two", 2)] {
        let small = Small { files: 8, changed: 4, ..Small::new(number) };
        bench.seal(&small.make(&bench, &format!("image-{name}")), name, number);
    }
    let device = Device::with(&bench, "device", &bench.source("one"));
    let certified = bench.path("certified");
    let tls = tls(&certified);
    for spoils in ALL {
        let port = serve(&tls, &bench.path("two"), spoils);
        let tried = device.copy("tried");
        admit(&tried, &certified, &[port]);
        let before = tried.snapshot();
        let (ended, memory) = measured(&tried, &format!("docker://127.0.0.1:{port}/a/b:release"));
        println!(
            "{spoils:?}: {} KiB, ended with {}: {}",
            memory >> 10,
            ended.code,
            ended.stderr.trim()
        );
        assert!(memory <= MEMORY_MAX, "{spoils:?}: {memory} bytes of memory, limit {MEMORY_MAX}");
        match spoils {
            Spoils::Nothing | Spoils::Lists => assert_eq!(ended.code, DONE, "{}", ended.stderr),
            // The signature by its own tag is found all the same.
            Spoils::Pages => assert_eq!(ended.code, DONE, "{}", ended.stderr),
            Spoils::Packs => {
                assert_ne!(ended.code, DONE);
                let running = |files: &bench::Snapshot| files["dev/root_a"].clone();
                assert_eq!(running(&tried.snapshot()), running(&before));
            }
            _ => {
                assert_ne!(ended.code, DONE);
                assert_eq!(tried.snapshot(), before, "{spoils:?}");
            }
        }
        tried.remove();
    }
}

#[test]
fn a_plan_knows_registries_that_give_no_parts_and_those_that_lead_to_a_store() {
    let bench = Bench::new("odd-registry");
    for (name, number) in [("one", 1), ("two", 2)] {
        let image = Small::new(number).make(&bench, &format!("image-{name}"));
        bench.seal(&image, name, number);
    }
    let device = Device::with(&bench, "device", &bench.source("one"));
    let certified = bench.path("certified");
    let tls = tls(&certified);
    let store = serve(&tls, &bench.path("two"), Spoils::Nothing);
    let costs = [Spoils::Nothing, Spoils::Whole, Spoils::Store(store)].map(|spoils| {
        let port = serve(&tls, &bench.path("two"), spoils);
        let tried = device.copy("tried");
        admit(&tried, &certified, &[port, store]);
        let source = format!("docker://127.0.0.1:{port}/a/b:release");
        let [plan, done] = ["plan", "install"].map(|verb| {
            let mut gybe = tried.command(&[verb, &source, "--json"]);
            run(gybe.env("NO_PROXY", "127.0.0.1")).done().json()["cost"].clone()
        });
        tried.gybe(&["verify", "--slots"]).done();
        tried.remove();
        let of = |cost: &Value, name: &str| cost[name].as_u64().unwrap();
        assert_eq!(of(&plan, "requests"), of(&done, "requests"), "{spoils:?}: {plan}\n{done}");
        let (planned, fetched) = (of(&plan, "fetched_bytes"), of(&done, "fetched_bytes"));
        // Of an answer that goes on, some more is on its way when enough has come.
        let slack = if spoils == Spoils::Whole { 512 << 10 } else { 0 };
        assert!((planned..=planned + slack).contains(&fetched), "{spoils:?}: {plan}\n{done}");
        (fetched, of(&done, "requests"), of(&done, "wasted_bytes"))
    });
    let [(plain, requests, wasted), (whole, _, of_whole), (led, more_requests, of_led)] = costs;
    assert!(whole > plain && of_whole > wasted, "{costs:?}");
    assert!(more_requests > requests && led - plain == of_led - wasted, "{costs:?}");
}

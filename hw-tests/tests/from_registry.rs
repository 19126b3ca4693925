//! Releases out of Debian's docker-registry, with TLS and a password: planned, installed, verified,
//! over links that break, and never at more than was allowed.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use bench::{Bench, Device, FAILED, REFUSED, Small, run};
use gybe_hw_tests::registry::{Answered, Breaks, Link, Registry};
use serde_json::Value;

const REPOSITORY: &str = "acme/gateway";
/// As for hostile sources.
const MEMORY_MAX_KIB: u64 = 24 << 10;

/// A registry with two releases, and a device that runs the first.
struct Shop<'b> {
    registry: Registry,
    device: Device<'b>,
}

impl<'b> Shop<'b> {
    fn open(bench: &'b Bench) -> Self {
        for (name, number) in [("one", 1), ("two", 2)] {
            let image = Small::new(number).make(bench, &format!("image-{name}"));
            bench.seal(&image, name, number);
        }
        let registry = Registry::start(&bench.path("registry")).unwrap();
        // Both layouts call theirs `release`.
        registry.put(&bench.path("one"), &format!("{REPOSITORY}/one")).unwrap();
        registry.put(&bench.path("two"), &format!("{REPOSITORY}/two")).unwrap();
        // The same under a name of the same length, to tell who asked.
        registry.put(&bench.path("two"), &format!("{REPOSITORY}/owt")).unwrap();
        let device = Device::new(bench, "device");
        registry.admit(&device.path(""), registry.port()).unwrap();
        let shop = Self { registry, device };
        shop.device.gybe(&["install", &shop.source("one"), "--slot", "a"]).done();
        shop.device.boot();
        shop.device.gybe(&["commit"]).done();
        drop(shop.registry.take_log());
        shop
    }

    fn source(&self, name: &str) -> String {
        Self::through(self.registry.port(), name)
    }

    /// A release, reached through a link.
    fn through(port: u16, name: &str) -> String {
        Registry::source(port, &format!("{REPOSITORY}/{name}"), "release")
    }

    /// A link to the registry that the device may use.
    fn link(&self, device: &Device<'_>, breaks: Breaks) -> Link {
        let link =
            Link::to(SocketAddr::from(([127, 0, 0, 1], self.registry.port())), breaks).unwrap();
        self.registry.admit(&device.path(""), link.port()).unwrap();
        link
    }

    /// What was sent of a release, once it is written down: the registry does that after the client
    /// has its answer.
    fn sent(&self, name: &str, requests: u64) -> Vec<Answered> {
        let mut all = Vec::new();
        let path = format!("/v2/{REPOSITORY}/{name}/");
        while (all.len() as u64) < requests {
            let sent = self.registry.take_log();
            all.extend(sent.into_iter().filter(|it| it.path.starts_with(&path)));
            thread::yield_now();
        }
        all
    }
}

fn of(cost: &Value, name: &str) -> u64 {
    cost[name].as_u64().unwrap()
}

/// The cost in a report.
fn cost(ended: bench::Ended) -> Value {
    ended.done().json()["cost"].clone()
}

#[test]
fn a_plan_says_to_the_byte_and_to_the_request_what_the_registry_then_sends() {
    let bench = Bench::new("from-registry-plan");
    let shop = Shop::open(&bench);
    let plan = cost(shop.device.gybe(&["plan", &shop.source("owt"), "--json"]));
    let done = cost(shop.device.gybe(&["install", &shop.source("two"), "--json"]));
    let sent = shop.sent("two", of(&done, "requests"));
    assert_eq!(plan["fetched_bytes"], done["fetched_bytes"], "{plan}\n{done}");
    assert_eq!(plan["requests"], done["requests"], "{plan}\n{done}");
    assert_eq!(plan["wasted_bytes"], done["wasted_bytes"], "{plan}\n{done}");
    assert_eq!(
        sent.iter().map(|it| it.bytes).sum::<u64>(),
        of(&done, "fetched_bytes"),
        "{sent:#?}"
    );
    assert_eq!(sent.len() as u64, of(&done, "requests"), "{sent:#?}");
    let parts = sent.iter().filter(|it| it.status == 206).count();
    assert!(parts >= 2, "the recipe and the packs come in parts: {sent:#?}");
    shop.device.gybe(&["verify", "--slots"]).done();
    assert!(of(&done, "copied_bytes") > of(&done, "total_bytes") / 2, "{done}");
}

#[test]
fn an_install_over_tls_takes_no_more_memory_than_one_from_a_folder_may() {
    let bench = Bench::new("from-registry-memory");
    let shop = Shop::open(&bench);
    // As a real device has them: all that everybody believes.
    let bundle = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let held = shop.device.path("etc/ssl/certs/ca-certificates.crt");
    std::fs::create_dir_all(held.parent().unwrap()).unwrap();
    std::fs::write(held, bundle).unwrap();
    let gybe = shop.device.command(&["install", &shop.source("two")]);
    let mut time = bench::tool("time");
    time.args(["--quiet", "--format=%M", "--output"]).arg(bench.path("memory"));
    time.arg(gybe.get_program()).args(gybe.get_args());
    run(time.env_remove("GYBE_LOG")).done();
    let said = std::fs::read_to_string(bench.path("memory")).unwrap();
    let kib: u64 = said.trim().parse().unwrap();
    // Of an unoptimised build; docs/benchmarks.md has that of a release.
    assert!(kib <= MEMORY_MAX_KIB, "{kib} KiB");
}

#[test]
fn every_verb_that_takes_a_source_takes_one_in_a_registry() {
    let bench = Bench::new("from-registry-verbs");
    let shop = Shop::open(&bench);
    let said = shop.device.gybe(&["verify", &shop.source("two")]).done();
    assert!(said.stdout.contains("is whole and signed"), "{}", said.stdout);
    let ended = shop.device.gybe(&["check"]);
    assert_eq!(ended.code, FAILED, "no reference is tracked yet");
    shop.device.gybe(&["switch", &shop.source("one")]).done();
    let said = shop.device.gybe(&["check"]);
    assert_eq!(said.code, 4, "{}", said.stdout);
    shop.device.gybe(&["switch", &shop.source("two")]).done();
    shop.device.boot();
    shop.device.gybe(&["commit"]).done();
    assert_eq!(shop.device.status()["reference"], shop.source("two").as_str());
    let said = shop.device.gybe(&["upgrade"]).done();
    assert!(said.stdout.contains("it is running already"), "{}", said.stdout);
    let said = shop.device.gybe(&["install", &Shop::through(shop.registry.port(), "none")]);
    assert_eq!(said.code, FAILED);
    assert!(said.stderr.contains("has no manifest release"), "{}", said.stderr);
}

#[test]
fn more_than_is_allowed_is_refused_before_anything_is_written() {
    let bench = Bench::new("from-registry-budget");
    let shop = Shop::open(&bench);
    let source = shop.source("two");
    let plan = cost(shop.device.gybe(&["plan", &source, "--json"]));
    let before = shop.device.snapshot();
    for max in [1, 5000, of(&plan, "fetched_bytes") - 1] {
        let ended = shop.device.gybe(&["install", &source, "--max-bytes", &max.to_string()]);
        assert_eq!(ended.code, REFUSED, "{}", ended.stderr);
        assert!(ended.stderr.contains("would be"), "{}", ended.stderr);
        assert_eq!(shop.device.snapshot(), before, "with {max} bytes");
    }
    // The configuration's word counts, too, and a command cannot allow more.
    let config = bench::config() + "[registry]\nmax_bytes = 5000\n";
    shop.device.write("usr/lib/gybe/config.toml", &config);
    let ended = shop.device.gybe(&["install", &source, "--max-bytes", "100000000"]);
    assert_eq!(ended.code, REFUSED, "{}", ended.stderr);
    assert_eq!(shop.device.snapshot(), before);
    shop.device.write("usr/lib/gybe/config.toml", &bench::config());
    // The recipe comes twice when there is a budget: once to know, once to write it.
    let max = 2 * of(&plan, "fetched_bytes");
    shop.device.gybe(&["install", &source, "--max-bytes", &max.to_string()]).done();
}

#[test]
fn a_link_that_drops_wastes_nothing_and_one_that_dies_loses_nothing() {
    let bench = Bench::new("from-registry-links");
    let shop = Shop::open(&bench);
    let whole = cost(shop.device.copy("whole").gybe(&["install", &shop.source("two"), "--json"]));

    let dropped = shop.device.copy("dropped");
    let link = shop.link(&dropped, Breaks::Each(200_000));
    let source = Shop::through(link.port(), "two");
    let done = cost(dropped.gybe(&["install", &source, "--json"]));
    assert!(link.connections() > 3, "{} connections", link.connections());
    let (bytes, all) = (of(&done, "fetched_bytes"), of(&whole, "fetched_bytes"));
    assert!(bytes * 100 <= all * 102, "{bytes} of {all}");
    dropped.gybe(&["verify", "--slots"]).done();

    // The link dies in the middle, and another day it is there again.
    let died = shop.device.copy("died");
    let config = bench::config() + "[registry]\ntries = 2\n";
    died.write("usr/lib/gybe/config.toml", &config);
    let link = shop.link(&died, Breaks::After(of(&whole, "fetched_bytes") * 6 / 10));
    let ended = died.gybe(&["install", &Shop::through(link.port(), "two")]);
    assert_eq!(ended.code, FAILED, "{}", ended.stdout);
    assert!(ended.stderr.contains("hint: try again when the link is better"), "{}", ended.stderr);
    let rest = cost(died.gybe(&["install", &shop.source("two"), "--json"]));
    let (rest, all) = (of(&rest, "fetched_bytes"), of(&whole, "fetched_bytes"));
    assert!(rest < all * 7 / 10, "{rest} of {all} after the first part");
    died.gybe(&["verify", "--slots"]).done();
}

/// A proxy that connects whoever asks by CONNECT, and remembers whom to.
fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            let mut lines = BufReader::new(near.try_clone().unwrap());
            let mut first = String::new();
            lines.read_line(&mut first).unwrap();
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let to = first.split(' ').nth(1).unwrap().to_owned();
            let far = TcpStream::connect(&to).unwrap();
            kept.lock().unwrap().push(first);
            (&near).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from, mut into) = (far.try_clone().unwrap(), near);
            thread::spawn(move || io::copy(&mut from, &mut into));
            thread::spawn(move || io::copy(&mut lines, &mut { far }));
        }
    });
    (port, asked)
}

#[test]
fn proxies_of_the_environment_are_used_and_not_for_whom_it_excepts() {
    let bench = Bench::new("from-registry-proxy");
    let shop = Shop::open(&bench);
    let (port, asked) = proxy();
    let with = |excepted: &str| {
        let mut gybe = shop.device.command(&["plan", &shop.source("two")]);
        gybe.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}")).env("NO_PROXY", excepted);
        run(&mut gybe).done();
        std::mem::take(&mut *asked.lock().unwrap())
    };
    let registry = format!("CONNECT 127.0.0.1:{} HTTP/1.1", shop.registry.port());
    let through = with("elsewhere.example");
    assert!(
        through.iter().all(|line| line.trim() == registry) && !through.is_empty(),
        "{through:?}"
    );
    assert_eq!(with("127.0.0.1"), Vec::<String>::new());
}

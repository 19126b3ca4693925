//! Who is told of what happens: an endpoint, the journal, hooks, node-exporter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use fixture::{Device, Recipe};
use serde_json::{Value, json};

/// An endpoint that answers each request with the next of `answers`, and gives what it was sent.
struct Endpoint {
    url: String,
    served: JoinHandle<Vec<(String, Value)>>,
}

impl Endpoint {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/reports", listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            answers.iter().map(|answer| serve(listener.accept().unwrap().0, answer)).collect()
        });
        Self { url, served }
    }

    /// What was posted: the head of each request, and its body.
    fn posted(self) -> Vec<(String, Value)> {
        self.served.join().unwrap()
    }
}

fn serve(stream: TcpStream, answer: &str) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.into_inner().write_all(answer.as_bytes()).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn follow(device: &Device, source: &str, more: &str) {
    device.write("etc/gybe/config.toml", &format!("reference = \"{source}\"\n{more}"));
    device.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
}

fn pull(device: &Device) -> Value {
    device.status()["pull"].clone()
}

#[test]
fn reports_are_spooled_while_nobody_listens_and_posted_once_each() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    let report = |url: &str| format!("[report]\nurl = \"{url}\"\ntimeout_s = 5\n");
    // Nobody listens there: the port was closed again.
    let closed =
        format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    follow(&device, &two.source(), &report(&closed));
    device.gybe(&["upgrade", "--automatic"]).ended(0, "reports wait for the endpoint");
    device.boots("b", &two, true);
    device.gybe(&["commit"]).done();
    assert_eq!(pull(&device)["reports_waiting"], 2);
    // One that is not accepted is posted again, in its turn.
    let endpoint = Endpoint::start(&["503 Later", "200 OK", "204 No Content"]);
    follow(&device, &two.source(), &report(&endpoint.url));
    device.gybe(&["upgrade", "--automatic"]).ended(0, "503");
    device.gybe(&["upgrade", "--automatic"]).done();
    let posted = endpoint.posted();
    let facts = |it: &Value| {
        (it["sequence"].as_u64().unwrap(), it["transition"].as_str().unwrap().to_owned())
    };
    let found: Vec<_> = posted.iter().map(|(_, body)| facts(body)).collect();
    let armed = (1, "armed".to_owned());
    assert_eq!(found, [armed.clone(), armed, (2, "updated".to_owned())]);
    let (head, updated) = &posted[2];
    assert!(head.starts_with("POST /reports HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    assert_eq!((&updated["version"], &updated["compatible"]), (&json!(1), &json!("acme-gateway")));
    assert_eq!(updated["from"]["version"], "1.0.0");
    assert_eq!(updated["to"]["digest"], two.digest.to_string());
    let device_name = updated["device"].as_str().unwrap();
    assert!(device_name.len() == 32 && device_name != "0123456789abcdef0123456789abcdef");
    assert!(posted[1].1["cost"]["fetched_bytes"].as_u64().unwrap() > 0);
    assert_eq!(pull(&device)["reports_waiting"], 0);
}

#[test]
fn what_happened_is_posted_before_a_reboot() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    let endpoint = Endpoint::start(&["200 OK"]);
    let more = format!("[pull]\nreboot = \"now\"\n[report]\nurl = \"{}\"\n", endpoint.url);
    follow(&device, &two.source(), &more);
    let mut command = device.command(&["upgrade", "--automatic"]);
    let ended = fixture::Ended::of(&command.env("GYBE_LOG", "debug").output().unwrap()).done();
    let at = |part: &str| ended.stderr.find(part).unwrap_or_else(|| panic!("{part}: {ended:#?}"));
    assert!(at("report posted") < at("below a folder nothing reboots"));
    assert_eq!(endpoint.posted()[0].1["transition"], "armed");
}

#[test]
fn a_spool_that_overflows_counts_what_it_loses() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    // Every change of what is wrong is told: forty times, with nobody listening.
    for number in 0..40 {
        let source = format!("oci:/nowhere/{number}:x");
        let report =
            "[report]\nurl = \"http://127.0.0.1:9/\"\ntimeout_s = 1\n[pull]\ninterval_s = 60\n";
        follow(&device, &source, report);
        let uptime_s = 100_000 * (number + 1);
        device.write("proc/uptime", &format!("{uptime_s}.00 1.00\n"));
        device.gybe(&["upgrade", "--automatic"]);
        // What goes well in between makes it news again.
        follow(&device, &one.source(), report);
        device.write("proc/uptime", &format!("{}.00 1.00\n", uptime_s + 90_000));
        device.gybe(&["upgrade", "--automatic"]).done();
    }
    let pull = pull(&device);
    assert_eq!((&pull["reports_waiting"], &pull["reports_dropped"]), (&json!(32), &json!(8)));
    // All its room was taken when it was made.
    let len = fs::metadata(device.path("var/lib/gybe/transitions")).unwrap().len();
    assert_eq!(len, 2 * 96 * 1024);
}

#[test]
fn the_journal_gets_fields_that_can_be_asked_for() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    device.write("run/systemd/journal/.keep", "");
    let journal = UnixDatagram::bind(device.path("run/systemd/journal/socket")).unwrap();
    follow(&device, &two.source(), "");
    device.gybe(&["upgrade", "--automatic"]).done();
    let mut datagram = [0; 8192];
    let len = journal.recv(&mut datagram).unwrap();
    let text = String::from_utf8(datagram[..len].to_vec()).unwrap();
    for line in [
        "MESSAGE=armed from 1.0.0 to 2.0.0",
        "PRIORITY=5",
        "SYSLOG_IDENTIFIER=gybe",
        "GYBE_EVENT=armed",
        "GYBE_FROM_VERSION=1.0.0",
        "GYBE_TO_VERSION=2.0.0",
        &format!("GYBE_TO_DIGEST={}", two.digest),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn hooks_get_the_facts_and_hold_up_neither_a_commit_nor_a_fallback() {
    let mut booted = boots::Booted::new();
    let log = booted.device.path("log");
    let text = format!(
        "#!/bin/sh\necho \"$GYBE_EVENT $GYBE_FROM_VERSION $GYBE_TO_VERSION $GYBE_REASON \
         $GYBE_CHECK $GYBE_ATTEMPTS\" >>{}\nexit 75\n",
        log.display()
    );
    booted.script("usr/lib/gybe/hooks.d/10-log", &text);
    booted.script(&format!("{}/10_bad.sh", boots::REQUIRED), "#!/bin/sh\nexit 1\n");
    // A hook that always says no is not asked about what has happened.
    while booted.boot().1 {
        booted.health();
        assert!(!log.exists(), "a hook ran while a trial was given up");
    }
    booted.script(&format!("{}/10_bad.sh", boots::REQUIRED), "#!/bin/sh\nexit 0\n");
    booted.health().done();
    let lines = fs::read_to_string(&log).unwrap();
    assert_eq!(lines.trim(), "fell-back 2.0.0 1.0.0 health 10_bad.sh 3");

    let mut booted = boots::Booted::new();
    booted.script("usr/lib/gybe/hooks.d/10-no", "#!/bin/sh\nexit 75\n");
    booted.script(&format!("{}/10_good.sh", boots::REQUIRED), "#!/bin/sh\nexit 0\n");
    booted.boot();
    let report = booted.health().done().json();
    assert_eq!(report["committed"], true);
    assert_eq!(booted.device.status()["b"]["state"], "good");
}

/// What Prometheus's format allows, line by line; every metric has its help and type before its samples.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut known = Vec::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            assert!(!known.contains(&name.to_owned()), "{name} is there twice");
            known.push(name.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert_eq!(known.last().unwrap(), name, "{line} is not below its type");
            samples.push((sample.to_owned(), value.parse().unwrap()));
        }
    }
    assert!(text.ends_with('\n'));
    samples
}

/// What Prometheus's own client library for Python reads from it, as many samples as it finds.
fn samples_by_prometheus(text: &str) -> usize {
    const READER: &str = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        print(sum(len(family.samples) for family in read(sys.stdin.read())))\n";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3: run cargo full-test, which installs it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "python3-prometheus-client: run cargo full-test");
    String::from_utf8(ended.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn node_exporter_finds_the_devices_state() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    device.write("var/node/README", "");
    follow(&device, &two.source(), "[metrics]\nfile = \"/var/node/gybe.prom\"\n");
    device.gybe(&["upgrade", "--automatic"]).done();
    let text = fs::read_to_string(device.path("var/node/gybe.prom")).unwrap();
    let found = samples(&text);
    assert_eq!(samples_by_prometheus(&text), found.len());
    let value = |sample: &str| found.iter().find(|(name, _)| name == sample).map(|(_, it)| *it);
    assert_eq!(value("gybe_slot_state{slot=\"a\",state=\"good\"}"), Some(1.0));
    assert_eq!(value("gybe_slot_state{slot=\"b\",state=\"trial\"}"), Some(1.0));
    assert_eq!(value("gybe_slot_state{slot=\"b\",state=\"good\"}"), Some(0.0));
    assert_eq!(value("gybe_reboot_needed"), Some(1.0));
    assert_eq!(value("gybe_looks_total"), Some(1.0));
    assert_eq!(value("gybe_trouble{class=\"not-found\"}"), Some(0.0));
    assert!(value("gybe_fetched_bytes_total").unwrap() > 0.0);
    assert!(found.iter().any(|(name, _)| name.contains("version=\"1.0.0\"")));
    // The clock was not synchronised, so there is no time, rather than a wrong one.
    assert_eq!(value("gybe_last_look_timestamp_seconds"), None);
    let names: Vec<_> = fs::read_dir(device.path("var/node")).unwrap().collect();
    assert_eq!(names.len(), 2, "nothing is left beside it");
}

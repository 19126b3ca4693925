//! A sealed release in a registry: cosign verifies it there, and what comes out of it installs.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use bench::{Bench, Device, FAILED, Parts, REFUSED, Small, homeless, run, succeed, tool};
use gybe_hw_tests::registry::Registry;
use serde_json::Value;

#[test]
fn a_release_goes_through_a_registry_and_is_verified_there() {
    let bench = Bench::new("carried");
    let registry = Registry::start_unguarded(&bench.path("registry")).unwrap();
    let repository = format!("127.0.0.1:{}/acme/gateway", registry.port());
    let name = |tag: &str| format!("{repository}:{tag}");
    let image = Small::new(1).make(&bench, "image");
    bench.seal(&image, "sealed", 1);
    let parts = Parts::read(&bench.path("sealed"));
    let signature = format!("{}.sig", parts.digest().replace(':', "-"));
    let (layout, release) = (bench.path("sealed").display().to_string(), name("v1"));

    // The release with what names it as its subject, and the signature that is found by its tag.
    let copy = |options: &[&str], from: &str, to: &str| {
        let mut oras = homeless(&bench, "oras");
        succeed(oras.arg("cp").args(options).args([from, to]));
    };
    let push = ["--from-oci-layout", "--to-plain-http"];
    let recursive = [&push[..], &["--recursive"]].concat();
    copy(&recursive, &format!("{layout}:release"), &release);
    copy(&push, &format!("{layout}:{signature}"), &name(&signature));

    let by_digest = format!("{repository}@{}", parts.digest());
    for (version, key, code) in
        [("cosign2", "release", 0), ("cosign3", "release", 0), ("cosign3", "stranger", 1)]
    {
        let mut verify = homeless(&bench, version);
        verify.args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry"]);
        verify.arg("--key").arg(bench.public_key(key)).arg(&by_digest);
        let ended = run(&mut verify);
        assert_eq!(ended.code.min(1), code, "{version} {key}: {ended:#?}");
        assert_eq!(ended.stdout.contains(parts.digest()), code == 0, "{version} {key}");
    }

    // oras brings the signatures along when it is asked to, skopeo when they are named.
    let pull = ["--recursive", "--from-plain-http", "--to-oci-layout"];
    copy(&pull, &release, &format!("{}:release", bench.path("by-oras").display()));
    let skopeo = |tag: &str, to: &str| {
        let mut skopeo = homeless(&bench, "skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
        skopeo.arg(format!("docker://{}", name(tag)));
        succeed(skopeo.arg(to));
    };
    let by_skopeo = bench.source("by-skopeo");
    skopeo("v1", &by_skopeo);
    let device = Device::new(&bench, "device");
    let install = |layout: &str, slot: &str| {
        device.gybe(&["install", &bench.source(layout), "--slot", slot, "--no-arm"])
    };
    // skopeo alone leaves the signatures behind, and then nobody installs the release.
    install("by-skopeo", "a").ended(REFUSED, &["0 of 1 required signatures"]);
    skopeo(&signature, &by_skopeo.replace(":release", &format!(":{signature}")));
    install("by-skopeo", "a").done();
    install("by-oras", "b").done();
    let status: Value = device.status();
    for slot in ["a", "b"] {
        assert_eq!(status[slot]["state"], "proven", "{status}");
        assert_eq!(status[slot]["release"]["digest"].as_str(), Some(parts.digest()));
    }
    // Whoever lost the signatures signs again.
    skopeo("v1", &bench.source("signed-again"));
    bench.sign("signed-again", "release");
    install("signed-again", "a").done();
}

#[test]
fn a_release_in_an_archive_installs_and_a_cut_archive_is_named() {
    let bench = Bench::new("archived");
    for (name, number) in [("one", 1), ("two", 2)] {
        let image = Small::new(number).make(&bench, &format!("image-{name}"));
        bench.seal(&image, name, number);
    }
    let device = Device::with(&bench, "device", &bench.source("one"));
    let archive = bench.path("two.archive");
    let mut tar = tool("tar");
    succeed(
        tar.arg("--create").arg("--file").arg(&archive).arg("-C").arg(bench.path("two")).arg("."),
    );
    let source = format!("oci-archive:{}:release", archive.display());
    let whole = fs::read(&archive).unwrap();
    for eighths in 0..8 {
        let tried = device.copy("tried");
        let before = tried.snapshot();
        fs::write(&archive, &whole[..whole.len() * eighths / 8]).unwrap();
        tried.gybe(&["install", &source]).ended(FAILED, &["error: ", "two.archive"]);
        assert_eq!(tried.snapshot(), before, "cut at {eighths} eighths");
        tried.remove();
    }
    // What stands in place of the length of the first file claims more than there is.
    let mut lying = whole.clone();
    let header = 512 * (0..).find(|at| lying[at * 512 + 156] == b'0').unwrap();
    lying[header + 124..header + 135].copy_from_slice(b"77777777777");
    fs::write(&archive, lying).unwrap();
    let before = device.snapshot();
    device.gybe(&["install", &source]).ended(FAILED, &["error: ", "two.archive"]);
    assert_eq!(device.snapshot(), before);

    fs::write(&archive, whole).unwrap();
    device.gybe(&["install", &source]).done();
    assert_eq!(device.status()["b"]["state"], "trial");
}

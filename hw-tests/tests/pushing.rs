//! Releases sealed into, signed in and copied between registries, with TLS and a password: what devices
//! and other tools find there, and that nothing is sent twice.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::path::Path;
use std::process::Command;

use bench::{Bench, Device, Ended, FAILED, Parts, REFUSED, Small, homeless, run, succeed};
use gybe_hw_tests::registry::{NAME, Registry};
use serde_json::{Value, json};

/// Name and password of the registry, as `docker login` writes them.
const LOGIN: &str = "ZGV2aWNlOmxldC1tZS1pbg==";

/// A registry, whoever may write there, and a device that may read.
struct Shop<'b> {
    bench: &'b Bench,
    registry: Registry,
    device: Device<'b>,
}

impl<'b> Shop<'b> {
    fn open(bench: &'b Bench) -> Self {
        let registry = Registry::start(&bench.path("registry")).unwrap();
        let host = format!("127.0.0.1:{}", registry.port());
        let auths = json!({ "auths": { host: { "auth": LOGIN } } });
        fs::write(bench.path("config.json"), auths.to_string()).unwrap();
        let device = Device::new(bench, "device");
        registry.admit(&device.path(""), registry.port()).unwrap();
        assert_eq!(NAME, "device");
        Self { bench, registry, device }
    }

    fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/acme/{repository}", self.registry.port())
    }

    fn source(&self, repository: &str, tag: &str) -> String {
        format!("docker://{}:{tag}", self.name(repository))
    }

    /// A program that believes the registry and knows the password, ours or not.
    fn entering(&self, mut command: Command) -> Command {
        command.env("SSL_CERT_FILE", self.bench.path("registry/ca.crt"));
        command.env("HOME", self.bench.path("")).env("DOCKER_CONFIG", self.bench.path(""));
        command.env("REGISTRY_AUTH_FILE", self.bench.path("config.json"));
        command
    }

    fn tool(&self, name: &str) -> Command {
        self.entering(homeless(self.bench, name))
    }

    fn publish(&self, arguments: &[&str]) -> Ended {
        let mut publish = self.entering(self.bench.program("gybe-publish"));
        run(publish.args(arguments))
    }

    /// Copies; gives how many bytes were sent, and how many were there.
    fn bundle(&self, from: &str, to: &str) -> (u64, u64) {
        let report = self.publish(&["bundle", from, "--output", to, "--json"]).done().json();
        let of = |name: &str| report[name].as_u64().unwrap();
        (of("copied_bytes"), of("there_bytes"))
    }

    fn cosign_verify(&self, version: &str, key: &Path, name: &str) -> Ended {
        let mut verify = self.tool(version);
        verify.args(["verify", "--insecure-ignore-tlog=true", "--key"]).arg(key);
        run(verify.arg(name))
    }
}

/// Seals an image to `output`, and signs it with the key `release`.
fn seal(shop: &Shop<'_>, image: &str, number: u32, output: &str, more: &[&str]) -> Value {
    let bench = shop.bench;
    let seal = bench.seal_to(image, output, number);
    let mut seal = shop.entering(seal);
    seal.arg("--key").arg(bench.key("release")).args(more);
    serde_json::from_str(&succeed(&mut seal)).unwrap()
}

#[test]
fn what_is_sealed_into_a_registry_is_found_there_by_devices_and_by_other_tools() {
    let bench = Bench::new("pushing-seal");
    let shop = Shop::open(&bench);
    let (source, name) = (shop.source("sealed", "v1"), shop.name("sealed"));
    let [one, two] =
        [1, 2].map(|number| Small::new(number).make(&bench, &format!("image-{number}")));
    let report = seal(&shop, &one, 1, &source, &[]);
    let digest = report["digest"].as_str().unwrap();
    shop.device.gybe(&["verify", &source]).done();
    shop.device.gybe(&["install", &source, "--slot", "a", "--no-arm"]).done();

    let by_digest = format!("{name}@{digest}");
    for version in ["cosign2", "cosign3"] {
        let said = shop.cosign_verify(version, &bench.public_key("release"), &by_digest);
        assert!(said.done().stdout.contains(digest), "{version}");
        let said = shop.cosign_verify(version, &bench.public_key("stranger"), &by_digest);
        assert_ne!(said.code, 0, "{version}");
    }
    let inspected = succeed(shop.tool("skopeo").args(["inspect", "--raw", &source]));
    assert!(inspected.contains("application/vnd.gybe.release.v1"), "{inspected}");
    let discover = ["discover", "--format", "json", &by_digest];
    let found = succeed(shop.tool("oras").args(discover));
    assert_eq!(
        found.matches("application/vnd.dev.sigstore.bundle.v0.3+json").count(),
        1,
        "{found}"
    );
    // The signature says which repository it is for, as podman and skopeo will ask.
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let mut oras = shop.tool("oras");
    let manifest = succeed(oras.args(["manifest", "fetch", &format!("{name}:{tag}")]));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let payload = manifest["layers"][0]["digest"].as_str().unwrap();
    let mut oras = shop.tool("oras");
    let blob = format!("{name}@{payload}");
    let payload = succeed(oras.args(["blob", "fetch", "--output", "-", &blob]));
    assert!(payload.contains(&format!("\"docker-reference\":\"{name}\"")), "{payload}");

    // What is sealed on top of an earlier release sends what is new.
    let folder = bench.source("one");
    assert_eq!(seal(&shop, &one, 1, &folder, &[])["digest"], digest);
    seal(&shop, &two, 2, &shop.source("sealed", "v2"), &["--base", &folder]);
    shop.device.gybe(&["install", &shop.source("sealed", "v2"), "--slot", "b", "--no-arm"]).done();
    assert_eq!(shop.device.status()["b"]["release"]["version"], "2.0.0");
    // It is the same release whether the earlier one lies in a folder or in the registry, to which
    // this machine was a stranger before.
    let build = |base: &str, output: &str| {
        seal(&shop, &two, 2, &bench.source(output), &["--base", base])["digest"].clone()
    };
    assert_eq!(build(&source, "from-registry"), build(&folder, "from-folder"));
    let mut nowhere = shop.entering(bench.seal_to(&two, &bench.source("nowhere"), 2));
    let ended = run(nowhere.args(["--base", &shop.source("sealed", "v9")]));
    assert_eq!(ended.code, FAILED);
    assert!(ended.stderr.contains("v9"), "{}", ended.stderr);
}

#[test]
fn signing_in_a_registry_adds_to_what_is_there() {
    let bench = Bench::new("pushing-sign");
    let shop = Shop::open(&bench);
    let (source, name) = (shop.source("signed", "v1"), shop.name("signed"));
    let image = Small::new(1).make(&bench, "image");
    let sealed = succeed(&mut shop.entering(bench.seal_to(&image, &source, 1)));
    let digest =
        serde_json::from_str::<Value>(&sealed).unwrap()["digest"].as_str().unwrap().to_owned();
    let by_digest = format!("{name}@{digest}");
    shop.device.gybe(&["verify", &source]).ended(REFUSED, &["no other signature was found"]);
    let sign = |key: &str, note: &str| {
        let key = bench.key(key).display().to_string();
        shop.publish(&["sign", "--key", &key, &source, "--annotation", note]).done();
    };
    // A stranger first, twice the same, then somebody else with cosign, then us.
    sign("stranger", "channel=beta");
    sign("stranger", "channel=beta");
    shop.device.gybe(&["verify", &source]).ended(REFUSED, &["not made by a trusted key"]);
    let mut import = shop.tool("cosign3");
    import.args(["import-key-pair", "--output-key-prefix", "other", "--key"]);
    succeed(import.arg(bench.key("stranger")));
    let mut config = shop.tool("cosign3");
    succeed(config.args(["signing-config", "create", "--out", "services.json"]));
    for (version, more) in [
        ("cosign2", ["--tlog-upload=false", "--yes"]),
        ("cosign3", ["--signing-config=services.json", "--yes"]),
    ] {
        let mut cosign = shop.tool(version);
        succeed(cosign.args(["sign", "--key", "other.key"]).args(more).arg(&by_digest));
    }
    sign("release", "channel=stable");
    shop.device.gybe(&["verify", &source]).done();
    for (version, key) in [
        ("cosign2", "stranger"),
        ("cosign2", "release"),
        ("cosign3", "stranger"),
        ("cosign3", "release"),
    ] {
        let said = shop.cosign_verify(version, &bench.public_key(key), &by_digest);
        assert_eq!(said.code, 0, "{version} {key}: {said:?}");
    }
    let discover = ["discover", "--format", "json", &by_digest];
    let found = succeed(shop.tool("oras").args(discover));
    let bundles = found.matches("application/vnd.dev.sigstore.bundle.v0.3+json").count();
    // The stranger's, once; cosign's, as cosign lists it; ours.
    assert!((2..=3).contains(&bundles), "{found}");
}

#[test]
fn what_cosign_signs_in_a_registry_is_read_by_devices() {
    let bench = Bench::new("pushing-cosign");
    let shop = Shop::open(&bench);
    let mut import = shop.tool("cosign3");
    import.args(["import-key-pair", "--output-key-prefix", "release-key", "--key"]);
    succeed(import.arg(bench.key("release")));
    let mut config = shop.tool("cosign3");
    succeed(config.args(["signing-config", "create", "--out", "services.json"]));
    let image = Small::new(1).make(&bench, "image");
    for (version, more) in [
        ("cosign2", &["--tlog-upload=false"][..]),
        ("cosign3", &["--signing-config=services.json"]),
        (
            "cosign3",
            &["--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"],
        ),
    ] {
        let repository = format!("{version}-{}", more.len());
        let source = shop.source(&repository, "v1");
        let sealed = succeed(&mut shop.entering(bench.seal_to(&image, &source, 1)));
        let digest =
            serde_json::from_str::<Value>(&sealed).unwrap()["digest"].as_str().unwrap().to_owned();
        let mut cosign = shop.tool(version);
        cosign.args(["sign", "--key", "release-key.key", "--yes"]).args(more);
        succeed(cosign.arg(format!("{}@{digest}", shop.name(&repository))));
        shop.device.gybe(&["verify", &source]).done();
        // And it can be carried from there.
        let archive = format!("oci-archive:{}", bench.path("carried.tar").display());
        shop.bundle(&source, &archive);
        shop.device.gybe(&["verify", &archive]).done();
    }
}

#[test]
fn copies_between_registries_and_layouts_send_what_is_missing() {
    let bench = Bench::new("pushing-copies");
    let shop = Shop::open(&bench);
    let layout = bench.source("sealed");
    seal(&shop, &Small::new(1).make(&bench, "image"), 1, &layout, &[]);
    let digest = Parts::read(&bench.path("sealed")).digest().to_owned();
    let (first, second) = (shop.source("first", "v1"), shop.source("second", "v2"));
    let (sent, there) = shop.bundle(&layout, &first);
    assert!(sent > 1 << 20 && there == 0, "{sent} {there}");
    assert_eq!(shop.bundle(&layout, &first), (0, sent));
    // Another repository of the same registry has nothing of it, and takes it from the first.
    assert_eq!(shop.bundle(&first, &second), (0, sent));
    let back = bench.path("back");
    let (fetched, _) = shop.bundle(&second, &format!("oci:{}", back.display()));
    assert!(fetched >= sent, "{fetched} {sent}");
    for source in [&first, &second, &format!("oci:{}:v2", back.display())] {
        shop.device.gybe(&["verify", source]).done();
        let report = shop.device.gybe(&["verify", source, "--json"]).done().json();
        assert_eq!(report["release"]["digest"], digest.as_str());
    }
    // What is near the tag is whole, and what is not whole gets no tag.
    let parts = Parts::read(&bench.path("sealed"));
    parts.damage("pack", |bytes| bytes[100] ^= 1);
    let third = shop.source("third", "v1");
    let ended = shop.publish(&["bundle", &layout, "--output", &third]);
    assert_ne!(ended.code, 0, "{ended:?}");
    shop.device.gybe(&["verify", &third]).ended(FAILED, &["has no manifest v1"]);
    // Nobody may write who is not let in.
    fs::write(bench.path("config.json"), "{}").unwrap();
    let ended = shop.publish(&["bundle", &first, "--output", &second]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(!ended.stderr.contains(LOGIN), "{ended:?}");
}

#[test]
fn what_notation_signed_goes_along_between_repositories() {
    let bench = Bench::new("pushing-notation");
    let shop = Shop::open(&bench);
    let (first, second) = (shop.source("first", "v1"), shop.source("second", "v1"));
    let image = Small::new(1).make(&bench, "image");
    let report = seal(&shop, &image, 1, &first, &[]);
    let digest = report["digest"].as_str().unwrap();
    let notation = |arguments: &[&str]| succeed(shop.tool("notation").args(arguments));
    notation(&["cert", "generate-test", "--default", "acme.example"]);
    notation(&["sign", &format!("{}@{digest}", shop.name("first"))]);
    shop.bundle(&first, &second);
    let listed = notation(&["list", &format!("{}@{digest}", shop.name("second"))]);
    assert_eq!(listed.matches("application/vnd.cncf.notary.signature").count(), 1, "{listed}");
    for source in [&first, &second] {
        shop.device.gybe(&["verify", source]).done();
    }
}

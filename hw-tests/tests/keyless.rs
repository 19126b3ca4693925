//! Releases signed with certificates of a private authority: what cosign makes is accepted from whom it
//! should be, offline, and nothing else; and cosign is asked too.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod authority;
mod bench;

use std::fs;

use authority::{Asked, Authority, ISSUER, SAN, SIGNATURE, statement};
use bench::{Bench, Device, Parts, REFUSED, Small};
use serde_json::{Value, json};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ATTESTATION: &str = "https://slsa.dev/provenance/v1";

/// Two authorities, a release that nobody signed, and a device that trusts an identity.
struct Scene {
    bench: Bench,
    ours: Authority,
    theirs: Authority,
}

impl Scene {
    fn new(name: &str) -> Self {
        let bench = Bench::new(name);
        for number in [1, 2] {
            let image = Small::new(number).make(&bench, &format!("image-{number}"));
            bench.seal(&image, &format!("sealed-{number}"), number);
        }
        let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&bench, name));
        for authority in [&ours, &theirs] {
            authority.issue("ci", SAN, ISSUER);
        }
        Self { bench, ours, theirs }
    }

    /// A device that runs the first release, and that trusts what `trust` says.
    fn device(&self, name: &str, trust: &str) -> Device<'_> {
        let device = Device::with(&self.bench, name, &self.bench.source("sealed-1"));
        device.write("usr/lib/gybe/trust.toml", trust);
        device.write("usr/lib/gybe/trusted_root.json", &self.ours.trusted_root("root.json"));
        device
    }

    /// The bytes of the manifest of the second release.
    fn manifest(&self) -> Vec<u8> {
        fs::read(Parts::read(&self.bench.path("sealed-2")).file("manifest")).unwrap()
    }

    /// The second release with `bundles` as its only signatures; gives its source.
    fn release(&self, name: &str, bundles: &[&Value]) -> String {
        let mut parts = self.bench.copy("sealed-2", name);
        for file in parts.signature_files() {
            fs::remove_file(file).unwrap();
        }
        let release = parts.index["manifests"][0].clone();
        parts.index["manifests"] = json!([release]);
        for bundle in bundles {
            let blob =
                |kind: &str, bytes: &[u8]| parts.named_blob(bytes, &json!({ "mediaType": kind }));
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": BUNDLE_TYPE,
                "config": blob("application/vnd.oci.empty.v1+json", b"{}"),
                "layers": [blob(BUNDLE_TYPE, bundle.to_string().as_bytes())],
                "subject": release,
            });
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let entry = blob(kind, manifest.to_string().as_bytes());
            parts.index["manifests"].as_array_mut().unwrap().push(entry);
        }
        parts.write_index();
        self.bench.source(name)
    }
}

/// A trust file with one identity.
fn trust(san: &str, issuer: &str) -> String {
    format!(
        "trusted_root = \"trusted_root.json\"\n\
         [[identity]]\nname = \"ci\"\nsan = \"{san}\"\nissuer = \"{issuer}\"\n"
    )
}

#[test]
fn whom_a_certificate_names_is_accepted_and_nobody_else() {
    let scene = Scene::new("keyless");
    let manifest = scene.manifest();
    let good = scene.ours.sign("ci", &statement(&manifest, SIGNATURE, &json!({})));
    let asked = |root: &Authority, predicate: &'static str| Asked {
        san: SAN,
        issuer: ISSUER,
        predicate,
        root: root.path("root.json"),
    };

    // The right one: cosign agrees, and a device needs no network.
    assert_eq!(scene.ours.cosign(&good, &manifest, &asked(&scene.ours, SIGNATURE)).code, 0);
    let device = scene.device("right", &trust(SAN, ISSUER));
    let source = scene.release("good", &[&good]);
    let report = device.gybe(&["verify", &source, "--json"]).done().json();
    assert_eq!(report["signers"][0]["name"], "ci");
    device.gybe(&["install", &source]).done();
    device.boot();
    device.gybe(&["commit"]).done();
    assert_eq!(device.status()["b"]["signers"][0]["name"], "ci");

    let other = scene.theirs.sign("ci", &statement(&manifest, SIGNATURE, &json!({})));
    let moved = scene.ours.sign("ci", &statement(b"another", SIGNATURE, &json!({})));
    let attestation = scene.ours.sign("ci", &statement(&manifest, ATTESTATION, &json!({})));
    scene.ours.issue_in_the_past("old", "ci");
    let mut expired = good.clone();
    expired["verificationMaterial"]["certificate"]["rawBytes"] = scene.ours.certificate("old");
    let mut unstamped = good.clone();
    unstamped["verificationMaterial"]["timestampVerificationData"] = json!({});
    let mut altered = good.clone();
    altered["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone();
    let mut stamped_elsewhere = good.clone();
    stamped_elsewhere["verificationMaterial"]["timestampVerificationData"] =
        moved["verificationMaterial"]["timestampVerificationData"].clone();

    let (elsewhere, stranger) = ("https://git.acme.example/other", "https://issuer.example");
    let ours = trust(SAN, ISSUER);
    for (name, bundle, trust, why) in [
        ("another identity", &good, &trust(elsewhere, ISSUER), "certificate: nobody trusted: "),
        ("another issuer", &good, &trust(SAN, stranger), "certificate: nobody trusted: "),
        (
            "a longer identity",
            &good,
            &trust(&SAN[..SAN.len() - 1], ISSUER),
            "certificate: nobody trusted: ",
        ),
        ("another authority", &other, &ours, "certificate: "),
        ("another digest", &moved, &ours, "artifact mismatch"),
        ("an attestation", &attestation, &ours, "attestation in place of a signature"),
        ("expired", &expired, &ours, "certificate: "),
        ("no time", &unstamped, &ours, "certificate: "),
        ("another signature", &altered, &ours, "certificate: "),
        ("a time stamp of another signature", &stamped_elsewhere, &ours, "certificate: "),
    ] {
        let device = scene.device(&format!("refusing {name}"), trust);
        let before = device.snapshot();
        let source = scene.release(&format!("refused {name}"), &[bundle]);
        let ended = device.gybe(&["install", &source]).ended(REFUSED, &["0 of 1 required", why]);
        assert_eq!(device.snapshot(), before, "{name}: {ended:?}");
        device.remove();
    }

    // cosign agrees about all of them, but for what it calls a signature.
    for (name, bundle, asked) in [
        ("another identity", &good, Asked { san: elsewhere, ..asked(&scene.ours, SIGNATURE) }),
        ("another issuer", &good, Asked { issuer: stranger, ..asked(&scene.ours, SIGNATURE) }),
        ("another authority", &other, asked(&scene.ours, SIGNATURE)),
        ("another digest", &moved, asked(&scene.ours, SIGNATURE)),
        ("expired", &expired, asked(&scene.ours, SIGNATURE)),
        ("no time", &unstamped, asked(&scene.ours, SIGNATURE)),
        ("another signature", &altered, asked(&scene.ours, SIGNATURE)),
        ("a time stamp of another signature", &stamped_elsewhere, asked(&scene.ours, SIGNATURE)),
    ] {
        let ended = scene.ours.cosign(bundle, &manifest, &asked);
        assert_ne!(ended.code, 0, "cosign accepts {name}");
    }
    let attested = scene.ours.cosign(&attestation, &manifest, &asked(&scene.ours, ATTESTATION));
    assert_eq!(attested.code, 0, "{attested:?}");
}

#[test]
fn what_the_log_has_is_accepted_and_nothing_that_was_changed() {
    let scene = Scene::new("keyless-log");
    let manifest = scene.manifest();
    let unlogged = scene.ours.sign("ci", &statement(&manifest, SIGNATURE, &json!({})));
    let again = scene.ours.sign("ci", &statement(&manifest, SIGNATURE, &json!({ "a": "b" })));
    let (good, other) = (scene.ours.log(&unlogged, 0), scene.ours.log(&again, 0));
    let device = scene.device("device", &trust(SAN, ISSUER));
    device.write("usr/lib/gybe/trusted_root.json", &scene.ours.trusted_root("logged.json"));
    let source = scene.release("logged", &[&good]);
    device.gybe(&["verify", &source]).done();

    // cosign is not asked here: it renders an entry anew, and finds another leaf than this log has.
    let entry = "/verificationMaterial/tlogEntries/0";
    let change = |at: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&format!("{entry}{at}")).unwrap() = value;
        bundle
    };
    let others = |at: &str| other.pointer(&format!("{entry}{at}")).unwrap().clone();
    for (name, bundle) in [
        ("no entry", unlogged),
        ("the entry of another signature", change("", others(""))),
        ("another body", change("/canonicalizedBody", others("/canonicalizedBody"))),
        ("another promise", change("/inclusionPromise", others("/inclusionPromise"))),
        ("another proof", change("/inclusionProof", others("/inclusionProof"))),
        (
            "another checkpoint",
            change("/inclusionProof/checkpoint", others("/inclusionProof/checkpoint")),
        ),
        ("another root", change("/inclusionProof/rootHash", others("/inclusionProof/rootHash"))),
        ("no proof", change("/inclusionProof", Value::Null)),
        ("another time", change("/integratedTime", "1700000000".into())),
        ("logged before the certificate", scene.ours.log(&good, 1_700_000_000)),
    ] {
        let source = scene.release(&format!("unlogged {name}"), &[&bundle]);
        device.gybe(&["verify", &source]).ended(REFUSED, &["0 of 1 required", "certificate: "]);
    }
}

#[test]
fn an_identity_and_a_key_reach_a_threshold_together() {
    let scene = Scene::new("keyless-threshold");
    let manifest = scene.manifest();
    let key = "[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
    let both = format!("threshold = 2\n{}{key}", trust(SAN, ISSUER));
    let bundle = scene.ours.sign("ci", &statement(&manifest, SIGNATURE, &json!({})));
    let device = scene.device("device", &both);
    let source = scene.release("one", &[&bundle, &bundle]);
    device.gybe(&["install", &source]).ended(REFUSED, &["1 of 2 required"]);
    scene.bench.sign("one", "release");
    let report = device.gybe(&["verify", &source, "--json"]).done().json();
    let names: Vec<_> =
        report["signers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["release", "ci"]);
    device.gybe(&["install", &source]).done();
}

#[test]
fn what_an_identity_says_counts_as_what_a_key_says() {
    let scene = Scene::new("keyless-terms");
    let manifest = scene.manifest();
    let needs = json!({ "dev.gybe.not-before-index": "9" });
    let bundle = scene.ours.sign("ci", &statement(&manifest, SIGNATURE, &needs));
    let device = scene.device("device", &trust(SAN, ISSUER));
    let source = scene.release("needs", &[&bundle]);
    device.gybe(&["install", &source]).ended(REFUSED, &["the release needs 9"]);
}

#[test]
fn a_bundle_is_judged_as_the_conformance_suite_asks() {
    let scene = Scene::new("keyless-bundle");
    let good = scene.ours.sign("ci", &statement(b"artifact", ATTESTATION, &json!({})));
    let (bundle, artifact) = (scene.bench.path("it.json"), scene.bench.path("artifact"));
    fs::write(&bundle, good.to_string()).unwrap();
    fs::write(&artifact, "artifact").unwrap();
    let digest = format!("sha256:{}", bench::hex(b"artifact"));
    let verify = |more: &[&str], artifact: &str| {
        let mut gybe = scene.bench.program("gybe");
        gybe.arg("verify-bundle").arg("--bundle").arg(&bundle).args(more);
        bench::run(gybe.arg(artifact)).code
    };
    // This root names no log, so that what asks for one is refused, as the suite wants it.
    let root = scene.ours.path("root.json").display().to_string();
    let who = ["--certificate-identity", SAN, "--certificate-oidc-issuer", ISSUER];
    let with_root = [&who[..], &["--trusted-root", &root]].concat();
    assert_eq!(verify(&with_root, &digest), REFUSED);
    assert_eq!(verify(&who, &artifact.display().to_string()), REFUSED);
    assert_eq!(verify(&[], &digest), 2);
    assert_eq!(verify(&["--key", "no-such-file"], &digest), 1);
}

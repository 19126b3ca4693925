//! Releases that nobody who is trusted signed for this device: refused, and nothing is changed.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::Leaves::All;
use bench::{Bench, Parts, REFUSED, Row, annotate, configure, halve, judge, resign, row};
use bench::{succeed, tool};
use serde_json::{Value, json};

const TRUST: &[Row] = &[
    row(
        "unknown format version",
        REFUSED,
        All,
        &["has format version 2, this gybe knows version 1; gybe 2.5.0 or newer is needed"],
        |bench, it| {
            it.config["agentMin"] = "2.5.0".into();
            configure(bench, it, "/format", json!(2));
        },
    ),
    row(
        "incompatible feature",
        REFUSED,
        All,
        &["needs the feature \"variants\", which gybe 2.5.0 or newer has"],
        |bench, it| {
            it.config["agentMin"] = "2.5.0".into();
            configure(bench, it, "/features/incompatible", json!(["variants"]));
        },
    ),
    row("newer gybe", REFUSED, All, &["needs gybe 2.5.0 or newer, this is "], |bench, it| {
        configure(bench, it, "/agentMin", json!("2.5.0"));
    }),
    row(
        "other hash",
        REFUSED,
        All,
        &["hash is \"sha512\", this gybe knows \"sha256\""],
        |bench, it| {
            configure(bench, it, "/hash", json!("sha512"));
        },
    ),
    row("other block size", REFUSED, All, &["blockSize is 16384, expected 4096"], |bench, it| {
        configure(bench, it, "/blockSize", json!(16384));
    }),
    row(
        "window size above the limit",
        REFUSED,
        All,
        &["windowSizeMax is 8388608, expected 1048576"],
        |bench, it| {
            configure(bench, it, "/windowSizeMax", json!(8 << 20));
        },
    ),
    row(
        "newer loader",
        REFUSED,
        All,
        &["needs version 9 of the loader script, version 1 is running"],
        |bench, it| {
            configure(bench, it, "/loaderMin", json!(9));
        },
    ),
    row(
        "other compatible",
        REFUSED,
        All,
        &["release is for \"acme-camera\", this device is \"acme-gateway\""],
        |bench, it| {
            annotate(bench, it, "compatible", "acme-camera");
        },
    ),
    row(
        "other architecture",
        REFUSED,
        All,
        &["release is for the architecture riscv64, this device is "],
        |bench, it| {
            it.config["architecture"] = "riscv64".into();
            it.index["manifests"][0].as_object_mut().unwrap().remove("platform");
            annotate(bench, it, "architecture", "riscv64");
        },
    ),
    row(
        "architecture of the configuration",
        REFUSED,
        All,
        &["manifest and configuration disagree on the architecture"],
        |bench, it| {
            configure(bench, it, "/architecture", json!("riscv64"));
        },
    ),
    row(
        "rollback index below the floor",
        REFUSED,
        All,
        &["rollback index of the release is 0, the floor is 1"],
        |bench, it| {
            annotate(bench, it, "rollback-index", "0");
        },
    ),
    row(
        "annotation missing",
        REFUSED,
        All,
        &["manifest: dev.gybe.sequence is missing"],
        |bench, it| {
            it.manifest["annotations"].as_object_mut().unwrap().remove("dev.gybe.sequence");
            resign(bench, it);
        },
    ),
    row(
        "other key",
        REFUSED,
        All,
        &["0 of 1 required signatures", "not made by a trusted key"],
        |bench, it| {
            it.rewrite();
            bench.sign("spoilt", "stranger");
        },
    ),
    row(
        "no signature",
        REFUSED,
        All,
        &["0 of 1 required signatures: no other signature was found"],
        |_, it| it.rewrite(),
    ),
    row("signatures flipped", REFUSED, All, &["0 of 1 required signatures"], |_, it| {
        for file in it.signature_files() {
            let mut bytes = fs::read(&file).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(file, bytes).unwrap();
        }
    }),
    row("signatures cut", REFUSED, All, &["0 of 1 required signatures"], |_, it| {
        for file in it.signature_files() {
            let mut bytes = fs::read(&file).unwrap();
            halve(&mut bytes);
            fs::write(file, bytes).unwrap();
        }
    }),
    row(
        "signature over another digest",
        REFUSED,
        All,
        &["signature over another digest: sha256:"],
        |_, it| {
            let signatures = it.signatures();
            let old = format!("{}.sig", it.digest().replace(':', "-"));
            let files = it.signature_files().into_iter();
            let kept: Vec<_> = files.map(|file| (fs::read(&file).unwrap(), file)).collect();
            it.manifest["annotations"]["dev.gybe.version"] = "2.0.1".into();
            it.rewrite();
            kept.into_iter().for_each(|(bytes, file)| fs::write(file, bytes).unwrap());
            let new = format!("{}.sig", it.digest().replace(':', "-"));
            let entries = it.index["manifests"].as_array_mut().unwrap();
            for signature in signatures {
                let text = signature.to_string().replace(&old, &new);
                entries.push(serde_json::from_str(&text).unwrap());
            }
            it.write_index();
        },
    ),
    row(
        "attestation in place of a signature",
        REFUSED,
        All,
        &["attestation in place of a signature: predicate type https://slsa.dev/provenance/v1"],
        attest,
    ),
];

/// Signs a statement of another predicate type with the trusted key, in the place of the bundle.
fn attest(bench: &Bench, it: &mut Parts) {
    let signatures = it.signatures();
    let bundle = signatures.iter().find(|entry| !entry.to_string().contains(".sig\"")).unwrap();
    let folder = bench.path("spoilt").join("blobs/sha256");
    let read = |descriptor: &Value| -> Value {
        let name = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let mut manifest = read(bundle);
    let mut document = read(&manifest["layers"][0]);
    let envelope = &mut document["dsseEnvelope"];
    let statement = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let mut statement: Value = serde_json::from_slice(&statement).unwrap();
    statement["predicateType"] = "https://slsa.dev/provenance/v1".into();
    let statement = statement.to_string();
    let kind = "application/vnd.in-toto+json";
    let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
    let (message, signature) = (bench.path("message"), bench.path("signature"));
    fs::write(&message, signed).unwrap();
    let mut sign = tool("openssl");
    sign.args(["dgst", "-sha256", "-sign"]).arg(bench.key("release"));
    succeed(sign.arg("-out").arg(&signature).arg(&message));
    envelope["payload"] = STANDARD.encode(statement).into();
    envelope["signatures"][0]["sig"] = STANDARD.encode(fs::read(signature).unwrap()).into();
    it.signature_files().into_iter().for_each(|file| fs::remove_file(file).unwrap());
    let document = document.to_string();
    manifest["layers"][0] = it.named_blob(document.as_bytes(), &manifest["layers"][0]);
    let carrier = it.named_blob(manifest.to_string().as_bytes(), bundle);
    it.index["manifests"] = json!([it.index["manifests"][0], carrier]);
    it.write_index();
}

#[test]
fn what_is_not_signed_for_this_device_is_refused() {
    judge("bad-trust", TRUST);
}

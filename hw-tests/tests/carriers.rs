//! What other tools make of a release and its signatures on the way: what they keep, a device reads;
//! what they lose, it says.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use bench::{Bench, Device, Parts, REFUSED, Small, homeless, succeed};
use gybe_hw_tests::registry::Registry;

/// A release in a registry, with both kinds of our signatures, or only one.
struct Sample<'b> {
    bench: &'b Bench,
    registry: &'b Registry,
    digest: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Both,
    Bundle,
    Simple,
    Nothing,
}

impl<'b> Sample<'b> {
    fn new(bench: &'b Bench, registry: &'b Registry) -> Self {
        let image = Small::new(1).make(bench, "image");
        bench.seal(&image, "sealed", 1);
        let digest = Parts::read(&bench.path("sealed")).digest().to_owned();
        Self { bench, registry, digest }
    }

    /// Brings it to the registry under a repository of its own.
    fn push(&self, repository: &str, kept: Kept) -> String {
        let name =
            |tag: &str| format!("127.0.0.1:{}/acme/{repository}:{tag}", self.registry.port());
        let layout = self.bench.path("sealed").display().to_string();
        let copy = |options: &[&str], tag: &str, to: &str| {
            let mut oras = homeless(self.bench, "oras");
            oras.args(["cp", "--from-oci-layout", "--to-plain-http"]).args(options);
            succeed(oras.arg(format!("{layout}:{tag}")).arg(name(to)));
        };
        let both = [Kept::Both, Kept::Bundle].contains(&kept);
        let recursive: &[&str] = if both { &["--recursive"] } else { &[] };
        copy(recursive, "release", "v1");
        if [Kept::Both, Kept::Simple].contains(&kept) {
            let signature = format!("{}.sig", self.digest.replace(':', "-"));
            copy(&[], &signature, &signature);
        }
        name("v1")
    }
}

/// What a device says that was given nothing to believe in.
const LOST: [&str; 2] = [
    "0 of 1 required signatures: no other signature was found",
    "hint: bring the signatures along: skopeo copies none",
];

#[test]
fn signatures_are_found_as_each_tool_keeps_them_and_missed_where_it_loses_them() {
    let bench = Bench::new("carriers");
    let registry = Registry::start_unguarded(&bench.path("registry")).unwrap();
    let sample = Sample::new(&bench, &registry);
    let device = Device::new(&bench, "device");
    let source = |name: &str| format!("oci:{}", bench.path(name).display());
    let oras = |options: &[&str], from: &str, name: &str| {
        let mut oras = homeless(&bench, "oras");
        oras.args(["cp", "--from-plain-http", "--to-oci-layout"]).args(options).arg(from);
        succeed(oras.arg(format!("{}:v1", bench.path(name).display())));
    };
    for (kept, bundles, simple) in
        [(Kept::Both, true, true), (Kept::Bundle, true, false), (Kept::Simple, false, true)]
    {
        let from = sample.push(&format!("{kept:?}").to_lowercase(), kept);
        let name = |tool: &str| format!("{tool}-{kept:?}").to_lowercase();
        oras(&["--recursive"], &from, &name("oras-r"));
        oras(&[], &from, &name("oras"));
        for tool in ["cosign2", "cosign3"] {
            let mut save = homeless(&bench, tool);
            save.args(["save", "--allow-http-registry", "--dir"]).arg(bench.path(&name(tool)));
            succeed(save.arg(&from));
        }
        let mut skopeo = homeless(&bench, "skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{from}")]);
        succeed(skopeo.arg(format!("{}:v1", source(&name("skopeo")))));

        // What each of them is known to keep. A surprise here is worth a line in docs/judges.md.
        for (tool, keeps) in [
            ("oras-r", bundles),
            ("oras", false),
            ("cosign2", simple),
            ("cosign3", bundles || simple),
            ("skopeo", false),
        ] {
            let verified = device.gybe(&["verify", &source(&name(tool))]);
            let (code, parts): (i32, &[&str]) = if keeps { (0, &[]) } else { (REFUSED, &LOST) };
            let told = format!("{tool} {kept:?}: {verified:?}");
            assert_eq!(verified.code, code, "{told}");
            assert!(parts.iter().all(|part| verified.stderr.contains(part)), "{told}");
            if keeps {
                device.gybe(&["install", &source(&name(tool)), "--slot", "a", "--no-arm"]).done();
            }
        }
    }
    // Whatever kept them is a source for a bundle, and what lost them is none.
    let bundle = |from: &str, name: &str| {
        let mut bundle = bench.program("gybe-publish");
        bundle.args(["bundle", &source(from), "--output"]);
        bundle.arg(format!("oci-archive:{}", bench.path(name).display()));
        bundle
    };
    for from in ["oras-r-both", "cosign2-both", "cosign3-bundle", "cosign3-both"] {
        succeed(&mut bundle(from, "again.tar"));
        let archive = format!("oci-archive:{}", bench.path("again.tar").display());
        device.gybe(&["verify", &archive]).done();
    }
    let refused = bench::run(&mut bundle("skopeo-both", "never.tar"));
    refused.ended(bench::FAILED, &["hint: sign it with gybe-publish sign", "skopeo leaves them"]);
    assert!(!bench.path("never.tar").exists());
}

#[test]
fn what_notation_signs_is_passed_over_and_hides_nothing() {
    let bench = Bench::new("notation");
    let registry = Registry::start_unguarded(&bench.path("registry")).unwrap();
    let sample = Sample::new(&bench, &registry);
    let device = Device::new(&bench, "device");
    let notation = |arguments: &[&str]| succeed(homeless(&bench, "notation").args(arguments));
    notation(&["cert", "generate-test", "--default", "acme.example"]);
    let from = sample.push("both", Kept::Both);
    for format in ["jws", "cose"] {
        notation(&["sign", "--insecure-registry", "--signature-format", format, &from]);
    }
    // One that only notation has signed.
    let alone = sample.push("alone", Kept::Nothing);
    notation(&["sign", "--insecure-registry", &alone]);
    for (from, name, code) in [(from, "both", 0), (alone, "alone", REFUSED)] {
        let mut oras = homeless(&bench, "oras");
        oras.args(["cp", "--recursive", "--from-plain-http", "--to-oci-layout"]).arg(from);
        succeed(oras.arg(format!("{}:v1", bench.path(name).display())));
        let verified = device.gybe(&["verify", &format!("oci:{}", bench.path(name).display())]);
        assert_eq!(verified.code, code, "{verified:?}");
    }
    // A bundle carries notation's signatures too, and notation finds them.
    let mut bundle = bench.program("gybe-publish");
    bundle.arg("bundle").arg(format!("oci:{}:v1", bench.path("both").display())).arg("--output");
    succeed(bundle.arg(format!("oci:{}", bench.path("carried").display())));
    let index = fs::read_to_string(bench.path("carried").join("index.json")).unwrap();
    assert_eq!(index.matches("application/vnd.cncf.notary.signature").count(), 2, "{index}");
}

//! A folder with keys and releases, and what is done with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, PACK_TYPE, RECIPE_TYPE, RELEASE_TYPE};
use gybe_core::trust::{Candidate, Device, KeySet, Policy, PublicKey, Verifier};
use gybe_oci::{Descriptor, Layout, LayoutReference, LayoutWriter, Manifest, media_type};
use serde_json::json;
use tempfile::TempDir;

use crate::tools::{self, run};

/// The private keys that openssl wrote: PKCS#8, SEC 1 behind its parameters, PKCS#8.
pub(crate) const KEYS: [&str; 3] = ["p256", "p256-sec1", "ed25519"];

/// The annotation that holds a signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

pub(crate) struct Bench {
    root: TempDir,
}

/// A release in a layout of its own, tagged `v1`.
pub(crate) struct Release {
    pub(crate) digest: String,
    layout: PathBuf,
}

impl Release {
    pub(crate) fn source(&self) -> String {
        format!("oci:{}:v1", self.layout.display())
    }

    pub(crate) fn signature_tag(&self) -> String {
        format!("{}.sig", self.digest.replace(':', "-"))
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap() };
        for script in [
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem",
            "openssl ecparam -name prime256v1 -genkey -out p256-sec1.pem",
            "openssl genpkey -algorithm ed25519 -out ed25519.pem",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem",
            "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem",
            "openssl pkey -in p256.pem -aes256 -passout pass:x -out encrypted.pem",
            "openssl pkey -in p256.pem -pubout -out public.pem",
            "echo garbage > garbage.pem",
            "for key in p256 p256-sec1 ed25519 other; do \
             openssl pkey -in $key.pem -pubout -out $key.pub || exit 1; done",
        ] {
            run(Command::new("sh").arg("-c").arg(script).current_dir(bench.root.path()));
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A tool that leaves the home of whoever runs the tests alone.
    pub(crate) fn tool(&self, name: &str) -> Command {
        let mut command = tools::find(name);
        command.current_dir(self.root.path()).env("HOME", self.root.path());
        command.env("COSIGN_PASSWORD", "").env("DOCKER_CONFIG", self.root.path());
        command
    }

    pub(crate) fn release(&self, version: &str) -> Release {
        let layout = self.path(&format!("layout-{}", version.replace("--", "")));
        let writer = LayoutWriter::open(&layout).unwrap();
        let blob = |kind, content: &[u8]| {
            let (digest, len) = writer.write_blob(content).unwrap();
            Descriptor::new(kind, digest, len)
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": RELEASE_TYPE,
            "config": blob(CONFIG_TYPE, b"{}"),
            "layers": [blob(RECIPE_TYPE, b"recipe"), blob(PACK_TYPE, b"pack")],
            "annotations": {
                "dev.gybe.compatible": "acme-gateway",
                "dev.gybe.version": version,
                "dev.gybe.rollback-index": "7",
                "dev.gybe.sequence": "1",
                "dev.gybe.root-hash": Digest::of(b"root").hex().to_string(),
                "dev.gybe.source-digest": Digest::of(b"image").to_string(),
                "dev.gybe.architecture": "amd64",
            },
        });
        let entry = blob(media_type::MANIFEST, manifest.to_string().as_bytes());
        writer.list(&entry, Some("v1")).unwrap();
        Release { digest: entry.digest.to_string(), layout }
    }

    /// Signs with the program, as a user would.
    pub(crate) fn sign(
        &self,
        release: &Release,
        keys: &[&str],
        notes: &[&str],
    ) -> Result<String, String> {
        let mut sign = Command::new(env!("CARGO_BIN_EXE_gybe-publish"));
        sign.arg("sign").arg(release.source());
        for key in keys {
            sign.arg("--key").arg(self.path(&format!("{key}.pem")));
        }
        for note in notes {
            sign.arg("--annotation").arg(note);
        }
        tools::outcome(&mut sign)
    }

    /// The bytes of the index of a release's layout.
    pub(crate) fn index(&self, release: &Release) -> String {
        fs::read_to_string(release.layout.join("index.json")).unwrap()
    }

    /// Writes the newest simple signing of a release to files: payload and signature.
    pub(crate) fn last_simple_signing(&self, release: &Release) -> (PathBuf, PathBuf) {
        let layout = open(&release.layout);
        let tag = release.signature_tag();
        let entries = &layout.index().manifests;
        let entry = entries.iter().find(|entry| entry.ref_name() == Some(&tag)).unwrap();
        let manifest = Manifest::parse(&layout.read_blob(&entry.digest, 65536).unwrap()).unwrap();
        let layer = manifest.layers.last().unwrap();
        let (payload, signature) = (self.path("payload"), self.path("signature"));
        fs::write(&payload, layout.read_blob(&layer.digest, 65536).unwrap()).unwrap();
        let mut buffer = [0; 72];
        let text = layer.annotations.get(SIGNATURE).unwrap();
        fs::write(&signature, gybe_core::base64::decode(text, &mut buffer).unwrap()).unwrap();
        (payload, signature)
    }

    /// Copies the release alone to a registry.
    pub(crate) fn push(&self, release: &Release, name: &str) {
        let mut copy = self.tool("oras");
        copy.args(["cp", "--from-oci-layout", "--to-plain-http"]);
        run(copy
            .arg(format!("{}@{}", release.layout.display(), release.digest))
            .arg(tag(name, "v1")));
    }

    /// Copies the release and what names it as its subject to a registry.
    pub(crate) fn push_with_referrers(&self, release: &Release, name: &str) {
        let mut copy = self.tool("oras");
        copy.args(["cp", "--recursive", "--from-oci-layout", "--to-plain-http"]);
        run(copy.arg(format!("{}:v1", release.layout.display())).arg(tag(name, "v1")));
    }

    /// Copies the signature that is found by its tag to a registry.
    pub(crate) fn push_simple_signing(&self, release: &Release, name: &str) {
        let signature = release.signature_tag();
        let mut copy = self.tool("oras");
        copy.args(["cp", "--from-oci-layout", "--to-plain-http"]);
        copy.arg(format!("{}:{signature}", release.layout.display()));
        run(copy.arg(tag(name, &signature)));
    }

    /// Gives what has a tag another one in the same repository.
    pub(crate) fn retag(&self, name: &str, from: &str, to: &str) {
        run(self.tool("oras").args(["tag", "--plain-http"]).arg(tag(name, from)).arg(to));
    }

    /// Copies a release with all signatures from a registry to a new layout.
    pub(crate) fn pull(&self, release: &Release, name: &str) -> Release {
        let layout = tempfile::tempdir_in(self.root.path()).unwrap().keep();
        let mut copy = self.tool("oras");
        copy.args(["cp", "--recursive", "--from-plain-http", "--to-oci-layout"]);
        run(copy.arg(name).arg(format!("{}:v1", layout.display())));
        let signature = release.signature_tag();
        let mut copy = self.tool("oras");
        copy.args(["cp", "--from-plain-http", "--to-oci-layout"]).arg(tag(name, &signature));
        // Not every release has one; that the others have is what the tests say.
        let _ = tools::outcome(copy.arg(format!("{}:{signature}", layout.display())));
        Release { digest: release.digest.clone(), layout }
    }

    pub(crate) fn cosign_sign(
        &self,
        version: &str,
        format: &str,
        key: &str,
        more: &[&str],
        name: &str,
    ) {
        let mut sign = self.cosign(version, key);
        sign.args(["sign", "--key"]).arg(self.path(&format!("{key}.key")));
        match format {
            "bundle" => sign.arg("--signing-config").arg(self.no_services()),
            "simple" => sign.args([
                "--new-bundle-format=false",
                "--use-signing-config=false",
                "--tlog-upload=false",
            ]),
            flag => sign.arg(flag),
        };
        run(sign.args(more).args(["--allow-http-registry", "--yes", name]));
    }

    pub(crate) fn cosign_attest(&self, key: &str, name: &str) {
        let mut attest = self.cosign("cosign3", key);
        attest.args(["attest", "--key"]).arg(self.path(&format!("{key}.key")));
        attest.arg("--signing-config").arg(self.no_services());
        let predicate = self.path("predicate.json");
        fs::write(&predicate, "{\"packages\":[]}").unwrap();
        attest.args(["--type", "custom", "--predicate"]).arg(predicate);
        run(attest.args(["--allow-http-registry", "--yes", name]));
    }

    /// cosign, with a key that it has taken over.
    fn cosign(&self, version: &str, key: &str) -> Command {
        if !self.path(&format!("{key}.key")).exists() {
            // cosign 2 reads what cosign 3 took over, but takes over no key of openssl's itself.
            let mut import = self.tool("cosign3");
            import.args(["import-key-pair", "--key"]).arg(self.path(&format!("{key}.pem")));
            run(import.args(["--output-key-prefix", key]));
        }
        self.tool(version)
    }

    /// What tells cosign 3 to ask no service.
    fn no_services(&self) -> PathBuf {
        let path = self.path("services.json");
        if !path.exists() {
            run(self.tool("cosign3").args(["signing-config", "create", "--out"]).arg(&path));
        }
        path
    }

    /// Who signed a release, as the device sees it, or why it refuses it.
    pub(crate) fn verdict(
        &self,
        release: &Release,
        keys: &[&str],
        threshold: usize,
    ) -> Result<String, String> {
        let mut set = KeySet::new();
        for name in keys {
            let pem = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
            set.push(name, PublicKey::from_pem(&pem).unwrap()).unwrap();
        }
        let device = Device { compatible: "acme-gateway", architecture: "amd64", floor: 7 };
        let policy = Policy::new(&set, threshold, device).unwrap();
        let layout = open(&release.layout);
        let digest = release.digest.parse().unwrap();
        let mut verifier = Verifier::new(&policy, digest);
        for candidate in layout.signature_candidates(&digest).unwrap() {
            for layer in Manifest::parse(&candidate.manifest).unwrap().layers {
                let bytes = layout.read_blob(&layer.digest, 65536).unwrap();
                let candidate = match layer.annotations.get(SIGNATURE) {
                    Some(signature) => Candidate::SimpleSigning { payload: &bytes, signature },
                    None => Candidate::Bundle { json: &bytes },
                };
                // Why not is part of the verdict.
                let _ = verifier.offer(candidate, &mut [0; 4096]);
            }
        }
        let signers: Vec<_> = verifier.signers().map(|key| key.name()).collect();
        let manifest = layout.read_blob(&digest, 65536).unwrap();
        verifier.finish(&manifest).map(|_| signers.join(" ")).map_err(|why| why.to_string())
    }
}

fn open(layout: &Path) -> Layout {
    Layout::open(&LayoutReference::directory(layout)).unwrap()
}

/// The name of something else in the same repository.
fn tag(name: &str, tag: &str) -> String {
    format!("{}:{tag}", name.split_once('@').unwrap().0)
}

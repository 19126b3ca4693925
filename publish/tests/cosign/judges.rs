//! What we sign cosign accepts, what cosign signs we accept, and what is no signature over this
//! release nobody does; or only cosign.

use crate::bench::{Bench, KEYS};
use crate::registry::Registry;
use crate::tools;

/// What cosign says of a signature by key, or the last line of why not.
pub(crate) fn cosign_verify(
    bench: &Bench,
    version: &str,
    key: &str,
    name: &str,
) -> Result<String, String> {
    let key = bench.path(&format!("{key}.pub"));
    let offline = ["--insecure-ignore-tlog=true", "--allow-http-registry"];
    let mut verify = bench.tool(version);
    verify.args(["verify", "--key"]).arg(key).args(offline).arg(name);
    tools::outcome(&mut verify)
}

#[test]
fn cosign_accepts_what_we_sign() {
    let (bench, registry) = (Bench::new(), Registry::start());
    for key in KEYS {
        let release = bench.release(&format!("ours-{key}"));
        bench.sign(&release, &[key], &["channel=stable"]).unwrap();
        let simple = registry.name(&format!("simple-{key}"), &release);
        bench.push(&release, &simple);
        bench.push_simple_signing(&release, &simple);
        let bundle = registry.name(&format!("bundle-{key}"), &release);
        bench.push_with_referrers(&release, &bundle);
        for (version, name) in [("cosign2", &simple), ("cosign3", &simple), ("cosign3", &bundle)] {
            let said = cosign_verify(&bench, version, key, name)
                .unwrap_or_else(|why| panic!("{version} refuses {name}: {why}"));
            assert!(said.contains(&release.digest), "{version} {name}: {said}");
            assert!(said.contains("\"channel\":\"stable\""), "{version} {name}: {said}");
        }
        // The judge can say no: another key, and a signature that is not there in this format.
        for (version, key, name) in [
            ("cosign2", "other", &simple),
            ("cosign3", "other", &simple),
            ("cosign3", "other", &bundle),
            ("cosign2", key, &bundle),
        ] {
            assert!(cosign_verify(&bench, version, key, name).is_err(), "{version} {name}");
        }
    }
}

#[test]
fn openssl_accepts_what_we_sign() {
    let bench = Bench::new();
    let release = bench.release("openssl");
    for key in KEYS {
        bench.sign(&release, &[key], &[]).unwrap();
        let (payload, signature) = bench.last_simple_signing(&release);
        let mut verify = bench.tool("openssl");
        verify.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]);
        verify.arg(bench.path(&format!("{key}.pub"))).arg("-in").arg(&payload);
        if key.starts_with("p256") {
            verify.args(["-digest", "sha256"]);
        }
        let said = tools::outcome(verify.arg("-sigfile").arg(&signature)).unwrap();
        assert!(said.contains("Signature Verified Successfully"), "{key}: {said}");
    }
}

#[test]
fn we_accept_what_cosign_signs() {
    let (bench, registry) = (Bench::new(), Registry::start());
    for (version, key, format) in [
        ("cosign2", "p256", "--tlog-upload=false"),
        ("cosign2", "ed25519", "--tlog-upload=false"),
        ("cosign3", "p256", "bundle"),
        ("cosign3", "ed25519", "bundle"),
        ("cosign3", "p256", "simple"),
        ("cosign3", "ed25519", "simple"),
    ] {
        let release = bench.release(&format!("{version}-{key}-{format}"));
        let name = registry.name(&format!("{version}-{key}-{}", format.len()), &release);
        bench.push(&release, &name);
        bench.cosign_sign(version, format, key, &["-a", "board=rpi4"], &name);
        let copy = bench.pull(&release, &name);
        assert_eq!(bench.verdict(&copy, &[key], 1).as_deref(), Ok(key), "{version} {format}");
        assert_eq!(
            bench.verdict(&copy, &["other"], 1).unwrap_err(),
            "0 of 1 required signatures: 1 refused: not made by a trusted key"
        );
    }
}

#[test]
fn two_people_with_cosign_and_with_us_reach_a_threshold() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let release = bench.release("threshold");
    bench.sign(&release, &["p256"], &[]).unwrap();
    let name = registry.name("threshold", &release);
    bench.push_with_referrers(&release, &name);
    bench.push_simple_signing(&release, &name);
    let copy = bench.pull(&release, &name);
    assert_eq!(
        bench.verdict(&copy, &["p256", "other"], 2).unwrap_err(),
        "1 of 2 required signatures: no other signature was found"
    );
    bench.cosign_sign("cosign2", "--tlog-upload=false", "other", &[], &name);
    let copy = bench.pull(&release, &name);
    assert_eq!(bench.verdict(&copy, &["p256", "other"], 2).as_deref(), Ok("p256 other"));
}

#[test]
fn an_attestation_is_accepted_by_cosign_and_refused_by_us() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let release = bench.release("attestation");
    let name = registry.name("attestation", &release);
    bench.push(&release, &name);
    bench.cosign_attest("p256", &name);
    let copy = bench.pull(&release, &name);
    assert_eq!(
        bench.verdict(&copy, &["p256"], 1).unwrap_err(),
        "0 of 1 required signatures: 1 refused: attestation in place of a signature: predicate \
         type https://cosign.sigstore.dev/attestation/v1"
    );
    // Why we do not leave it to cosign: should this fail one day, the better for cosign.
    assert!(cosign_verify(&bench, "cosign3", "p256", &name).is_ok());
}

#[test]
fn a_signature_moved_to_another_release_is_refused() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let (signed, other) = (bench.release("signed"), bench.release("unsigned"));
    bench.sign(&signed, &["p256"], &[]).unwrap();
    let from = registry.name("moved", &signed);
    bench.push(&signed, &from);
    bench.push_simple_signing(&signed, &from);
    let name = registry.name("moved", &other);
    bench.push(&other, &name);
    bench.retag(&from, &signed.signature_tag(), &other.signature_tag());
    let copy = bench.pull(&other, &name);
    assert_eq!(
        bench.verdict(&copy, &["p256"], 1).unwrap_err(),
        format!(
            "0 of 1 required signatures: 1 refused: signature over another digest: {}",
            signed.digest
        )
    );
}

#[test]
fn every_form_in_which_openssl_writes_a_key_is_read_or_named() {
    let bench = Bench::new();
    let release = bench.release("forms");
    for key in KEYS {
        bench.sign(&release, &[key], &[]).unwrap();
    }
    assert_eq!(bench.verdict(&release, &["p256", "ed25519"], 2).as_deref(), Ok("p256 ed25519"));
    for (key, why) in [
        ("rsa", "neither an EC P-256 key nor an Ed25519 key"),
        ("p384", "neither an EC P-256 key nor an Ed25519 key"),
        ("encrypted", "encrypted; decrypt it first, as with: openssl pkey -in FILE -out PLAIN.pem"),
        ("public", "a public key where a private key belongs"),
        ("nothing", "cannot read: No such file or directory (os error 2)"),
        ("garbage", "not one PEM block"),
    ] {
        let path = bench.path(&format!("{key}.pem"));
        assert_eq!(
            bench.sign(&release, &[key], &[]).unwrap_err(),
            format!("error: key {}: {why}", path.display())
        );
    }
}

//! A private authority: certificates and time stamps by openssl, bundles by cosign.

mod log;
mod time_stamps;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time_stamps::TimeStamps;

use super::bench::{Bench, Ended, hex, run, succeed, tool};

/// Who signs releases here, and who says so.
pub(crate) const SAN: &str = "https://git.acme.example/gateway/release";
pub(crate) const ISSUER: &str = "https://issuer.acme.example";
/// What cosign calls a signature.
pub(crate) const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What makes an authority in an empty folder; `$1` is where its time stamps are made.
const MAKE: &str = r#"
genkey() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$2 -out $1.key; }
genkey ca P-256 && openssl req -x509 -new -key ca.key -subj "/O=acme/CN=acme authority" -days 3650 \
    -out ca.pem -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
genkey timeroot P-384 && openssl req -x509 -new -key timeroot.key -subj "/O=acme/CN=acme time" \
    -days 3650 -out timeroot.pem -addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=critical,keyCertSign
genkey time P-256 && openssl req -new -key time.key -subj "/O=acme/CN=acme clock" -out time.csr
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=critical,timeStamping > time.ext
openssl x509 -req -in time.csr -CA timeroot.pem -CAkey timeroot.key -CAcreateserial -days 3650 \
    -extfile time.ext -out time.pem
cat time.pem timeroot.pem > timechain.pem
printf '%s\n' '[tsa]' default_tsa=t '[t]' serial=timeserial signer_cert=time.pem certs=timeroot.pem \
    signer_key=time.key signer_digest=sha256 default_policy=1.2.3.4 digests=sha256,sha384,sha512 \
    accuracy=secs:1 > time.cnf
echo 01 > timeserial
printf '%s\n' '[ca]' default_ca=c '[c]' database=issued serial=caserial new_certs_dir=. policy=p \
    default_md=sha256 rand_serial=yes '[p]' organizationName=optional > ca.cnf
: > issued
genkey log P-256 && openssl pkey -in log.key -pubout -out log.pub
openssl pkey -in log.key -pubout -outform DER -out log.der
root() {
    cosign3 trusted-root create --fulcio url=https://ca.acme.example,certificate-chain=ca.pem \
        --tsa url=https://time.acme.example,certificate-chain=timechain.pem "$@"
}
root --out root.json
root --out logged.json \
    --rekor url=https://log.acme.example,public-key=log.pub,start-time=2020-01-01T00:00:00Z
cosign3 signing-config create --tsa-config ANY --out services.json \
    --tsa "url=$1,api-version=1,start-time=2020-01-01T00:00:00Z,operator=acme"
"#;

/// What makes a certificate `$1` for the key `$2`, made out to `$3` by `$4`, from `$5` to `$6`.
const ISSUE: &str = r#"
if [ ! -e $2.key ]; then
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $2.pem
    cosign3 import-key-pair --key $2.pem --output-key-prefix $2 --yes
fi
openssl req -new -key $2.pem -subj /O=$1 -out $1.csr
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=codeSigning subjectAltName=critical,URI:$3 \
    1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:$4 > $1.ext
openssl ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in $1.csr -extfile $1.ext \
    -startdate $5 -enddate $6 -out $1.crt
"#;

/// An authority in a folder of its own.
pub(crate) struct Authority {
    folder: PathBuf,
    _stamps: TimeStamps,
}

impl Authority {
    pub(crate) fn new(bench: &Bench, name: &str) -> Self {
        let folder = bench.path(name);
        fs::create_dir_all(&folder).unwrap();
        let stamps = TimeStamps::start(&folder);
        let authority = Self { folder, _stamps: stamps };
        authority.script(MAKE, &[&authority._stamps.url()]);
        authority
    }

    /// Issues a certificate that is valid today.
    pub(crate) fn issue(&self, name: &str, san: &str, issuer: &str) {
        let start = succeed(tool("date").args(["--utc", "+%Y%m%d%H%M%SZ"]));
        let end = succeed(tool("date").args(["--utc", "--date=+1 day", "+%Y%m%d%H%M%SZ"]));
        self.script(ISSUE, &[name, name, san, issuer, start.trim(), end.trim()]);
    }

    /// Issues a certificate that was valid once, for the key of another.
    pub(crate) fn issue_in_the_past(&self, name: &str, key: &str) {
        self.script(ISSUE, &[name, key, SAN, ISSUER, "20200101000000Z", "20200102000000Z"]);
    }

    fn script(&self, text: &str, arguments: &[&str]) {
        let mut shell = self.tool("sh");
        shell.args(["-e", "-c", text, "sh"]).args(arguments);
        succeed(&mut shell);
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = tool(name);
        command.current_dir(&self.folder).env("HOME", &self.folder).env("COSIGN_PASSWORD", "");
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The trusted root: `root.json`, or with a log `logged.json`.
    pub(crate) fn trusted_root(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What cosign makes of a statement with the certificate `name`.
    pub(crate) fn sign(&self, name: &str, statement: &Value) -> Value {
        let (text, bundle) = (self.path("statement.json"), self.path("bundle.json"));
        fs::write(&text, statement.to_string()).unwrap();
        let mut sign = self.tool("cosign3");
        sign.args(["attest-blob", "--yes", "--statement"]).arg(&text);
        sign.args(["--key", &format!("{name}.key"), "--certificate", &format!("{name}.crt")]);
        sign.args(["--certificate-chain", "ca.pem", "--signing-config", "services.json"]);
        succeed(sign.args(["--trusted-root", "root.json", "--bundle"]).arg(&bundle));
        serde_json::from_slice(&fs::read(bundle).unwrap()).unwrap()
    }

    /// The certificate `name`, as a bundle has it.
    pub(crate) fn certificate(&self, name: &str) -> Value {
        let mut der = self.tool("openssl");
        der.args(["x509", "-outform", "DER", "-in", &format!("{name}.crt"), "-out", "der"]);
        succeed(&mut der);
        STANDARD.encode(fs::read(self.path("der")).unwrap()).into()
    }

    /// What cosign says of a bundle over the bytes `signed`.
    pub(crate) fn cosign(&self, bundle: &Value, signed: &[u8], asked: &Asked<'_>) -> Ended {
        let (file, blob) = (self.path("judged.json"), self.path("judged"));
        fs::write(&file, bundle.to_string()).unwrap();
        fs::write(&blob, signed).unwrap();
        let mut verify = self.tool("cosign3");
        verify.args([
            "verify-blob-attestation",
            "--use-signed-timestamps",
            "--insecure-ignore-sct",
        ]);
        if !asked.root.ends_with("logged.json") {
            verify.arg("--insecure-ignore-tlog");
        }
        verify.args(["--type", asked.predicate, "--certificate-identity", asked.san]);
        verify.args(["--certificate-oidc-issuer", asked.issuer, "--trusted-root"]);
        run(verify.arg(&asked.root).arg("--bundle").arg(file).arg(blob))
    }
}

/// What cosign is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) san: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) predicate: &'a str,
    pub(crate) root: PathBuf,
}

/// A statement about `signed`, as cosign makes one of an image.
pub(crate) fn statement(signed: &[u8], predicate: &str, annotations: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": "release", "digest": { "sha256": hex(signed) }, "annotations": annotations,
        }],
        "predicateType": predicate,
        "predicate": {},
    })
}

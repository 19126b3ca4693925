//! A transparency log with one entry: what Rekor's first version would say of a bundle.
//!
//! Sources: Rekor `types/dsse/v0.0.1`; Sigstore `rekor_common.proto`; C2SP `signed-note` and
//! `tlog-checkpoint`; RFC 6962, section 2.1.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Authority, hex, succeed};

const NAME: &str = "log.acme.example";

impl Authority {
    /// A bundle with what the log says of it; it was logged at `time_s`, or now where that is 0.
    pub(crate) fn log(&self, bundle: &Value, time_s: u64) -> Value {
        let mut time = self.tool("date");
        let now = succeed(time.arg("+%s"));
        let time_s = if time_s == 0 { now.trim().to_owned() } else { time_s.to_string() };
        let body = self.body(bundle);
        let key = fs::read(self.path("log.der")).unwrap();
        let id = Sha256::digest(&key);
        let promise = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{time_s},\"logID\":\"{}\",\"logIndex\":0}}",
            STANDARD.encode(&body),
            hex(&key)
        );
        // The root of a tree with one leaf is the leaf.
        let root = STANDARD.encode(Sha256::digest([&[0], body.as_bytes()].concat()));
        let note = format!("{NAME}\n1\n{root}\n");
        let signature = [&id[..4], &self.sign_as_log(&note)].concat();
        let mut logged = bundle.clone();
        logged["verificationMaterial"]["tlogEntries"] = json!([{
            "logIndex": "0",
            "logId": { "keyId": STANDARD.encode(id) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": time_s,
            "inclusionPromise": {
                "signedEntryTimestamp": STANDARD.encode(self.sign_as_log(&promise)),
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {
                    "envelope": format!("{note}\n\u{2014} {NAME} {}\n", STANDARD.encode(signature)),
                },
            },
            "canonicalizedBody": STANDARD.encode(body),
        }]);
        logged
    }

    /// The entry, as the log stores it.
    fn body(&self, bundle: &Value) -> String {
        let envelope = &bundle["dsseEnvelope"];
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let certificate = &bundle["verificationMaterial"]["certificate"]["rawBytes"];
        fs::write(self.path("logged.der"), STANDARD.decode(certificate.as_str().unwrap()).unwrap())
            .unwrap();
        let mut pem = self.tool("openssl");
        let pem = succeed(pem.args(["x509", "-inform", "DER", "-in", "logged.der"]));
        let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": hex(bytes) });
        json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": hash(envelope.to_string().as_bytes()),
                "payloadHash": hash(&payload),
                "signatures": [{
                    "signature": envelope["signatures"][0]["sig"],
                    "verifier": STANDARD.encode(pem),
                }],
            },
        })
        .to_string()
    }

    fn sign_as_log(&self, text: &str) -> Vec<u8> {
        fs::write(self.path("text"), text).unwrap();
        let mut sign = self.tool("openssl");
        sign.args(["dgst", "-sha256", "-sign", "log.key", "-out", "signature", "text"]);
        succeed(&mut sign);
        fs::read(self.path("signature")).unwrap()
    }
}

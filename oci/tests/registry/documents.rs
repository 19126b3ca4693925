//! From a tag to a release and what may be its signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, RELEASE_TYPE};
use gybe_oci::{Document, Offer, media_type};
use serde_json::{Value, json};

use crate::device::Device;
use crate::server::{Reply, Request, Server};

const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What a registry holds, by path below the repository.
#[derive(Clone, Debug, Default)]
struct Held(BTreeMap<String, (String, Vec<u8>)>);

impl Held {
    /// Puts a document where it is found by its digest, and describes it.
    fn put(&mut self, kind: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        for folder in ["blobs", "manifests"] {
            self.0.insert(format!("{folder}/{digest}"), (kind.to_owned(), bytes.to_vec()));
        }
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
    }

    fn put_json(&mut self, kind: &str, value: &Value) -> Value {
        self.put(kind, value.to_string().as_bytes())
    }

    /// Puts it where it is found by a name, too.
    fn name(&mut self, path: &str, of: &Value) {
        let found = self.0[&format!("manifests/{}", text(of, "digest"))].clone();
        self.0.insert(path.to_owned(), found);
    }

    /// A release for `architecture`, with nothing in it.
    fn release(&mut self, architecture: &str) -> Value {
        let config =
            self.put(CONFIG_TYPE, format!("{{\"architecture\":\"{architecture}\"}}").as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": RELEASE_TYPE,
            "config": config, "layers": [],
        });
        let mut found = self.put_json(media_type::MANIFEST, &manifest);
        found["platform"] = json!({ "architecture": architecture, "os": "linux" });
        found
    }

    fn index(&mut self, entries: &[Value]) -> Value {
        let index =
            json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries });
        self.put_json(media_type::INDEX, &index)
    }

    /// A Sigstore bundle with this text about `subject`, as cosign 3 keeps it.
    fn bundle(&mut self, subject: &Value, words: &str) -> Value {
        let layer = self.put(BUNDLE, words.as_bytes());
        let config = self.put(EMPTY, b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": BUNDLE,
            "config": config, "layers": [layer], "subject": subject,
        });
        self.put_json(media_type::MANIFEST, &manifest)
    }

    /// Two signatures about a subject in cosign's older form, under their tag.
    fn simple(&mut self, subject: &Value, words: &[&str]) {
        let layers: Vec<Value> = words
            .iter()
            .map(|words| {
                let mut layer = self.put(SIMPLE, words.as_bytes());
                layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": "x" });
                layer
            })
            .collect();
        let config = self.put("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers,
        });
        let found = self.put_json(media_type::MANIFEST, &manifest);
        self.name(&format!("manifests/{}.sig", tag(subject)), &found);
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.strip_prefix("/v2/a/b/").unwrap();
        match self.0.get(path) {
            Some((kind, bytes)) => Reply::new(200, bytes).with("Content-Type", kind),
            None => Reply::new(404, b"{}"),
        }
    }

    fn serve(self) -> Server {
        let held = Arc::new(self);
        Server::plain(move |request, _| held.answer(request))
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// The tag under which what is about a subject is found where nothing else lists it.
fn tag(subject: &Value) -> String {
    text(subject, "digest").replace(':', "-")
}

fn offer(server: &Server, wanted: &str, architecture: Option<&str>) -> Result<Offer, String> {
    let device = Device::of(&[server]);
    let reference = format!("docker://127.0.0.1:{}/a/b{wanted}", server.port);
    let offer = device.sources().offer(&reference, architecture);
    offer.map_err(|cause| cause.to_string().replace(&server.port.to_string(), "PORT"))
}

/// What the documents say that may be signatures.
fn signed(offer: &Offer) -> Vec<String> {
    let words = |document: &Document| match document {
        Document::Simple { payload: words, .. } | Document::Bundle(words) => {
            String::from_utf8(words.clone()).unwrap()
        }
    };
    offer.package.documents.iter().map(words).collect()
}

#[test]
fn a_tag_leads_through_an_index_to_the_release_for_the_machine() {
    let mut held = Held::default();
    let (arm, amd) = (held.release("arm64"), held.release("amd64"));
    let index = held.index(&[arm.clone(), amd]);
    held.name("manifests/v1", &index);
    let server = held.serve();
    let found = offer(&server, ":v1", Some("arm64")).unwrap();
    assert_eq!(found.package.digest.to_string(), text(&arm, "digest"));
    assert_eq!(Digest::of(&found.package.index.unwrap()).to_string(), text(&index, "digest"));
    assert_eq!(found.package.config, b"{\"architecture\":\"arm64\"}");
    let accepted = server.requests()[0].header("accept").unwrap().to_owned();
    for kind in [media_type::INDEX, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST] {
        assert!(accepted.contains(kind), "{accepted}");
    }
    assert_eq!(found.read.requests as usize, server.requests().len());
    let said = offer(&server, ":v1", Some("riscv64")).unwrap_err();
    assert!(
        said.ends_with("there is no image for linux/riscv64, only for linux/arm64, linux/amd64"),
        "{said}"
    );
    let said = offer(&server, ":v1", None).unwrap_err();
    assert!(said.contains("2 images fit"), "{said}");
}

#[test]
fn a_digest_leads_to_what_has_it_and_nothing_else() {
    let mut held = Held::default();
    let release = held.release("amd64");
    let other = held.release("arm64");
    let wanted = format!("@{}", text(&release, "digest"));
    let found = offer(&held.clone().serve(), &wanted, None).unwrap();
    assert_eq!(found.package.digest.to_string(), text(&release, "digest"));
    held.name(&format!("manifests/{}", text(&release, "digest")), &other);
    let said = offer(&held.serve(), &wanted, None).unwrap_err();
    assert!(said.contains("is corrupt: the digest of its bytes is"), "{said}");
}

#[test]
fn an_index_that_names_another_length_is_refused() {
    for change in [-1, 1] {
        let mut held = Held::default();
        let mut release = held.release("amd64");
        release["size"] = json!(release["size"].as_i64().unwrap() + change);
        let index = held.index(&[release]);
        held.name("manifests/latest", &index);
        let said = offer(&held.serve(), "", None).unwrap_err();
        assert!(said.contains("its descriptor says") || said.contains("is more than"), "{said}");
    }
}

#[test]
fn what_is_no_release_is_named() {
    let mut held = Held::default();
    let config = held.put("application/vnd.oci.image.config.v1+json", b"{}");
    let image = held.put_json(
        media_type::MANIFEST,
        &json!({ "schemaVersion": 2, "config": config, "layers": [] }),
    );
    held.name("manifests/image", &image);
    let page = held.put("text/html", b"<html>");
    held.name("manifests/page", &page);
    let server = held.serve();
    let said = offer(&server, ":image", None).unwrap_err();
    assert!(
        said.ends_with("is not a release but a application/vnd.oci.image.config.v1+json"),
        "{said}"
    );
    let said = offer(&server, ":page", None).unwrap_err();
    assert!(said.contains("is a text/html, neither an image nor an index"), "{said}");
    let said = offer(&server, ":none", None).unwrap_err();
    assert_eq!(said, "127.0.0.1:PORT has no manifest none");
}

#[test]
fn signatures_are_found_by_the_api_by_the_tag_of_the_digest_and_by_cosigns_tag() {
    let mut held = Held::default();
    let release = held.release("amd64");
    held.name("manifests/latest", &release);
    held.simple(&release, &["simple one", "simple two"]);
    let bundle = held.bundle(&release, "bundle");
    let list = held.index(&[bundle]);
    let mut by_tag = held.clone();
    by_tag.name(&format!("manifests/{}", tag(&release)), &list);
    held.name(&format!("referrers/{}", text(&release, "digest")), &list);
    for held in [held, by_tag] {
        let found = offer(&held.serve(), "", None).unwrap();
        assert_eq!(signed(&found), ["bundle", "simple one", "simple two"]);
    }
}

#[test]
fn signatures_of_the_index_are_looked_for_too() {
    let mut held = Held::default();
    let release = held.release("amd64");
    let index = held.index(&[release]);
    held.name("manifests/latest", &index);
    held.simple(&index, &["over the index"]);
    assert_eq!(signed(&offer(&held.serve(), "", None).unwrap()), ["over the index"]);
}

#[test]
fn what_is_unknown_damaged_or_about_others_is_passed_over() {
    let mut held = Held::default();
    let release = held.release("amd64");
    let other = held.release("arm64");
    held.name("manifests/latest", &release);
    let good = held.bundle(&release, "good");
    let foreign = held.bundle(&other, "foreign");
    let missing = json!({ "mediaType": media_type::MANIFEST, "size": 5,
        "digest": Digest::of(b"missing").to_string() });
    let long = held.put(media_type::MANIFEST, &[b' '; 70_000]);
    let nonsense = held.put(media_type::MANIFEST, b"nonsense");
    let damaged = held.bundle(&release, "damaged");
    held.name(&format!("manifests/{}", text(&damaged, "digest")), &nonsense);
    let mut report = held.bundle(&release, "report");
    report["artifactType"] = json!("application/spdx+json");
    // cosign 3 names this type where it should name the bundle's.
    let mut mislabelled = good;
    mislabelled["artifactType"] = json!(EMPTY);
    let entries = [foreign, missing, long, nonsense, damaged, report.clone(), mislabelled];
    let list = held.index(&entries);
    held.name(&format!("referrers/{}", text(&release, "digest")), &list);
    let server = held.serve();
    assert_eq!(signed(&offer(&server, "", None).unwrap()), ["good"]);
    let of_report = format!("/v2/a/b/manifests/{}", text(&report, "digest"));
    assert!(
        !server.paths().contains(&of_report),
        "what says that it is another thing is not opened"
    );
}

#[test]
fn a_list_goes_on_where_it_says_but_never_elsewhere_nor_for_ever() {
    let mut held = Held::default();
    let release = held.release("amd64");
    held.name("manifests/latest", &release);
    let bundles = ["one", "two"].map(|words| held.bundle(&release, words));
    let lists = bundles.map(|bundle| held.index(&[bundle]));
    let referrers = format!("/v2/a/b/referrers/{}", text(&release, "digest"));
    let page =
        |number: usize| held.0[&format!("manifests/{}", text(&lists[number], "digest"))].1.clone();
    let pages = [page(0), page(1)];
    for (link, expected, count) in [
        ("<PATH?n=2>; rel=\"next\"", &["one", "two"][..], 8),
        ("<https://elsewhere.example/x>; rel=\"next\"", &["one"], 1),
        ("<PATH?n=2>; rel=\"prev\"", &["one"], 1),
        ("nonsense", &["one"], 1),
    ] {
        let (held, path, pages) = (held.clone(), referrers.clone(), pages.clone());
        let (link, shown) = (link.replace("PATH", &referrers), link);
        let server = Server::plain(move |request, _| {
            let Some(rest) = request.path.strip_prefix(&path) else { return held.answer(request) };
            let page = usize::from(!rest.is_empty());
            Reply::new(200, &pages[page])
                .with("Content-Type", media_type::INDEX)
                .with("Link", &link)
        });
        assert_eq!(signed(&offer(&server, "", None).unwrap()), expected, "{shown}");
        let listed = server.paths().iter().filter(|it| it.starts_with(&referrers)).count();
        assert_eq!(listed, count, "{shown}");
    }
}

#[test]
fn a_flood_of_candidates_is_opened_up_to_its_limit() {
    let mut held = Held::default();
    let release = held.release("amd64");
    held.name("manifests/latest", &release);
    let flood: Vec<_> = (0..100).map(|number| held.bundle(&release, &number.to_string())).collect();
    let list = held.index(&flood);
    held.name(&format!("referrers/{}", text(&release, "digest")), &list);
    let server = held.serve();
    let found = offer(&server, "", None).unwrap();
    assert_eq!(found.package.documents.len(), 32);
    assert!(server.requests().len() < 80, "{}", server.requests().len());
}

#[test]
fn a_registry_that_fails_is_not_taken_for_one_without_signatures() {
    let mut held = Held::default();
    let release = held.release("amd64");
    held.name("manifests/latest", &release);
    let server = Server::plain(move |request, _| {
        if request.path.contains("referrers") { Reply::new(500, b"") } else { held.answer(request) }
    });
    let said = offer(&server, "", None).unwrap_err();
    assert!(
        said.contains("answers referrers of sha256:") && said.ends_with("with status 500"),
        "{said}"
    );
}

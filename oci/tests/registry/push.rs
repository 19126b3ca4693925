//! What is sent to a registry, over links that break and to registries that lie about it.

use std::sync::{Arc, Mutex};

use gybe_core::digest::Digest;
use gybe_oci::{Lists, Sent, Source};

use crate::device::{Device, bytes};
use crate::server::{Flow, Reply, Request, Server};

const UPLOAD: &str = "/v2/a/b/blobs/uploads/";

/// A registry that keeps one blob.
#[derive(Default)]
struct Kept {
    upload: Vec<u8>,
    blob: Option<Vec<u8>>,
    patches: usize,
    puts: usize,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// Pieces are half kept or their answers lost, and the last answer too.
    Breaks,
    /// The upload is forgotten once.
    Forgets,
}

impl Kept {
    fn answer(&mut self, request: &Request, trouble: Trouble) -> Reply {
        let location = |len: usize| format!("{UPLOAD}1?_state={len}");
        let lost = |status| Reply::new(status, b"lost!").flows(Flow::Cut(0));
        match request.method.as_str() {
            "HEAD" => match &self.blob {
                Some(blob) => Reply::new(200, b"").with("Content-Length", blob.len()),
                None => Reply::new(404, b""),
            },
            "POST" => {
                self.upload.clear();
                Reply::new(202, b"").with("Location", location(0)).with("Range", "0-0")
            }
            "GET" if trouble == Trouble::Forgets => Reply::new(404, b""),
            "GET" => {
                let len = self.upload.len();
                let reply = Reply::new(204, b"").with("Location", location(len));
                reply.with("Range", format!("0-{}", len.saturating_sub(1)))
            }
            "PATCH" => {
                self.patches += 1;
                let start: usize = request
                    .header("content-range")
                    .unwrap()
                    .split('-')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                if start != self.upload.len() {
                    return Reply::new(416, b"");
                }
                let kept = match (trouble, self.patches) {
                    (Trouble::Breaks, 1) => request.body.len() / 2,
                    _ => request.body.len(),
                };
                self.upload.extend_from_slice(&request.body[..kept]);
                match (trouble, self.patches) {
                    (Trouble::Breaks, 1 | 2) => lost(202),
                    (Trouble::Forgets, 2) => {
                        self.upload.clear();
                        Reply::new(404, b"")
                    }
                    _ => Reply::new(202, b"")
                        .with("Location", location(self.upload.len()))
                        .with("Range", format!("0-{}", self.upload.len() - 1)),
                }
            }
            "PUT" => {
                self.puts += 1;
                self.upload.extend_from_slice(&request.body);
                let digest = Digest::of(&self.upload).to_string().replace(':', "%3A");
                if !request.path.ends_with(&format!("digest={digest}")) {
                    return Reply::new(400, b"");
                }
                self.blob = Some(self.upload.clone());
                if trouble == Trouble::Breaks { lost(201) } else { Reply::new(201, b"") }
            }
            _ => Reply::new(405, b""),
        }
    }
}

/// Sends `blob` to a registry with this trouble; gives what it kept, and which ranges were read.
fn send(blob: &[u8], trouble: Trouble) -> (Result<Sent, String>, Arc<Mutex<Kept>>, Vec<u64>) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let held = Arc::clone(&kept);
    let server = Server::plain(move |request, _| held.lock().unwrap().answer(request, trouble));
    let device = Device::of(&[&server]);
    let Source::Registry(repository) = device.source(&server) else { panic!("no registry") };
    let mut reads = Vec::new();
    let sent =
        repository.push_blob(&Digest::of(blob), blob.len() as u64, None, &mut |at, buffer| {
            reads.push(at);
            let at = at as usize;
            buffer.copy_from_slice(&blob[at..at + buffer.len()]);
            Ok(())
        });
    (sent.map_err(|cause| cause.to_string()), kept, reads)
}

#[test]
fn a_short_blob_is_sent_at_once_and_a_long_one_in_pieces() {
    for (len, patches) in [(0, 0), (10, 0), (4 << 20, 0), ((4 << 20) + 1, 2), (9 << 20, 3)] {
        let blob = bytes(len);
        let (sent, kept, _) = send(&blob, Trouble::None);
        let kept = kept.lock().unwrap();
        assert_eq!(sent.unwrap(), Sent::Whole);
        assert!(kept.blob.as_deref() == Some(&blob[..]), "{len}");
        assert_eq!((kept.patches, kept.puts), (patches, 1), "{len}");
    }
}

#[test]
fn an_upload_that_breaks_goes_on_where_it_stopped() {
    let blob = bytes(10 << 20);
    let (sent, kept, reads) = send(&blob, Trouble::Breaks);
    assert_eq!(sent.unwrap(), Sent::Whole);
    let kept = kept.lock().unwrap();
    assert!(kept.blob.as_deref() == Some(&blob[..]));
    // Half of the first piece was kept; of the second all, though nobody said so.
    assert_eq!(reads, [0, 2 << 20, 6 << 20, 10 << 20]);
    assert_eq!(kept.puts, 1, "the answer was lost, but the blob was there");
}

#[test]
fn an_upload_that_the_registry_forgets_begins_anew() {
    let blob = bytes(9 << 20);
    let (sent, kept, _) = send(&blob, Trouble::Forgets);
    assert_eq!(sent.unwrap(), Sent::Whole);
    let kept = kept.lock().unwrap();
    assert!(kept.blob.as_deref() == Some(&blob[..]));
    assert_eq!((kept.patches, kept.puts), (5, 1));
}

#[test]
fn what_is_there_is_not_sent_and_what_is_near_is_mounted() {
    let blob = bytes(1000);
    let digest = Digest::of(&blob);
    for (status, from, expected) in
        [(200, None, Sent::There), (404, Some("near/by"), Sent::Mounted)]
    {
        let server = Server::plain(move |request, _| match request.method.as_str() {
            "HEAD" => Reply::new(status, b"").with("Content-Length", 1000),
            "POST" => Reply::new(201, b""),
            _ => Reply::new(405, b""),
        });
        let device = Device::of(&[&server]);
        let Source::Registry(repository) = device.source(&server) else { panic!("no registry") };
        let never = &mut |_: u64, _: &mut [u8]| panic!("nothing is to be read");
        assert_eq!(repository.push_blob(&digest, 1000, from, never).unwrap(), expected);
        let paths = server.paths();
        let mount = format!("{UPLOAD}?mount={digest}&from=near/by");
        assert_eq!(paths.contains(&mount), from.is_some(), "{paths:?}");
    }
}

#[test]
fn an_upload_goes_nowhere_where_anybody_could_listen() {
    let server = Server::plain(|request, _| match request.method.as_str() {
        "HEAD" => Reply::new(404, b""),
        _ => Reply::new(202, b"").with("Location", "ftp://elsewhere/x"),
    });
    let device = Device::of(&[&server]);
    let Source::Registry(repository) = device.source(&server) else { panic!("no registry") };
    let blob = bytes(10);
    let read = &mut |_: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&blob);
        Ok(())
    };
    let refused = repository.push_blob(&Digest::of(&blob), 10, None, read).unwrap_err().to_string();
    assert!(refused.contains("where anybody could listen"), "{refused}");
}

#[test]
fn a_registry_says_whether_it_lists_subjects() {
    for (says, lists) in [(true, Lists::Subjects), (false, Lists::Nothing)] {
        let server = Server::plain(move |_, _| {
            let reply = Reply::new(201, b"");
            if says { reply.with("OCI-Subject", "sha256:0") } else { reply }
        });
        let device = Device::of(&[&server]);
        let Source::Registry(repository) = device.source(&server) else { panic!("no registry") };
        assert_eq!(repository.push_manifest("v1", "a/b", b"{}").unwrap(), lists);
        let requests = server.requests();
        assert_eq!(requests[0].header("content-type"), Some("a/b"));
        assert_eq!(
            (requests[0].path.as_str(), &requests[0].body[..]),
            ("/v2/a/b/manifests/v1", &b"{}"[..])
        );
    }
}
